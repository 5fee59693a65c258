// On every page: times in the reader's zone, what is fetched when it is opened, and what is live.
import { localTime } from "./compute.js";
import { follow } from "./live.js";

function showTimes() {
  for (const element of document.querySelectorAll("time")) {
    const time = new Date(element.dateTime);
    element.title = time.toLocaleString(undefined, { timeZoneName: "short" });
    element.textContent = localTime(time);
  }
}

showTimes();
document.addEventListener("page:changed", showTimes);

for (const element of document.querySelectorAll("[data-submits]")) {
  element.addEventListener("change", () => element.closest("form")?.requestSubmit());
}

/** Have nobody tick more than a form takes. */
function limit() {
  for (const form of document.querySelectorAll("form")) {
    const full = form.querySelectorAll(":checked").length >= Number(form.dataset.most);
    for (const box of form.querySelectorAll("input")) if (form.dataset.most) box.disabled = full && !box.checked;
  }
}

for (const event of ["change", "page:changed"]) document.addEventListener(event, limit);
addEventListener("pageshow", limit); // the browser has come back to it

document.addEventListener("toggle", async (event) => {
  const part = /** @type {HTMLDetailsElement} */ (event.target), place = part.querySelector("[data-filled]");
  if (!part.open || !part.dataset.src || !place) return;
  const answer = await fetch(part.dataset.src).catch(() => null);
  const page = new DOMParser().parseFromString((await answer?.text()) ?? "", "text/html");
  if (answer?.ok) place.replaceWith(...page.body.children);
  else place.textContent = page.querySelector("[role=alert]")?.textContent ?? "The server does not answer; open this again.";
}, true);

const live = document.querySelector("[data-events]")?.getAttribute("data-events");
if (live) follow(live);
