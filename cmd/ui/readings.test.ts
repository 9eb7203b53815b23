import { describe, expect, it } from "vitest";
import type { Instrument, Reading } from "./api.ts";
import { aged, ageMonths, band, savable, vitals } from "./readings.ts";
import { Ring } from "./ring.ts";

const reading = (over: Partial<Reading> = {}): Reading => ({ quantity: "body-temperature", value: 37, text: "37.0", unit: "Cel", at: "2026-01-01T10:00:00Z", stale: false, ...over });
const meter = (over: Partial<Instrument> = {}): Instrument => ({ name: "thermometer", kind: "thermometer", health: { state: "live" }, since: "", twin: false, readings: [reading()], ...over });

describe("vitals", () => {
  it.each([
    ["a value, with its precision", meter(), "37.0", undefined],
    ["an absent value", meter({ readings: [reading({ absent: "no-sensor", text: "", value: 0 })] }), "---", "no-sensor"],
    ["an absent value that still carries a number", meter({ readings: [reading({ absent: "low-signal", value: 37 })] }), "---", "low-signal"],
    ["no value yet", meter({ readings: [] }), "---", "not-yet"],
    ["a value without text", meter({ readings: [reading({ text: "" })] }), "---", "not-yet"],
    ["a settling instrument", meter({ health: { state: "settling", reason: "not-yet" } }), "---", "not-yet"],
    ["an unplugged instrument with its last value", meter({ health: { state: "absent", reason: "unplugged" } }), "---", "unplugged"],
    ["a faulty instrument without a reason", meter({ health: { state: "faulty" } }), "---", "no-data"],
    ["a stale value", meter({ readings: [reading({ stale: true })] }), "37.0", "stale"],
  ])("%s", (_, i, text, reason) => {
    const [v] = vitals([i]);
    expect(v!.text).toBe(text);
    expect(v!.reason).toBe(reason);
    expect(v!.oldSince !== undefined).toBe(reason === "stale");
  });

  it("keeps fixed places, whatever has come", () => {
    const o = meter({ name: "oximeter", kind: "oximeter", readings: [reading({ quantity: "pulse-rate" }), reading({ quantity: "perfusion-index" })] });
    expect(vitals([o]).map((v) => v.quantity)).toEqual(["oxygen-saturation", "pulse-rate", "perfusion-index"]);
  });

  it("saves only what is trusted now", () => {
    expect(savable(meter())).toBe(true);
    expect(savable(meter({ readings: [reading({ stale: true })] }))).toBe(false);
    expect(savable(meter({ health: { state: "absent" } }))).toBe(false);
  });

  it("counts nothing as current when its reporter is cut off", () => expect(vitals(aged([meter()]))[0]!.reason).toBe("stale"));
});

describe("age", () => {
  const now = new Date(2026, 4, 15);
  it.each([
    ["2026-05-15", 0],
    ["2026-04-16", 0],
    ["2025-05-15", 12],
    ["2025-05-16", 11],
    ["2019-04-30", 84],
    ["2027-01-01", undefined],
    ["", undefined],
    ["30.4.2019", undefined],
  ])("born %s: %s months", (birth_date, want) => expect(ageMonths({ id: "1", birth_date }, now)).toBe(want));
});

it.each([
  ["pulse-rate", 0, 110, 160],
  ["pulse-rate", 12, 100, 150],
  ["pulse-rate", 143, 80, 120],
  ["pulse-rate", 144, 60, 100],
])("%s at %d months has the band %d to %d", (q, months, low, high) => expect(band(q, months)).toMatchObject({ low, high }));

it.each([["pulse-rate", 216], ["pulse-rate", undefined], ["oxygen-saturation", 60], ["body-temperature", 60]])("%s at %s months has no band", (q, months) => expect(band(q, months)).toBeUndefined());

describe("Ring", () => {
  const samples = (ms: number, n: number) => ({ instrument: "o", quantity: "pleth", rate_hz: 75, values: Array.from({ length: n }, () => 1), at: new Date(ms).toISOString() });
  it("is bounded", () => {
    const r = new Ring(2);
    for (let i = 1; i <= 10; i++) r.push(samples(i * 1000, 75));
    expect(r.values).toHaveLength(150);
    expect(r.values).not.toContain(null);
  });
  it("shows a hole in time as a hole", () => {
    const r = new Ring(8);
    r.push(samples(1000, 75));
    r.push(samples(4000, 75));
    expect(r.values.filter((v) => v === null)).toHaveLength(150);
  });
});
