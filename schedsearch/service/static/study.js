// Of a study: cost against drop, and keep ratios of all trials.
import { BEST, columns, extent, FRONT, nearest, shades, WITHIN } from "./compute.js";
import { by, refresh } from "./live.js";

const root = getComputedStyle(document.documentElement);
/** @type {HTMLElement} */
const box = by("scatter");
const unzoom = by("unzoom"), tip = by("tip"), image = by("image"), canvas = image.querySelector("canvas");

/** @type {uPlot} Once there are points. */ let plot;
let points = columns(new ArrayBuffer(0));
let home = { x: [0, 1], y: [0, 1] };
let hovered = -1;
const FONT = "12px system-ui, sans-serif";

/** Open a trial. @param {number} number */
const open = (number) => (location.href = box.dataset.trial + String(number));

/** What is feasible. @param {uPlot} u */
function region({ ctx, bbox: { left, top, width, height }, valToPos }) {
  const { cost, drop } = box.dataset;
  if (!cost && !drop) return;
  const right = cost ? Math.min(left + width, valToPos(Number(cost), "x", true)) : left + width + 9;
  const upper = drop ? Math.max(top, valToPos(Number(drop), "y", true)) : top - 9;
  ctx.fillStyle = root.getPropertyValue("--region");
  ctx.strokeStyle = root.getPropertyValue("--accent");
  ctx.setLineDash([4, 4]);
  for (const paint of [ctx.fillRect, ctx.strokeRect]) paint.call(ctx, left - 9, upper, right - left + 9, top + height - upper + 9);
  ctx.setLineDash([]);
}

/** Draw all points, the more important the later. @param {uPlot} u */
function draw(u) {
  const { cost, drop, kind } = points, { ctx } = u, many = cost.length > 2000, ratio = devicePixelRatio;
  ctx.save();
  ctx.beginPath();
  ctx.rect(u.bbox.left, u.bbox.top, u.bbox.width, u.bbox.height);
  ctx.clip();
  region(u);
  const layers = [["--faint", 0, 2.2], ["--series-1", WITHIN, 2.6], ["--series-1", FRONT, 4.5], ["--best", BEST, 12]];
  layers.forEach(([name, mark, size], rank) => {
    ctx.fillStyle = ctx.strokeStyle = root.getPropertyValue(String(name));
    ctx.globalAlpha = rank < 2 && many ? 0.5 : 1;
    ctx.font = `${2 * Number(size) * ratio}px system-ui, sans-serif`;
    ctx.textAlign = "center";
    ctx.textBaseline = "middle";
    for (let at = 0; at < cost.length; at++) {
      const own = kind[at] & BEST ? BEST : kind[at] & FRONT || ((kind[at] & 3) === WITHIN ? WITHIN : 0);
      if (own !== mark || Number.isNaN(drop[at])) continue;
      const x = u.valToPos(cost[at], "x", true), y = u.valToPos(drop[at], "y", true);
      if (mark === BEST) ctx.fillText("★", x, y);
      ctx.beginPath();
      ctx.arc(x, y, mark === BEST ? 0 : Number(size) * ratio, 0, 7);
      rank || many ? ctx.fill() : ctx.stroke();
    }
  });
  ctx.restore();
}

const size = () => ({ width: box.clientWidth, height: box.clientHeight });

function build() {
  /** @type {uPlot.Axis} */
  const axis = {
    stroke: root.getPropertyValue("--muted"), grid: { stroke: root.getPropertyValue("--line"), width: 1 }, ticks: { show: false },
    font: FONT, labelFont: FONT, labelSize: 22,
    values: (_, splits) => splits.map((one) => Number(one.toFixed(6))),
  };
  /** @type {uPlot.Scale.Range} */
  const range = (_, low, high) => [low, high];
  plot = new uPlot({
    ...size(),
    legend: { show: false },
    cursor: { drag: { x: true, y: true, uni: 20 }, points: { show: false } },
    scales: { x: { time: false, range }, y: { range } },
    axes: [{ ...axis, size: 34, label: box.dataset.unit }, { ...axis, label: "drop", size: 56 }],
    series: [{}, { paths: () => null, points: { show: false } }],
    hooks: {
      draw: [draw],
      setCursor: [hover],
      setScale: [(u) => unzoom.toggleAttribute("hidden", !zoomed(u))],
      ready: [(u) => u.over.append(tip)],
    },
  }, [[0, 1], [0, 1]], box);
  fit(plot);
  plot.over.addEventListener("click", () => hovered >= 0 && !plot.select.width && open(hovered));
}

