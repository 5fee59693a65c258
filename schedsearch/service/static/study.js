// Of a study: cost against drop, and keep ratios of all trials.
import { BEST, columns, digits, extent, FRONT, nearest, OPEN, UNKNOWN, WITHIN, shades } from "./compute.js";
import { refresh } from "./live.js";

/** @typedef {{ cost: Float32Array, drop: Float32Array, kind: Uint8Array }} Points */

const colour = (/** @type {string} */ name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const box = /** @type {HTMLElement | null} */ (document.getElementById("scatter"));
const unzoom = /** @type {HTMLButtonElement} */ (document.getElementById("unzoom"));

/** @type {any} */ let plot = null;
/** @type {Points | null} */ let points = null;
let hovered = -1;

/** @param {CanvasRenderingContext2D} context @param {number} x @param {number} y @param {number} r */
function star(context, x, y, r) {
  context.beginPath();
  for (let at = 0; at < 10; at++) {
    const far = at % 2 ? r * 0.45 : r, angle = (Math.PI * at) / 5 - Math.PI / 2;
    context.lineTo(x + far * Math.cos(angle), y + far * Math.sin(angle));
  }
  context.closePath();
  context.fill();
}

/** Draw all points, the more important the later. @param {any} u */
function draw(u) {
  if (!points) return;
  const { cost, drop, kind } = points, context = u.ctx, ratio = devicePixelRatio;
  const { left, top, width, height } = u.bbox;
  context.save();
  context.beginPath();
  context.rect(left, top, width, height);
  context.clip();
  region(u);
  const place = (/** @type {number} */ at) => [u.valToPos(cost[at], "x", true), u.valToPos(drop[at], "y", true)];
  /** @type {[string, (kind: number) => boolean, number][]} */
  const layers = [
    ["--faint", (k) => (k & 3) !== WITHIN && (k & FRONT) === 0, 2.2],
    ["--series-1", (k) => (k & 3) === WITHIN && (k & FRONT) === 0, 2.6],
    ["--series-1", (k) => (k & FRONT) > 0 && (k & BEST) === 0, 4.5],
  ];
  for (const [name, wanted, size] of layers) {
    context.fillStyle = context.strokeStyle = colour(name);
    context.globalAlpha = size < 4 && cost.length > 2000 ? 0.5 : 1;
    const hollow = name === "--faint" && cost.length < 2000;
    for (let at = 0; at < cost.length; at++) {
      if (!wanted(kind[at]) || (kind[at] & 3) === OPEN || (kind[at] & 3) === UNKNOWN) continue;
      const [x, y] = place(at);
      context.beginPath();
      context.arc(x, y, size * ratio, 0, 7);
      hollow ? context.stroke() : context.fill();
    }
  }
  context.globalAlpha = 1;
  context.fillStyle = colour("--best");
  const best = kind.findIndex((k) => (k & BEST) > 0);
  if (best >= 0 && !Number.isNaN(cost[best])) star(context, ...(/** @type {[number, number]} */ (place(best))), 11 * ratio);
  context.restore();
}

/** What is feasible. @param {any} u */
function region(u) {
  const { left, top, width, height } = u.bbox;
  const limit = (/** @type {string | undefined} */ text, /** @type {string} */ scale, /** @type {number} */ none) =>
    text ? u.valToPos(Number(text), scale, true) : none;
  if (!box?.dataset.cost && !box?.dataset.drop) return;
  const right = Math.min(left + width, limit(box.dataset.cost, "x", left + width));
  const upper = Math.max(top, limit(box.dataset.drop, "y", top));
  u.ctx.fillStyle = colour("--region");
  u.ctx.fillRect(left, upper, right - left, top + height - upper);
  u.ctx.strokeStyle = colour("--accent");
  u.ctx.setLineDash([4, 4]);
  u.ctx.beginPath();
  u.ctx.moveTo(left, upper);
  if (box.dataset.drop) u.ctx.lineTo(right, upper);
  if (box.dataset.cost) (u.ctx.moveTo(right, upper), u.ctx.lineTo(right, top + height));
  u.ctx.stroke();
  u.ctx.setLineDash([]);
}

function size() {
  return { width: box?.clientWidth ?? 600, height: box?.clientHeight ?? 400 };
}

function build() {
  if (!box || !points) return;
  const axis = { stroke: colour("--muted"), grid: { stroke: colour("--line"), width: 1 }, ticks: { show: false }, font: "12px system-ui, sans-serif", labelFont: "12px system-ui, sans-serif", labelSize: 22, values: (/** @type {any} */ _u, /** @type {number[]} */ splits) => splits.map((one) => one.toFixed(digits(splits))) };
  const tip = Object.assign(document.createElement("div"), { className: "tip", hidden: true });
  // @ts-ignore uPlot is a global of the vendored script
  plot = new uPlot(
    {
      ...size(),
      legend: { show: false },
      cursor: { y: true, drag: { x: true, y: true, uni: 20 }, points: { show: false } },
      scales: { x: { time: false, range: asked }, y: { range: asked } },
      axes: [{ ...axis, size: 34, label: box.dataset.unit ?? "FLOPs ratio" }, { ...axis, label: "drop", size: 56 }],
      series: [{}, { show: true, paths: () => null, points: { show: false } }],
      hooks: {
        draw: [draw],
        setCursor: [(/** @type {any} */ u) => hover(u, tip)],
        setScale: [() => (unzoom.hidden = !zoomed())],
        ready: [(/** @type {any} */ u) => u.over.append(tip)],
      },
    },
    [[0, 1], [0, 1]],
    box,
  );
  fit();
  plot.over.addEventListener("click", () => {
    if (hovered >= 0 && !plot.select.width) location.href = box.dataset.trial + String(hovered);
  });
}

const asked = (/** @type {any} */ _u, /** @type {number} */ low, /** @type {number} */ high) => [low, high];

/** Show all points, unless somebody has zoomed in. */
function fit() {
  const still = zoomed();
  home = { x: extent(points?.cost ?? []), y: extent(points?.drop ?? []) };
  if (!still) reset();
  plot.redraw(false, false); // or else the scale that was would be set again
}

/** @type {{ x: number[], y: number[] }} */ let home = { x: [0, 1], y: [0, 1] };

function reset() {
  plot.setScale("x", { min: home.x[0], max: home.x[1] });
  plot.setScale("y", { min: home.y[0], max: home.y[1] });
}

const zoomed = () => plot && (plot.scales.x.min > home.x[0] || plot.scales.x.max < home.x[1] || plot.scales.y.min > home.y[0]);

/** @param {any} u @param {HTMLElement} tip */
function hover(u, tip) {
  if (!points) return;
  const { left, top } = u.cursor;
  const at = left < 0 ? -1 : nearest(points.cost, points.drop, (x) => u.valToPos(x, "x"), (y) => u.valToPos(y, "y"), left, top, 14);
  hovered = at;
  tip.hidden = at < 0;
  u.over.classList.toggle("pointed", at >= 0);
  if (at < 0) return;
  tip.textContent = `Trial ${at}\n${box?.dataset.unit ?? "FLOPs ratio"} ${points.cost[at].toFixed(4)}\ndrop ${points.drop[at].toFixed(4)}`;
  const right = left > u.over.clientWidth / 2;
  tip.style.transform = `translate(${left + (right ? -12 : 12)}px, ${top + 12}px)${right ? " translateX(-100%)" : ""}`;
}

async function load() {
  if (!box?.dataset.points) return;
  const answer = await fetch(box.dataset.points).catch(() => null);
  if (!answer?.ok) return;
  points = columns(await answer.arrayBuffer());
  const limits = document.querySelector("[data-limits]");
  Object.assign(box.dataset, limits instanceof HTMLElement ? limits.dataset : {});
  if (plot) fit();
  else build();
}

/** Draw the image of keep ratios: a column for each trial. @param {HTMLElement} part */
async function paint(part) {
  const canvas = /** @type {HTMLCanvasElement} */ (part.querySelector("canvas"));
  const answer = await fetch(part.dataset.keeps ?? "").catch(() => null);
  if (!answer?.ok) return;
  const keeps = new Uint8Array(await answer.arrayBuffer()), layers = Number(part.dataset.layers);
  canvas.width = keeps.length / layers;
  canvas.height = layers;
  const rgba = shades(keeps, layers);
  canvas.getContext("2d")?.putImageData(new ImageData(rgba, canvas.width, layers), 0, 0);
}

const image = /** @type {HTMLDetailsElement | null} */ (document.getElementById("image"));
image?.addEventListener("toggle", () => image.open && paint(image));
image?.querySelector("canvas")?.addEventListener("click", (event) => {
  const canvas = /** @type {HTMLCanvasElement} */ (event.currentTarget);
  location.href = box?.dataset.trial + String(Math.floor((event.offsetX / canvas.clientWidth) * canvas.width));
});

unzoom?.addEventListener("click", reset);
if (box) new ResizeObserver(() => plot?.setSize(size())).observe(box);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => (plot?.destroy(), (plot = null), build()));
document.addEventListener("page:changed", load);
if (document.querySelector("[data-unfinished]")) refresh();
else load();
