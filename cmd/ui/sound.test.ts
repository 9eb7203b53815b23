import { readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { expect, it } from "vitest";
import { bands, butterworthQ } from "./sound.tsx";

it("has the modes of device/stethoscope/filter", () => {
  const go = readFileSync(join(resolve(import.meta.dirname, "../.."), "device/stethoscope/filter/filter.go"), "utf8");
  const there = [...go.matchAll(/return Band\{"(\w+)", (\d+), (\d+)\}/g)].map((m) => ({ name: m[1], low: Number(m[2]), high: Number(m[3]) }));
  expect(there.length).toBeGreaterThan(3);
  expect(bands.filter((b) => b.name !== "")).toEqual(there);
});

it("is a Butterworth: the two sections' Q multiply to -3 dB at the corner", () => {
  expect(butterworthQ[0]! * butterworthQ[1]!).toBeCloseTo(Math.SQRT1_2, 6);
});
