import { expect, it } from "vitest";
import { fastGap, stallGap, type Scan, Wedge } from "./wedge.ts";

/** Presses keys, each so many ms after the one before; returns the scans that came out. */
function type(w: Wedge, keys: string[], gap: (i: number) => number, from = 1000): Scan[] {
  let at = from;
  return keys.map((k, i) => w.key(k, (at += i === 0 ? 0 : gap(i)))).filter((s) => s !== undefined);
}
const code = [..."4711-208", "Enter"];

it.each<[string, string[], (i: number) => number, Scan[]]>([
  ["a scanner", code, () => 8, [{ code: "4711-208" }]],
  ["a scanner with shift", ["Shift", "A", "Shift", "B", "1", "2", "Enter"], () => 5, [{ code: "AB12" }]],
  ["the slowest scanner", [..."4711", "Enter"], () => fastGap, [{ code: "4711" }]],
  ["a scanner that a busy computer stalled after the first key", code, (i) => (i === 1 ? 150 : 8), [{ code: "4711-208" }]],
  ["a scanner that was stalled before Enter", code, (i) => (i === 8 ? 150 : 8), [{ code: "4711-208" }]],
  ["a burst with holes is no code", code, (i) => (i === 2 || i === 5 ? 150 : 8), [{ code: undefined }]],
  ["a person", code, () => 110, []],
  ["a quick person with two keys at once", code, (i) => (i === 3 ? 40 : 110), []],
  ["Enter alone", ["Enter"], () => 5, []],
  ["too short", ["1", "2", "3", "Enter"], () => 5, []],
])("%s", (_, keys, gap, want) => expect(type(new Wedge(), keys, gap)).toEqual(want));

it("leaves what a person typed before out of the code", () => {
  const w = new Wedge();
  type(w, [..."note "], () => 120, 0);
  expect(type(w, code, () => 5, 480 + stallGap + 1)).toEqual([{ code: "4711-208" }]);
});

it("is no scan when Enter comes late", () => {
  const w = new Wedge();
  type(w, [..."4711"], () => 5, 0);
  expect(w.key("Enter", 500)).toBeUndefined();
});

it("starts anew after a scan", () => {
  const w = new Wedge();
  type(w, code, () => 5, 0);
  expect(type(w, [..."4711-923", "Enter"], () => 5, 60)).toEqual([{ code: "4711-923" }]);
});

it("is bounded", () => {
  const w = new Wedge();
  type(w, Array.from({ length: 10_000 }, () => "x"), () => 1);
  expect(w.length).toBeLessThanOrEqual(4096);
});
