// On every page: times in the reader's zone, and what is live.
import { ago, localTime } from "./compute.js";
import { follow } from "./live.js";

/** @param {ParentNode} part */
function showTimes(part) {
  for (const element of part.querySelectorAll("time[datetime]")) {
    const time = new Date(/** @type {HTMLTimeElement} */ (element).dateTime);
    const local = localTime(time);
    element.setAttribute("title", time.toLocaleString(undefined, { timeZoneName: "short" }));
    const span = ago((Date.now() - time.getTime()) / 1000);
    const text = element.hasAttribute("data-ago") ? span : local;
    if (element.textContent !== text) element.textContent = text;
  }
}

showTimes(document);
setInterval(() => showTimes(document), 10000);
document.addEventListener("page:changed", () => showTimes(document));

for (const element of document.querySelectorAll("[data-submits]")) {
  element.addEventListener("change", () => /** @type {HTMLFormElement} */ (element.closest("form")).requestSubmit());
}

const live = /** @type {HTMLElement | null} */ (document.querySelector("[data-events]"));
if (live?.dataset.events) follow(live.dataset.events);
