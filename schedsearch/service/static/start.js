// The form of a new study: the server checks what is written, and fields write into the file.
import { by } from "./live.js";

/** @type {HTMLFormElement} */
const form = by("start");
/** @type {HTMLTextAreaElement} */
const text = by("text");
/** Fields that were changed and are not in the file yet. @type {Set<any>} */
const changed = new Set();
let timer = 0, wanted = false, busy = false, sent = false;

/** @param {Document} page As the server would show it now. */
function take(page) {
  by("verdict").replaceChildren(...(page.getElementById("verdict")?.childNodes ?? []));
  for (const now of /** @type {any} */ (page.querySelectorAll("[data-field] :is(input, select)"))) {
    const then = by(now.id);
    then.parentElement.hidden = now.parentElement.hidden;
    then.toggleAttribute("aria-invalid", now.hasAttribute("aria-invalid"));
    if (changed.has(then) || document.activeElement === then) continue;
    const value = now.value; // moving an option unselects it
    if (now.options) then.replaceChildren(...now.options);
    then.value = value;
  }
}

async function update() {
  wanted = true;
  if (busy) return;
  busy = true;
  while (wanted) {
    wanted = false;
    const fields = [...changed], before = text.value;
    changed.clear();
    const asked = new FormData(form);
    for (const { id } of form.querySelectorAll("[data-field] :is(input, select)")) asked.delete(id);
    for (const field of fields) asked.set(field.name, field.value);
    asked.set("ask", fields.length ? "fill" : "check");
    const answer = await fetch(form.action, { method: "POST", body: asked }).catch(() => null);
    if (answer?.redirected) return location.reload(); // the session has ended
    const page = answer?.ok && new DOMParser().parseFromString(await answer.text(), "text/html");
    wanted ||= text.value !== before; // somebody went on writing meanwhile
    if (!page || wanted) for (const field of fields) changed.add(field);
    else if (fields.length) text.value = page.querySelector("textarea")?.value ?? before;
    if (page) take(page);
    else timer = setTimeout(update, 3000);
  }
  busy = false;
}

form.addEventListener("input", ({ target }) => {
  if (target !== text) changed.add(target);
  clearTimeout(timer);
  timer = setTimeout(update, 300);
});
form.addEventListener("submit", async (event) => {
  if (sent || (!changed.size && !busy)) return;
  event.preventDefault(); // what was filled in is written into the file first
  clearTimeout(timer);
  while (busy) await new Promise((done) => setTimeout(done, 20));
  await update();
  sent = true;
  form.requestSubmit(event.submitter);
});
if (text.value !== text.defaultValue) update(); // the browser has come back to it
