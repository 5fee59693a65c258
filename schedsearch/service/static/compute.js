// What pages compute: no element and no network in here, so that node can test it.

const pad = (/** @type {number} */ value) => String(value).padStart(2, "0");

/**
 * A time in the reader's zone, as long as the server writes it.
 * @param {Date} time
 */
export function localTime(time) {
  const day = `${time.getFullYear()}-${pad(time.getMonth() + 1)}-${pad(time.getDate())}`;
  return `${day} ${pad(time.getHours())}:${pad(time.getMinutes())}`;
}

/**
 * A span of time in its largest unit.
 * @param {number} seconds
 */
export function ago(seconds) {
  if (seconds < 5) return "just now";
  if (seconds < 90) return `${Math.round(seconds)} s ago`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min ago`;
  if (seconds < 129600) return `${Math.round(seconds / 3600)} h ago`;
  return `${Math.round(seconds / 86400)} days ago`;
}

/**
 * Seconds to wait before trying again: 1, 2, 4, ... up to 15.
 * @param {number} failures So far, in a row.
 */
export function patience(failures) {
  return Math.min(15, 2 ** Math.max(0, failures - 1));
}

/**
 * Seconds to wait before a page is fetched again, so that looking costs at most a quarter of it.
 * @param {number} took Seconds that the last time has taken.
 */
export function rest(took) {
  return Math.max(1, 3 * took);
}
