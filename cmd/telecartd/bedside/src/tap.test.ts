import { describe, expect, it } from "vitest";
import { TapCounter } from "./tap.ts";

function breathe(everyMs: number, forMs: number): TapCounter {
  const c = new TapCounter();
  for (let t = 0; t <= forMs; t += everyMs) c.tap(t);
  return c;
}

describe("tap counter", () => {
  it("counts a whole minute", () => {
    const c = breathe(1500, 60_000);
    expect(c.rate(60_000)).toBe(39); // the tap at 60 s is past the minute: 39 whole breaths in it
    c.tap(61_000);
    expect(c.rate(62_000)).toBe(39);
  });
  it("gives the rate of whole breaths after half a minute, not before", () => {
    const c = breathe(2000, 28_000);
    expect(c.rate(28_000)).toBeUndefined();
    expect(breathe(2000, 30_000).rate(30_000)).toBe(30);
    expect(breathe(3000, 30_000).rate(31_000)).toBe(20);
  });
  it("gives nothing from too few breaths, or when the taps stopped", () => {
    expect(breathe(10_000, 30_000).rate(31_000)).toBeUndefined();
    expect(breathe(2000, 30_000).rate(46_000)).toBeUndefined();
    expect(new TapCounter().rate(99_000)).toBeUndefined();
  });
  it("takes a bouncing glove for one touch", () => {
    const c = new TapCounter();
    for (const t of [0, 40, 149, 150]) c.tap(t);
    expect(c.count).toBe(2);
  });
});
