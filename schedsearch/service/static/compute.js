// What pages compute: no element and no network in here, so that node can test it.

/** A time in the reader's zone, as long as the server writes it. @param {Date} time */
export function localTime(time) {
  return time.toLocaleString("sv", { dateStyle: "short", timeStyle: "short" }); // as Swedes do
}

/** Seconds to wait before trying again: 1, 2, 4, ... up to 15. @param {number} failures So far, in a row. */
export function patience(failures) {
  return Math.min(15, 2 ** (failures - 1));
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
 * @param {{ cost: ArrayLike<number>, drop: ArrayLike<number> }} points What is not known is NaN.
 * @param {(cost: number) => number} across
 * @param {(drop: number) => number} down From values to pixels.
 * @param {number} x
 * @param {number} y
 */
export function nearest({ cost, drop }, across, down, x, y) {
  let found = -1, least = 14 ** 2;
  for (let at = 0; at < cost.length; at++) {
    const far = (across(cost[at]) - x) ** 2 + (down(drop[at]) - y) ** 2;
    if (far < least) {
      found = at;
      least = far;
    }
  }
  return found;
}

/** An image of keep ratios, a row for each layer: from pale (all kept) to dark blue (none). @param {Uint8Array} keeps Trial after trial, layer after layer. @param {number} layers */
export function shades(keeps, layers) {
  const trials = keeps.length / layers, rgba = new Uint8ClampedArray(4 * keeps.length);
  keeps.forEach((value, at) => {
    const keep = value / 255, trial = Math.floor(at / layers);
    rgba.set([8 + 222 * keep, 48 + 190 * keep, 107 + 143 * keep, 255], 4 * ((at % layers) * trials + trial));
  });
  return rgba;
}

/** From the least to the greatest of what is known, with a margin. @param {Float32Array} values What is not known is NaN. */
export function extent(values) {
  const known = values.filter((one) => !Number.isNaN(one)).sort();
  if (!known.length) return [0, 1];
  const low = known[0], high = known[known.length - 1], margin = 0.04 * (high - low || Math.abs(high) || 1);
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
