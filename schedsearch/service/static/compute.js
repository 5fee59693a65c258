// What pages compute: no element and no network in here, so that node can test it.

const pad = (/** @type {number} */ value) => String(value).padStart(2, "0");

/** A time in the reader's zone, as long as the server writes it. @param {Date} time */
export function localTime(time) {
  const day = `${time.getFullYear()}-${pad(time.getMonth() + 1)}-${pad(time.getDate())}`;
  return `${day} ${pad(time.getHours())}:${pad(time.getMinutes())}`;
}

/** Seconds to wait before trying again: 1, 2, 4, ... up to 15. @param {number} failures So far, in a row. */
export function patience(failures) {
  return Math.min(15, 2 ** Math.max(0, failures - 1));
}

/** Seconds to wait before a page is fetched again, so that looking costs at most a quarter of it. @param {number} took Seconds that the last time has taken. */
export function rest(took) {
  return Math.max(1, 3 * took);
}

/** What the kind of a trial says, as `schedsearch.app.points` writes it. */
export const WITHIN = 1, FRONT = 4, BEST = 8;

/** Costs, drops and kinds of all trials. @param {ArrayBuffer} bytes */
export function columns(bytes) {
  const count = bytes.byteLength / 9;
  return {
    cost: new Float32Array(bytes, 0, count),
    drop: new Float32Array(bytes, 4 * count, count),
    kind: new Uint8Array(bytes, 8 * count, count),
  };
}

/**
 * Which point is nearest to a place, -1 if none is near.
 * @param {ArrayLike<number>} xs
 * @param {ArrayLike<number>} ys Values; what is not known is NaN.
 * @param {(x: number) => number} across
 * @param {(y: number) => number} down From values to pixels.
 * @param {number} x
 * @param {number} y
 * @param {number} most Pixels.
 */
export function nearest(xs, ys, across, down, x, y, most) {
  let found = -1, least = most * most;
  for (let at = 0; at < xs.length; at++) {
    const far = (across(xs[at]) - x) ** 2 + (down(ys[at]) - y) ** 2;
    if (far <= least) {
      found = at;
      least = far;
    }
  }
  return found;
}

/** An image of keep ratios, a row for each layer: from pale (all kept) to dark blue (none). @param {Uint8Array} keeps Trial after trial, layer after layer. @param {number} layers */
export function shades(keeps, layers) {
  const trials = keeps.length / layers;
  const rgba = new Uint8ClampedArray(4 * keeps.length);
  for (let trial = 0; trial < trials; trial++) {
    for (let layer = 0; layer < layers; layer++) {
      const keep = keeps[trial * layers + layer] / 255, at = 4 * (layer * trials + trial);
      rgba[at] = 8 + 222 * keep;
      rgba[at + 1] = 48 + 190 * keep;
      rgba[at + 2] = 107 + 143 * keep;
      rgba[at + 3] = 255;
    }
  }
  return rgba;
}

/** From the least to the greatest of what is known, with a margin. @param {ArrayLike<number>} values What is not known is NaN. */
export function extent(values) {
  let low = Infinity, high = -Infinity;
  for (let at = 0; at < values.length; at++) {
    if (values[at] < low) low = values[at];
    if (values[at] > high) high = values[at];
  }
  if (low > high) return [0, 1];
  const margin = 0.04 * (high - low || Math.abs(high) || 1);
  return [low - margin, high + margin];
}

/**
 * A pixel for each token: grey where its bit is 0.
 * @param {string} kept In base64, high bits first.
 * @param {number} from
 * @param {number} count
 */
export function greyed(kept, from, count) {
  const bytes = atob(kept), found = new Uint8ClampedArray(4 * count);
  for (let at = 0, bit = from; at < count; at++, bit++) {
    if (!((bytes.charCodeAt(bit >> 3) << bit % 8) & 128)) found.set([124, 133, 137, 237], 4 * at);
  }
  return found;
}
