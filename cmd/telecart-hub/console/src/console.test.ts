import { describe, expect, it } from "vitest";
import type { ConsoleCart, ConsoleItem } from "../../../ui/api.ts";
import { charge, handOrder, handVitals, vitals } from "../../../ui/readings.ts";
import { axes, cart, carts, encounter, full, ingrid, items, mensah, mine } from "./fixtures.ts";
import { h264First } from "./hub.ts";
import { gather, line } from "./ladder.tsx";
import { savedValues, trendPoints, vitalPoints } from "./known.tsx";
import { fleetState, knownState, pageState, stageState, worklistState } from "./states.ts";
import { byHand, byKey, clamp, drag, nudge, wheel } from "./steering.ts";
import { order, primary } from "./worklist.ts";

describe("worklist", () => {
  it("puts who calls first, the longest waiting on top, and the offline last", () => {
    const all = [...carts(cart(mine)), cart({ cart: "clinic-1", calling: { reason: "", since: new Date(Date.now() - 900e3).toISOString() } })];
    expect(order(all).map((c) => c.cart)).toEqual(["clinic-1", "clinic-2", "clinic-7", "training-1", "clinic-4", "clinic-5", "clinic-9"]);
  });
  it.each<[string, Partial<ConsoleCart>, string | undefined]>([
    ["calls", { calling: { reason: "", since: "" } }, "answer"],
    ["is ready with an encounter", {}, "offer"],
    ["has no encounter", { encounter: undefined }, undefined],
    ["is offline", { state: "offline" }, undefined],
    ["is in my consult", mine, undefined],
    ["is in another's consult", { ...mine, consult: { ...mine.consult!, mine: false } }, "join"],
    ["refused before", { consult: { ...mine.consult!, phase: "refused" } }, "offer"],
  ])("what to do next when the cart %s", (_, over, want) => expect(primary(cart(over), mensah)).toBe(want));
  it("offers IT nothing", () => expect(primary(cart(), ingrid)).toBeUndefined());
});

describe("states", () => {
  const phase = (p: NonNullable<ConsoleCart["consult"]>["phase"], isMine = true) => cart({ ...mine, consult: { ...mine.consult!, phase: p, mine: isMine } });
  it.each([
    ["no cart chosen", undefined, "empty"],
    ["no consult", cart(), "empty"],
    ["offered", phase("offered"), "waiting"],
    ["calling", phase("calling"), "waiting"],
    ["link lost", phase("link-lost"), "waiting"],
    ["waits for Continue", phase("waiting-continue"), "waiting"],
    ["paused", phase("paused"), "waiting"],
    ["refused", phase("refused"), "refused"],
    ["ended", phase("ended"), "empty"],
    ["without me", phase("live", false), "empty"],
    ["offline", cart({ state: "offline" }), "offline"],
    ["live", phase("live"), undefined],
  ])("stage: %s", (_, c, want) => expect(stageState(c, mensah)?.kind).toBe(want));
  it("says that a cart calls, not that a consult goes on without me", () => expect(stageState(phase("calling", false), mensah)).toMatchObject({ what: "stage.calling" }));
  it("lets IT see no picture, and specialists no fleet", () => {
    expect(stageState(phase("live"), ingrid)?.kind).toBe("refused");
    expect(fleetState(mensah, [])?.kind).toBe("refused");
    expect(fleetState(ingrid, [])?.kind).toBe("empty");
  });
  it("never shows one encounter's items under another", () => {
    const e = encounter();
    expect(knownState(cart(), e)).toBeUndefined();
    expect(knownState(cart({ encounter: { ...e.summary, id: "other" } }), e)?.kind).toBe("loading");
    expect(knownState(cart({ encounter: undefined }), e)?.kind).toBe("empty");
  });
  it("of page and worklist", () => {
    expect(pageState({ phase: "connecting" })?.kind).toBe("loading");
    expect(pageState({ phase: "lost" })?.kind).toBe("offline");
    expect(worklistState([])?.kind).toBe("empty");
  });
});

describe("steering", () => {
  const at = { pan: 0, tilt: 0, zoom: 100 };
  it("keeps to limits and steps", () => {
    const pan = axes[0]!;
    expect([clamp(pan, 1e9), clamp(pan, -1e9), clamp(pan, 5000)]).toEqual([180000, -180000, 3600]);
    expect(nudge(pan, 0, 1)).toBe(10800); // a fortieth of the range is 9000: three steps
  });
  it("moves the scene with the hand", () => {
    const s = drag(axes, at, 0.5, 0.5);
    expect(s["pan"]).toBeLessThan(0); // hand goes right: camera looks left
    expect(s["tilt"]).toBeGreaterThan(0); // hand goes down: camera looks up
    expect(Math.abs(drag(axes, { ...at, zoom: 500 }, 0.5, 0)["pan"]!)).toBeLessThan(Math.abs(s["pan"]!) / 3);
  });
  it("zooms in with the wheel away from the hand", () => {
    expect(wheel(axes, at, -100)["zoom"]).toBeGreaterThan(100);
    expect(wheel(axes, at, 100)).toEqual({ zoom: 100 });
    expect(wheel([], at, 100)).toEqual({});
  });
  it("switches automatic control off with the same order", () => {
    expect(byHand(axes, "focus", 61)).toEqual({ "focus-auto": 0, focus: 60 });
    expect(byHand(axes, "pan", 0)).toEqual({ pan: 0 });
    expect(byHand(axes, "nothing", 0)).toEqual({});
  });
  it.each([
    ["ArrowLeft", { pan: -10800 }],
    ["]", { "focus-auto": 0, focus: 65 }],
    ["f", { "focus-auto": 0 }],
    ["e", { "exposure-auto": 1 }],
    ["x", {}],
  ])("key %s", (key, want) => expect(byKey(axes, { ...at, focus: 60, "focus-auto": 1, "exposure-auto": 0 }, key)).toEqual(want));
});

