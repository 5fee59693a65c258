// Kept tokens over the pictures of a trial's samples, layer by layer.
import { greyed } from "./compute.js";

/** @typedef {{rows: number, columns: number, box: Record<string, number> | null}} View */
/** @typedef {{sample: string, views: View[], counts: number[], kept: string[]}} Exhibit */

const slider = /** @type {HTMLInputElement} */ (document.getElementById("layer"));
const shown = /** @type {HTMLElement} */ (document.getElementById("layer-shown"));

/** @param {Exhibit[]} exhibits */
function show(exhibits) {
  const layer = Number(slider.value);
  shown.textContent = slider.value;
  let words = "";
  for (const { sample, views, counts, kept } of exhibits.toReversed()) {
    const item = document.getElementById(`sample-${sample}`);
    let tokens = 0;
    for (const [at, { rows, columns, box }] of views.entries()) {
      // A pixel of a canvas is a token; the browser makes it as large as its part of the picture.
      const canvas = /** @type {HTMLCanvasElement} */ (item?.querySelectorAll("canvas")[at]);
      for (const edge in box) canvas.style.setProperty(edge, `${100 * box[edge]}%`);
      [canvas.width, canvas.height] = [columns, rows];
      const pixels = new ImageData(greyed(kept[layer], tokens, rows * columns), columns);
      canvas.getContext("2d")?.putImageData(pixels, 0, 0);
      tokens += rows * columns;
    }
    words = `layer ${layer} keeps ${counts[layer]} of ${tokens} tokens`;
    item?.querySelector(".told")?.replaceChildren(words);
  }
  slider.setAttribute("aria-valuetext", words);
}

const answer = await fetch(slider.dataset.exhibits ?? "").catch(() => null);
if (answer?.ok) {
  const { exhibits } = await answer.json();
  slider.addEventListener("input", () => show(exhibits));
  show(exhibits);
} else {
  slider.disabled = true;
  shown.textContent = "cannot be shown now; reload the page";
}
