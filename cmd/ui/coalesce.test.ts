import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { Coalescer } from "./coalesce.ts";

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

it("sends at most 20 a second; the latest value of each axis wins", () => {
  const sent: Record<string, number>[] = [];
  const c = new Coalescer((s) => sent.push(s));
  for (let ms = 0; ms < 1000; ms += 5) {
    c.set({ pan: ms, ...(ms === 500 && { zoom: 7 }) });
    vi.advanceTimersByTime(5);
  }
  vi.advanceTimersByTime(100);
  expect(sent.length).toBeLessThanOrEqual(21);
  expect(sent.length).toBeGreaterThanOrEqual(19);
  expect(sent[0]).toEqual({ pan: 0 }); // at once
  expect(sent.at(-1)).toEqual({ pan: 995 }); // and the last one is never lost
  expect(sent.filter((s) => "zoom" in s)).toHaveLength(1);
});

it("sends nothing after it was stopped", () => {
  const send = vi.fn();
  const c = new Coalescer(send);
  c.set({ pan: 1 });
  c.set({ pan: 2 });
  c.stop();
  vi.advanceTimersByTime(1000);
  expect(send).toHaveBeenCalledTimes(1);
});
