import { describe, expect, it } from "vitest";
import { makeWords } from "../../../ui/strings/words.ts";
import { complete, savedValues, typed } from "./byhand.tsx";
import { battery, cuff, ecg, full, items, light, oximeter, scale, state, stethoscope } from "./fixtures.ts";
import { healthWords } from "./instruments.tsx";
import { stepOf } from "./lights.tsx";
import { metersOf, working } from "./measure.tsx";
import { batteryWords } from "./strip.tsx";
import { drawers } from "./waves.tsx";

describe("the pad", () => {
  const keys = (point: boolean, ...all: string[]): string => all.reduce((t, k) => typed(t, k, point), "");
  it.each([
    ["14.35", keys(true, "1", "4", ".", "3", "5")],
    ["0.8", keys(true, ".", "8")],
    ["36.6", keys(true, "3", "6", ".", "6", ".")],
    ["1", keys(true, "1", "2", "delete")],
    ["", keys(true, "delete")],
    ["118", keys(false, "1", ".", "1", "8")],
    ["7", keys(false, "0", "7")],
    ["123456", keys(false, "1", "2", "3", "4", "5", "6", "7")],
  ])("writes %s", (want, got) => expect(got).toBe(want));
  it.each([["14.35", true], ["0", true], ["36.", false], ["", false], ["-1", false], ["1.2.3", false]])("%s is a whole number or not: %s", (text, want) => expect(complete(text)).toBe(want));
});

it("measures with what measures a patient, and draws with what draws", () => {
  expect(metersOf(full).map((i) => i.kind)).toEqual(["oximeter", "thermometer", "cuff", "ecg", "scale"]);
  expect(drawers(full).map((i) => i.kind)).toEqual(["oximeter", "ecg"]);
  expect(metersOf([light, battery("mains"), stethoscope()])).toEqual([]);
});

it("knows a cuff at work", () => {
  expect([cuff("working"), cuff("result"), cuff("rest"), cuff("no-result")].map(working)).toEqual([true, false, false, false]);
  expect(working({ ...ecg(), health: { state: "live", reason: "measuring" } })).toBe(false);
});

it.each([[0, 0], [12, 0], [13, 25], [50, 50], [99, 100]])("a light at %d %% stands at the step %d", (value, want) => expect(stepOf({ ...light.axes![0]!, value })).toBe(want));

it("takes values from items, and leaves out what was entered in error", () => {
  const all = savedValues(items().map((i) => (i.quantity === "respiratory-rate" ? { ...i, corrected: "entered-in-error" } : i)));
  expect(all.find((s) => s.quantity === "respiratory-rate")!.wrong).toBe(true);
  expect(all.find((s) => s.quantity === "systolic-pressure")).toMatchObject({ text: "102", method: "by-hand", side: "left", site: "arm", wrong: false });
});

it("says how an instrument is, and since when it is gone", () => {
  const w = makeWords("en");
  const now = Date.now();
  expect(healthWords(w, { ...oximeter("finger"), health: { state: "absent", reason: "unplugged" }, since: new Date(now - 12_400).toISOString() }, now)).toBe("Not there, 12 s ago: unplugged, plug it in");
  expect(healthWords(w, scale("in-motion"), now)).toBe("Getting ready: it moves, keep still on it");
  expect(healthWords(w, oximeter("finger"), now)).toBe("Ready");
});

it("says what the battery has left", () => {
  const w = makeWords("en");
  expect(batteryWords(w, state({ battery_min: 84 }))).toBe("84 min battery");
  expect(batteryWords(w, state({ battery_min: undefined, battery_percent: 91 }))).toBe("On mains, battery 91\u00a0%");
  expect(batteryWords(w, state({ battery_min: undefined }))).toBe("Battery not measured");
  expect(batteryWords(w, state({ battery_min: 14, instruments: [battery("low")] }))).toBe("Plug in: 14 min left");
});
