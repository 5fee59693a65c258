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

// What takes long is fetched when it is opened.
document.addEventListener("toggle", async (event) => {
  const part = /** @type {HTMLDetailsElement} */ (event.target);
  const place = part.querySelector("[data-filled]");
  if (!part.open || !part.dataset.src || !place) return;
  const answer = await fetch(part.dataset.src).catch(() => null);
  const page = new DOMParser().parseFromString(answer ? await answer.text() : "", "text/html");
  const failed = page.querySelector("[role=alert]")?.textContent ?? "The server does not answer; close this and try again.";
  if (answer?.ok) place.replaceWith(...page.body.children);
  else place.textContent = failed;
}, true);

const live = /** @type {HTMLElement | null} */ (document.querySelector("[data-events]"));
if (live?.dataset.events) follow(live.dataset.events);
