// Keeps a page as the server would show it now: a stream says when, then the page is fetched again.
import { patience, rest } from "./compute.js";

const LOST = "The connection is lost. What you see may be old; searches go on. Trying again …";
/** An element, of whatever kind. @type {(id: string) => any} */
export const by = (id) => document.getElementById(id);
const banner = by("connection");
/** What the server has sent of each live part. @type {Map<string, string>} */
const sent = new Map();

/** @param {string} words Empty: all is well. */
function tell(words) {
  if (banner.textContent !== words) banner.textContent = words;
  banner.hidden = !words;
}

/** @param {ParentNode} page */
const partsOf = (page) => page.querySelectorAll("[data-live][id]");

/** Replace what differs, keeping what was opened, ticked, scrolled or in focus. @param {Document} page */
function take(page) {
  for (const part of partsOf(page)) {
    const old = by(part.id), html = part.outerHTML;
    if (!old) return location.reload(); // the first trial has come, and with it more to show
    if (sent.get(part.id) === html) continue;
    sent.set(part.id, html);
    const focused = old.contains(document.activeElement) && document.activeElement?.id;
    for (const one of old.querySelectorAll("details[open][id], input:checked[id]")) {
      part.querySelector(`#${CSS.escape(one.id)}`)?.setAttribute(one.matches("input") ? "checked" : "open", "");
    }
    const tops = [...old.querySelectorAll(".log, .scroll")].map((one) => one.scrollTop);
    old.replaceWith(part);
    for (const one of part.querySelectorAll(".log, .scroll")) one.scrollTop = tops.shift() ?? 0;
    if (focused) by(focused)?.focus({ preventScroll: true });
  }
  document.title = page.title;
  document.dispatchEvent(new Event("page:changed"));
}

/** Fetch this page and show what has changed. */
export async function refresh() {
  const address = new URL(location.href);
  address.searchParams.set("whole", "true");
  const answer = await fetch(address).catch(() => null);
  if (answer?.redirected) location.reload(); // the session has ended: log in, and come back
  else if (answer?.ok) take(new DOMParser().parseFromString(await answer.text(), "text/html"));
  else if (answer?.status === 404) tell("This is no longer here; it has been deleted.");
}

/** Follow a stream of server-sent events for as long as the page is looked at. @param {string} address */
export function follow(address) {
  for (const part of partsOf(document)) sent.set(part.id, part.outerHTML);
  /** @type {EventSource | null} */ let stream = null;
  let failures = 0, wanted = false, busy = false, gone = false;

  async function update() {
    wanted = true;
    if (busy) return;
    busy = true;
    while (wanted && !document.hidden) {
      wanted = false;
      const begun = performance.now();
      await refresh();
      await new Promise((done) => setTimeout(done, 1000 * rest((performance.now() - begun) / 1000)));
    }
    busy = false;
  }

  function open() {
    stream?.close();
    if (gone || document.hidden) return;
    stream = new EventSource(address);
    for (const name of ["study", "trial"]) stream.addEventListener(name, update);
    stream.addEventListener("deleted", () => {
      gone = address.includes("/studies/");
      update();
    });
    stream.onopen = () => {
      failures = 0;
      tell("");
    };
    stream.onerror = async () => {
      stream?.close();
      if (gone || document.hidden) return;
      failures += 1;
      tell(LOST);
      if (failures % 4 === 1) await refresh(); // says so where the session has ended
      setTimeout(open, 1000 * patience(failures));
    };
  }

  // A browser has few connections to a server, so pages that nobody looks at give theirs back.
  document.addEventListener("visibilitychange", open);
  open();
}
