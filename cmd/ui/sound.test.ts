import { readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { expect, it } from "vitest";
import { bands, butterworthQ, loudness, outline } from "./sound.tsx";

it("has the modes of device/stethoscope/filter", () => {
  const go = readFileSync(join(resolve(import.meta.dirname, "../.."), "device/stethoscope/filter/filter.go"), "utf8");
  const there = [...go.matchAll(/return Band\{"(\w+)", (\d+), (\d+)\}/g)].map((m) => ({ name: m[1], low: Number(m[2]), high: Number(m[3]) }));
  expect(there.length).toBeGreaterThan(3);
  expect(bands.filter((b) => b.name !== "")).toEqual(there);
});

it("is a Butterworth: the two sections' Q multiply to -3 dB at the corner", () => {
  expect(butterworthQ[0]! * butterworthQ[1]!).toBeCloseTo(Math.SQRT1_2, 6);
});

it.each([[0, 0], [0.0001, 0], [0.001, 0], [0.031623, 0.5], [1, 1], [2, 1]])("a peak of %d is a bar of %d", (peak, want) => expect(loudness(peak)).toBeCloseTo(want, 3));

it("keeps the extremes of every stretch of a sound", () => {
  expect(outline([0, 5, -3, 1, 9, 2], 3)).toEqual([0, 5, -3, 1, 2, 9]);
  expect(outline([1, 2], 10)).toEqual([1, 1, 2, 2]);
  expect(outline([], 10)).toEqual([]);
  expect(outline(Array.from({ length: 480001 }, (_, i) => (i === 240000 ? 1 : 0)), 1200).filter((v) => v === 1)).toHaveLength(1);
});
