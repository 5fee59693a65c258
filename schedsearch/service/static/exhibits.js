// Kept tokens over the pictures of a trial's samples, layer by layer.
import { bits, removed } from "./compute.js";

/** @typedef {import("./compute.js").View} View */
/** @typedef {{sample: string, views: View[], counts: number[], kept: string[]}} Exhibit */

const slider = /** @type {HTMLInputElement} */ (document.getElementById("layer"));
const told = /** @type {HTMLElement} */ (document.getElementById("layer-shown"));
/** @type {Map<string, Exhibit>} */
const exhibits = new Map();

/**
 * Draw the tokens that are gone, each where it lies, or side by side in a strip.
 * @param {HTMLCanvasElement} canvas
 * @param {Exhibit} exhibit
 * @param {number} layer
 */
function draw(canvas, exhibit, layer) {
  const strip = canvas.classList.contains("strip");
  const scale = devicePixelRatio || 1;
  const width = (canvas.width = Math.round(canvas.clientWidth * scale));
  const height = (canvas.height = Math.round(canvas.clientHeight * scale));
  const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
  context.fillStyle = "#7c8589";
  context.globalAlpha = strip ? 1 : 0.93;
  for (const [x, y, w, h] of removed(bits(exhibit.kept[layer]), exhibit.views, strip)) {
    const [left, top] = [Math.round(x * width), Math.round(y * height)];
    context.fillRect(left, top, Math.round((x + w) * width) - left, Math.round((y + h) * height) - top);
  }
}

function show() {
  const layer = Number(slider.value);
  told.textContent = slider.value;
  for (const item of /** @type {NodeListOf<HTMLElement>} */ (document.querySelectorAll("[data-sample]"))) {
    const exhibit = exhibits.get(item.dataset.sample ?? "");
    if (!exhibit) continue;
    const all = exhibit.views.reduce((sum, view) => sum + view.rows * view.columns, 0);
    const line = /** @type {HTMLElement} */ (item.querySelector(".told"));
    line.textContent = `layer ${layer} keeps ${exhibit.counts[layer]} of ${all} tokens`;
    for (const canvas of item.querySelectorAll("canvas")) draw(canvas, exhibit, layer);
  }
  slider.setAttribute("aria-valuetext", document.querySelector(".told")?.textContent ?? slider.value);
}

const answer = await fetch(slider.dataset.exhibits ?? "").catch(() => null);
if (answer?.ok) {
  for (const one of (await answer.json()).exhibits) exhibits.set(one.sample, one);
  slider.addEventListener("input", show);
  new ResizeObserver(show).observe(/** @type {HTMLElement} */ (document.querySelector(".exhibits")));
  for (const image of document.querySelectorAll(".seen img")) image.addEventListener("load", show);
  show();
} else {
  slider.disabled = true;
  told.textContent = "cannot be shown now; reload the page";
}