describe("the ladder's graph", () => {
  const at = (s: number, kbps: number) => ({ at: s * 1000, kbps, used: kbps / 2 });
  it("keeps five minutes, and what its line begins with", () => {
    const all = [0, 100, 200, 350, 450].reduce<ReturnType<typeof gather>>((p, s) => gather(p, at(s, s)), []);
    expect(all.map((x) => x.at / 1000)).toEqual([100, 200, 350, 450]);
    expect(gather(all, at(450, 1)).map((x) => x.kbps)).toEqual([100, 200, 350, 1]); // the same moment again: the newer one
  });
  it("is bounded", () => {
    let all: ReturnType<typeof gather> = [];
    for (let i = 0; i < 2000; i++) all = gather(all, at(i / 10, i));
    expect(all.length).toBe(600);
  });
  it("draws steps that hold until the next, up to now", () => {
    expect(line([at(150, 1000), at(300, 500)], 300_000, 1000, (x) => x.kbps)).toBe("M150.0,0.0H300.0V20.0H300");
  });
});

it("asks for H.264 first and drops no codec", () => {
  const codecs = ["video/VP8", "video/rtx", "video/H264", "video/VP9", "video/h264"].map((mimeType) => ({ mimeType }));
  expect(h264First(codecs).map((c) => c.mimeType)).toEqual(["video/H264", "video/h264", "video/VP8", "video/rtx", "video/VP9"]);
});

it("draws saved and live values in order, without what was corrected", () => {
  const all = items().map((i, n) => (n === 2 ? { ...i, corrected: { by_item: "x", reason: "entered-in-error" } } : i));
  const p = trendPoints(all, [{ at: Date.now(), value: 110, series: "live" }], "pulse-rate", "instrument");
  expect(p.map((x) => x.value)).toEqual([126, 121, 118, 124, 116, 113, 110]);
  expect(p.every((x, i) => i === 0 || x.at > p[i - 1]!.at)).toBe(true);
});

it("never joins different instruments, methods or places on the body", () => {
  const reading = items().find((i) => i.reading?.quantity === "pulse-rate")!;
  const as = (n: number, over: { instrument?: string; side?: string }, r: { method?: string; site?: string } = {}): ConsoleItem => ({
    ...reading, ...over, id: String(n), at: new Date(n * 1000).toISOString(), reading: { ...reading.reading!, ...r } });
  const p = trendPoints(
    [as(1, {}), as(2, {}, { method: "oscillometric" }), as(3, { instrument: "another" }), as(4, {}, { site: "toe" }), as(5, { side: "left" }), as(6, {})], [], "pulse-rate", "instrument");
  expect(new Set(p.map((x) => x.series)).size).toBe(5);
  expect(p[0]!.series).toBe(p[5]!.series);
});

describe("what a person measured", () => {
  const hand = handVitals(savedValues(items()), handOrder);
  it("stands with its device beside what instruments measure", () => {
    expect(hand.map((v) => `${v.quantity} ${v.text} ${v.model ?? ""}`.trim())).toEqual(["respiratory-rate 32", "body-weight 14.35 Seca 354"]);
  });
  it("has a trend of its own, and is in no instrument's", () => {
    const points = vitalPoints(hand[0]!, items(), () => [{ at: 1, value: 30, series: "live" }]);
    expect(points.map((x) => x.value)).toEqual([38, 32]);
    expect(points.every((x) => x.hand)).toBe(true);
    expect(trendPoints(items(), [], "respiratory-rate", "instrument")).toEqual([]);
  });
});

it("draws systolic and diastolic as two lines of one trend", () => {
  const v = vitals(full).find((x) => x.quantity === "blood-pressure")!;
  const points = vitalPoints(v, items(), () => []);
  expect(points.map((x) => x.value).sort()).toEqual([112, 118, 71, 74]);
  expect(new Set(points.map((x) => x.series)).size).toBe(2);
});

it("says nothing of the cart among the patient's values", () => {
  expect(vitals(full).map((v) => v.quantity)).toEqual(["oxygen-saturation", "pulse-rate", "body-temperature", "blood-pressure", "heart-rate", "body-weight"]);
  expect(charge(full)).toBe(91);
});
