// Of a study: cost against drop, and keep ratios of all trials.
import { BEST, columns, extent, FRONT, nearest, shades, WITHIN } from "./compute.js";
import { refresh } from "./live.js";

const root = getComputedStyle(document.documentElement);
const box = document.getElementById("scatter");
const unzoom = document.getElementById("unzoom");

/** @type {uPlot | null} */ let plot = null;
let points = columns(new ArrayBuffer(0));
let home = { x: [0, 1], y: [0, 1] };
let hovered = -1;

/** Open a trial. @param {number} number */
const open = (number) => (location.href = box?.dataset.trial + String(number));

/** What is feasible. @param {uPlot} u */
function region({ ctx, bbox: { left, top, width, height }, valToPos }) {
  const { cost, drop } = box?.dataset ?? {};
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

const size = () => ({ width: box?.clientWidth ?? 600, height: box?.clientHeight ?? 400 });

function build() {
  if (!box) return;
  const tip = Object.assign(document.createElement("div"), { className: "tip", hidden: true });
  /** @type {uPlot.Axis} */
  const axis = {
    stroke: root.getPropertyValue("--muted"), grid: { stroke: root.getPropertyValue("--line"), width: 1 }, ticks: { show: false },
    font: "12px system-ui, sans-serif", labelFont: "12px system-ui, sans-serif", labelSize: 22,
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
      setCursor: [(u) => hover(u, tip)],
      setScale: [(u) => unzoom?.toggleAttribute("hidden", !zoomed(u))],
      ready: [(u) => u.over.append(tip)],
    },
  }, [[0, 1], [0, 1]], box);
  fit(plot);
  plot.over.addEventListener("click", () => hovered >= 0 && !plot?.select.width && open(hovered));
}

/** Show all points, unless somebody has zoomed in. @param {uPlot} u */
function fit(u) {
  const still = zoomed(u);
  home = { x: extent(points.cost), y: extent(points.drop) };
  if (!still) reset();
  u.redraw(false, false); // or else the scale that was would be set again
}

function reset() {
  for (const [name, [min, max]] of Object.entries(home)) plot?.setScale(name, { min, max });
}

/** @param {uPlot} u */
const zoomed = (u) => Object.entries(home).some(([name, [low, high]]) => {
  const { min, max } = u.scales[name];
  return min != null && max != null && (min > low || max < high);
});

/** @param {uPlot} u @param {HTMLElement} tip */
function hover(u, tip) {
  const { left = -1, top = -1 } = u.cursor, { cost, drop } = points;
  hovered = left < 0 ? -1 : nearest(cost, drop, (x) => u.valToPos(x, "x"), (y) => u.valToPos(y, "y"), left, top, 14);
  tip.hidden = hovered < 0;
  u.over.classList.toggle("pointed", !tip.hidden);
  if (tip.hidden) return;
  tip.textContent = `Trial ${hovered}\n${box?.dataset.unit} ${cost[hovered].toFixed(4)}\ndrop ${drop[hovered].toFixed(4)}`;
  const right = left > u.over.clientWidth / 2;
  tip.style.transform = `translate(${left + (right ? -12 : 12)}px, ${top + 12}px)${right ? " translateX(-100%)" : ""}`;
}

/** @param {string} [address] */
async function bytes(address) {
  const answer = await fetch(address ?? "").catch(() => null);
  return answer?.ok ? answer.arrayBuffer() : null;
}

async function load() {
  const found = box && (await bytes(box.dataset.points));
  if (!found) return;
  points = columns(found);
  Object.assign(box.dataset, document.getElementById("limits")?.dataset);
  if (plot) fit(plot);
  else build();
}

const image = /** @type {HTMLDetailsElement | null} */ (document.getElementById("image"));
const canvas = image?.querySelector("canvas");
image?.addEventListener("toggle", async () => {
  const found = image.open && (await bytes(image.dataset.keeps)), layers = Number(image.dataset.layers);
  if (!found || !canvas) return;
  canvas.width = found.byteLength / layers;
  canvas.height = layers;
  canvas.getContext("2d")?.putImageData(new ImageData(shades(new Uint8Array(found), layers), canvas.width, layers), 0, 0);
});
canvas?.addEventListener("click", (event) => open(Math.floor((event.offsetX / canvas.clientWidth) * canvas.width)));

unzoom?.addEventListener("click", reset);
if (box) new ResizeObserver(() => plot?.setSize(size())).observe(box);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
  plot?.destroy();
  build();
});
document.addEventListener("page:changed", load);
if (document.querySelector("[data-unfinished]")) refresh();
else load();
