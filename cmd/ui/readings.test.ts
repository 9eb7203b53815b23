import { readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { describe, expect, it } from "vitest";
import type { Instrument, Reading } from "./api.ts";
import { aged, ageMonths, band, batteryLow, charge, handOrder, handVitals, measuresPatient, ofCart, pressure, savable, type Saved, vitals } from "./readings.ts";
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

describe("a value measured once", () => {
  const scale = (over: Partial<Instrument>, r: Partial<Reading>): Instrument => meter({ name: "scale", kind: "scale", readings: [reading({ quantity: "body-weight", unit: "kg", text: "14.35", once: true, ...r })], ...over });
  it("stands, whatever became of the instrument", () => expect(vitals([scale({ health: { state: "absent", reason: "unplugged" } }, {})])[0]).toMatchObject({ text: "14.35", at: "2026-01-01T10:00:00Z" }));
  it("is drawn as old after its time", () => expect(vitals([scale({}, { stale: true })])[0]).toMatchObject({ text: "14.35", oldSince: "2026-01-01T10:00:00Z", reason: "stale" }));
  it("that is absent is no number", () => expect(vitals([scale({ health: { state: "settling", reason: "in-motion" } }, { text: "", absent: "in-motion" })])[0]).toMatchObject({ text: "---", reason: "in-motion" }));
  it("that is absent is no number, even if it carries one", () => expect(vitals([scale({}, { absent: "in-motion" })])[0]).toMatchObject({ text: "---", reason: "in-motion" }));
  it("is not waited for", () => expect(vitals([scale({ readings: [] }, {})])[0]).toMatchObject({ text: "---", reason: "not-measured" }));
});

describe("blood pressure", () => {
  const made = { unit: "mm[Hg]", once: true, method: "oscillometric" };
  const cuff = (readings: Partial<Reading>[], over: Partial<Instrument> = {}): Instrument => meter({ name: "cuff", kind: "cuff", readings: readings.map((r) => reading({ ...made, ...r })), ...over });
  const [s, d] = [{ quantity: "systolic-pressure", text: "118" }, { quantity: "diastolic-pressure", text: "74" }];
  it("is one line with what came with it", () => {
    expect(vitals([cuff([s, d, { quantity: "mean-pressure", text: "89" }, { quantity: "pulse-rate", text: "85", unit: "/min" }])])).toMatchObject([
      { quantity: pressure, text: "118/74", unit: "mm[Hg]", method: "oscillometric", at: "2026-01-01T10:00:00Z", also: [{ quantity: "mean-pressure", text: "89" }, { quantity: "pulse-rate", text: "85" }] },
    ]);
  });
  it.each([
    ["systolic", [{ ...s, text: "", absent: "no-result" }, d]],
    ["diastolic", [s, { ...d, text: "", absent: "no-result" }]],
  ])("without the %s one is none", (_, readings) => {
    const [v] = vitals([cuff(readings)]);
    expect(v).toMatchObject({ text: "---", reason: "no-result" });
    expect(v!.at).toBeUndefined();
  });
  it("says that the cuff is at work, and what is in it", () => {
    const i = cuff([{ ...s, text: "", absent: "not-measured" }, { ...d, text: "", absent: "not-measured" }, { quantity: "cuff-pressure", text: "142" }], { health: { state: "live", reason: "measuring" } });
    expect(vitals([i])[0]).toMatchObject({ text: "---", reason: "measuring", also: [{ quantity: "cuff-pressure", text: "142" }] });
    expect(savable(i)).toBe(false);
  });
  it("has its place before the first measurement", () => expect(vitals([cuff([])])[0]).toMatchObject({ quantity: pressure, text: "---", reason: "not-measured" }));
});

describe("what a person measured", () => {
  const saved = (quantity: string, text: string, minute: number, over: Partial<Saved> = {}): Saved => ({ quantity, text, unit: "", at: `2026-01-01T10:${String(minute).padStart(2, "0")}:00Z`, method: "by-hand", wrong: false, ...over });
  const shown = (all: Saved[]): string[] => handVitals(all, handOrder).map((v) => `${v.quantity} ${v.text}`);
  it("is the latest of each, in the order of a visit", () => expect(shown([saved("body-weight", "14.35", 2), saved("respiratory-rate", "38", 1), saved("respiratory-rate", "32", 5)])).toEqual(["respiratory-rate 32", "body-weight 14.35"]));
  it("is not what an instrument measured, nor what was entered in error", () => expect(shown([saved("pulse-rate", "80", 1, { method: undefined }), saved("body-weight", "143.5", 2, { wrong: true }), saved("body-weight", "14.3", 1)])).toEqual(["body-weight 14.3"]));
  it("joins only pressures that were entered together", () => {
    expect(shown([saved("systolic-pressure", "118", 3), saved("diastolic-pressure", "74", 3)])).toEqual([`${pressure} 118/74`]);
    expect(shown([saved("systolic-pressure", "118", 3), saved("diastolic-pressure", "74", 2)])).toEqual([]);
    expect(shown([saved("systolic-pressure", "118", 3, { wrong: true }), saved("diastolic-pressure", "74", 3), saved("systolic-pressure", "110", 1), saved("diastolic-pressure", "70", 1)])).toEqual([`${pressure} 110/70`]);
  });
});

describe("the cart's own quantities", () => {
  it("are those of capture/quantity.go", () => {
    const go = readFileSync(join(resolve(import.meta.dirname, "../.."), "capture/quantity.go"), "utf8");
    expect([...go.matchAll(/Name: "([\w-]+)",[^}]*Cart: true/g)].map((m) => m[1])).toEqual(ofCart);
  });
  it("are never a patient's", () => {
    expect(vitals([meter({ readings: [reading(), reading({ quantity: "room-temperature", text: "21" })] })]).map((v) => v.quantity)).toEqual(["body-temperature"]);
    for (const kind of ["power", "light", "clock", "room", "scanner", "pedal"] as const) expect(vitals([meter({ kind })])).toEqual([]);
    expect(measuresPatient(meter({ kind: "power" }))).toBe(false);
  });
  it("say how full the battery is, while it is known", () => {
    const power = (r: Partial<Reading>, reason?: string): Instrument => meter({ kind: "power", health: { state: "live", ...(reason && { reason }) }, readings: [reading({ quantity: "battery-charge", value: 91, text: "91", ...r })] });
    expect(charge([power({})])).toBe(91);
    expect(charge([power({ stale: true })])).toBeUndefined();
    expect(charge([meter()])).toBeUndefined();
    expect([batteryLow([power({}, "battery-low")]), batteryLow([power({}, "on-mains")])]).toEqual([true, false]);
    expect(batteryLow([meter({ kind: "oximeter", health: { state: "live", reason: "battery-low" } })])).toBe(false);
  });
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
