// The form of a new study: the server checks what is written, and fields write into the file.
const form = /** @type {HTMLFormElement} */ (document.getElementById("start"));
const text = /** @type {HTMLTextAreaElement} */ (document.getElementById("text"));
/** Fields that were changed and are not in the file yet. @type {Set<HTMLInputElement>} */
const changed = new Set();
let timer = 0, wanted = false, busy = false;

/** @param {Document} page As the server would show it now. */
function take(page) {
  const verdict = /** @type {HTMLElement} */ (document.getElementById("verdict"));
  const found = page.getElementById("verdict");
  if (found && found.innerHTML !== verdict.innerHTML) verdict.replaceChildren(...found.childNodes);
  for (const part of /** @type {NodeListOf<HTMLElement>} */ (page.querySelectorAll("[data-field]"))) {
    const old = /** @type {HTMLElement} */ (document.querySelector(`[data-field="${part.dataset.field}"]`));
    const [now, then] = [part, old].map((one) => /** @type {HTMLInputElement} */ (one.querySelector("input, select")));
    old.hidden = part.hidden;
    then.toggleAttribute("aria-invalid", now.hasAttribute("aria-invalid"));
    if (changed.has(then) || document.activeElement === then) continue;
    if (then.tagName === "SELECT") then.replaceChildren(...now.childNodes);
    else then.value = now.value;
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
    const asked = new URLSearchParams({ ask: fields.length ? "fill" : "check", text: before });
    for (const name of ["csrf", "key"]) asked.set(name, /** @type {HTMLInputElement} */ (form.elements.namedItem(name)).value);
    for (const field of fields) asked.set(field.name, field.value);
    const answer = await fetch(form.action, { method: "POST", body: asked }).catch(() => null);
    if (answer?.redirected) return location.reload(); // the session has ended
    if (!answer?.ok) {
      fields.forEach((field) => changed.add(field));
      timer = setTimeout(update, 3000);
      break;
    }
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    const file = /** @type {HTMLTextAreaElement} */ (page.getElementById("text")).value;
    if (text.value !== before) {
      fields.forEach((field) => changed.add(field)); // somebody went on writing meanwhile
      wanted = true;
    } else if (fields.length) text.value = file;
    take(page);
  }
  busy = false;
}

form.addEventListener("input", (event) => {
  const field = /** @type {HTMLInputElement} */ (event.target);
  if (field.closest("[data-field]")) changed.add(field);
  clearTimeout(timer);
  timer = setTimeout(update, 300);
});

let sent = false;
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