/** Show all points, unless somebody has zoomed in. @param {uPlot} u */
function fit(u) {
  const still = zoomed(u);
  home = { x: extent(points.cost), y: extent(points.drop) };
  if (!still) reset();
  u.redraw(false, false); // or else the scale that was would be set again
}

function reset() {
  for (const [name, [min, max]] of Object.entries(home)) plot.setScale(name, { min, max });
}

/** @param {uPlot} u */
const zoomed = (u) => Object.entries(home).some(([name, [low, high]]) => {
  const { min, max } = u.scales[name];
  return (min ?? low) > low || (max ?? high) < high;
});

/** Say which trial is pointed at. @param {number} at None: -1. */
function tell(at) {
  hovered = at;
  tip.textContent = at < 0 ? "" : `Trial ${at}\n${box.dataset.unit} ${points.cost[at].toFixed(4)}\ndrop ${points.drop[at].toFixed(4)}`;
}

/** @param {uPlot} u */
function hover(u) {
  const { left = -1, top = -1 } = u.cursor;
  tell(left < 0 ? -1 : nearest(points, (x) => u.valToPos(x, "x"), (y) => u.valToPos(y, "y"), left, top));
  u.over.classList.toggle("pointed", hovered >= 0);
  tip.style.transform = `translate(${left}px, ${top}px) translateX(${(-100 * left) / u.over.clientWidth}%)`;
}

// By cost: left and right lead along the undominated trials, up and down along all.
box.addEventListener("keydown", (event) => {
  const { cost, drop, kind } = points, key = ["ArrowLeft", "ArrowRight", "ArrowDown", "ArrowUp"].indexOf(event.key);
  if (event.key === "Enter" && hovered >= 0) open(hovered);
  if (key < 0 || !plot) return;
  event.preventDefault();
  const way = [...kind.keys()].filter((at) => (key < 2 ? kind[at] & FRONT : !Number.isNaN(drop[at]))).sort((a, b) => cost[a] - cost[b]);
  const next = way[way.indexOf(hovered) + 2 * (key % 2) - 1];
  reset();
  queueMicrotask(() => {
    if (!(next >= 0)) return;
    plot.setCursor({ left: plot.valToPos(cost[next], "x"), top: plot.valToPos(drop[next], "y") });
    tell(next); // others may lie there too
  });
});

/** @param {any} address */
async function bytes(address) {
  const answer = await fetch(address).catch(() => null);
  return answer?.ok ? answer.arrayBuffer() : null;
}

async function load() {
  const found = await bytes(box.dataset.points);
  if (!found) return;
  points = columns(found);
  Object.assign(box.dataset, by("limits")?.dataset);
  if (plot) fit(plot);
  else build();
}

image.addEventListener("toggle", async () => {
  const found = image.open && (await bytes(image.dataset.keeps)), layers = Number(image.dataset.layers);
  if (!found) return;
  canvas.width = found.byteLength / layers;
  canvas.height = layers;
  canvas.getContext("2d").putImageData(new ImageData(shades(new Uint8Array(found), layers), canvas.width, layers), 0, 0);
});
canvas.onclick = (/** @type {MouseEvent} */ { offsetX }) => open(Math.floor((offsetX / canvas.clientWidth) * canvas.width));

unzoom.addEventListener("click", reset);
new ResizeObserver(() => plot?.setSize(size())).observe(box);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
  plot?.destroy();
  build();
});
document.addEventListener("page:changed", load);
if (document.querySelector("[data-unfinished]")) refresh();
else load();
