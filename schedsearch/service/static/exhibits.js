// Kept tokens over the pictures of samples, layer by layer.
import { greyed } from "./compute.js";

const slider = /** @type {HTMLInputElement} */ (document.getElementById("layer"));
const items = /** @type {NodeListOf<HTMLElement>} */ (document.querySelectorAll("[data-kept]"));

function show() {
  document.getElementById("layer-shown")?.replaceChildren(slider.value);
  for (const item of items) {
    const { kept = "", counts = "" } = item.dataset;
    const [bits, count] = [kept, counts].map((one) => one.split(" ")[Number(slider.value)]);
    let tokens = 0;
    for (const canvas of item.querySelectorAll("canvas")) {
      // A pixel is a token, made as large as its part of the picture.
      const [left, top, width, height] = canvas.dataset.box?.split(" ") ?? [];
      Object.assign(canvas.style, { left, top, width, height });
      const pixels = greyed(bits, tokens, canvas.width * canvas.height);
      canvas.getContext("2d")?.putImageData(new ImageData(pixels, canvas.width), 0, 0);
      tokens += canvas.width * canvas.height;
    }
    const words = `layer ${slider.value} keeps ${count} of ${tokens} tokens`;
    item.querySelector(".told")?.replaceChildren(words);
    if (item === items[0]) slider.setAttribute("aria-valuetext", words);
  }
}

slider.addEventListener("input", show);
show();
