// What pages compute, by the runner that comes with node: `node --test tests/unit/service`.
import assert from "node:assert/strict";
import { test } from "node:test";
import * as compute from "../../../schedsearch/service/static/compute.js";

test("a time is written as the server writes it, in the zone of the reader", () => {
  const time = new Date(2026, 0, 2, 3, 4, 59);
  assert.equal(compute.localTime(time), "2026-01-02 03:04");
});

test("patience grows and has an end", () => {
  assert.deepEqual([1, 2, 3, 4, 5, 50].map(compute.patience), [1, 2, 4, 8, 15, 15]);
});

test("looking takes at most a quarter of the time", () => {
  for (const took of [0, 0.1, 1, 10]) assert.ok(took / (took + compute.rest(took)) <= 0.25);
});

test("columns are read as they are written", () => {
  const bytes = new ArrayBuffer(18), view = new DataView(bytes);
  [0.5, 1, 0.25, NaN].forEach((value, at) => view.setFloat32(4 * at, value, true));
  view.setUint8(16, compute.WITHIN | compute.BEST);
  view.setUint8(17, 3);
  const { cost, drop, kind } = compute.columns(bytes);
  assert.deepEqual([...cost], [0.5, 1]);
  assert.deepEqual([...drop], [0.25, NaN]);
  assert.deepEqual([...kind], [9, 3]);
});

test("the nearest point is found, and none where none is near", () => {
  const same = (/** @type {number} */ x) => x;
  const found = (/** @type {number} */ x, /** @type {number} */ y) => compute.nearest({ cost: [0, 100, NaN], drop: [0, 100, 50] }, same, same, x, y);
  assert.equal(found(1, 1), 0);
  assert.equal(found(90, 108), 1);
  assert.equal(found(90, 110), -1);
  assert.equal(found(50, 50), -1);
});

test("an image has a row for each layer, the darker the less is kept", () => {
  const rgba = compute.shades(Uint8Array.of(255, 128, 0, 0, 255, 255), 3); // two trials, three layers
  const light = (/** @type {number} */ trial, /** @type {number} */ layer) => rgba[4 * (2 * layer + trial)];
  assert.equal(rgba.length, 24);
  assert.ok(light(0, 0) > light(0, 1) && light(0, 1) > light(0, 2));
  assert.equal(light(1, 0), light(0, 2));
  assert.equal(light(1, 2), light(0, 0));
  assert.equal(rgba[3], 255);
});

test("an extent holds all that is known", () => {
  const extent = (/** @type {number[]} */ ...values) => compute.extent(Float32Array.of(...values));
  assert.deepEqual(extent(NaN, 10, 9, -15), [-16, 11]);
  assert.deepEqual(extent(NaN), [0, 1]);
  assert.deepEqual(extent(), [0, 1]);
  const [low, high] = extent(0.5);
  assert.ok(low < 0.5 && 0.5 < high);
});
