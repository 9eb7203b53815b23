import { expect, it } from "vitest";
import { makeWords } from "../../../ui/strings/words.ts";
import { held, live, state } from "./fixtures.ts";
import { phaseWords } from "./call.tsx";
import { countWords, sealedBefore } from "./items.tsx";
import { samples } from "./review.tsx";
import { pageState, type View, viewState } from "./states.ts";
import { heldWords, whoWords } from "./strip.tsx";

it.each([
  ["connecting", { phase: "connecting" }, "loading"],
  ["lost before anything came", { phase: "lost" }, "failed"],
  ["expired", { phase: "expired", state: state() }, "expired"],
  ["lost with data", { phase: "lost", state: state() }, undefined],
  ["open", { phase: "open", state: state() }, undefined],
] as const)("page %s", (_, seen, want) => expect(pageState(seen)?.kind).toBe(want));

const calling = { id: "c", by: "", phase: "calling", since: "2026-01-01T00:00:00Z", watchers: [] } as const;

it.each<[View, string, Parameters<typeof state>[0], string | undefined]>([
  ["instruments", "none", { instruments: [] }, "empty"],
  ["instruments", "some", {}, undefined],
  ["items", "none", { items: [] }, "empty"],
  ["items", "only from before a restart", { items: [], held: 2, held_by_kind: { still: 2 } }, undefined],
  ["capture", "no encounter", { encounter: undefined }, "empty"],
  ["capture", "no link", held, undefined],
  ["patient", "nobody", { encounter: undefined, patient: undefined }, undefined],
  ["call", "no link", held, "offline"],
  ["call", "no link, but a consult", { ...held, ...live }, undefined],
  ["call", "not enrolled", { link: { state: "not-enrolled", since: "" } }, "refused"],
  ["call", "no encounter", { encounter: undefined }, "empty"],
  ["call", "calling", { consult: { ...calling, watchers: [] } }, "waiting"],
  ["call", "calling, then the link breaks", { ...held, consult: { ...calling, watchers: [] } }, "offline"],
  ["call", "ready", {}, undefined],
])("%s: %s", (view, _, over, want) => expect(viewState(view, state(over))?.kind).toBe(want));

const w = makeWords("en");

it("says what is held and what was sent", () => {
  expect(heldWords(w, state({ held: 3 }))).toBe("3 held here");
  expect(heldWords(w, state({ held: 0, last_sent: new Date().toISOString() }))).toMatch(/^All sent \d\d:\d\d$/);
  expect(heldWords(w, state({ held: 0, last_sent: undefined }))).toBe("Nothing to send");
  expect(countWords(w, { still: 3, reading: 1, note: 0 })).toBe("3 pictures and 1 reading");
});

it("says who sees only while they do", () => {
  expect(whoWords(w, state(live))).toBe("Dr Mensah and Dr Lindqvist see the picture");
  expect(whoWords(w, state({ consult: { ...live.consult!, phase: "offered" } }))).toBe("Nobody sees the picture");
  expect(whoWords(w, state({ consult: { ...live.consult!, phase: "paused" } }))).toBe("Paused: nobody sees the picture");
});

it("claims nothing about who sees, and says so in the call, while there is no link", () => {
  const cut = state({ ...live, link: { state: "down", since: "2026-01-01T23:59:00", reason: "no-answer" } });
  expect(whoWords(w, cut)).toBe("No link to Dr Mensah and Dr Lindqvist");
  expect(phaseWords(w, cut)).toMatch(/^No link to Dr Mensah since .*23:59\. Go on; it comes back by itself\.$/);
  expect(phaseWords(w, { ...cut, consult: { ...live.consult!, phase: "paused" } })).toMatch(/^Paused\. Nobody sees the picture\. No link to/);
  expect(phaseWords(w, { ...cut, consult: { ...live.consult!, phase: "waiting-continue" } })).not.toContain("back. Continue");
  expect(phaseWords(w, state(live))).toBe("In a call with Dr Mensah");
});

it("counts what is sealed from before a restart", () => {
  expect(sealedBefore(state({ held: 6, held_by_kind: { still: 4, waveform: 1, note: 1 } }))).toEqual([["still", 3]]);
});

it("reads the samples of a waveform", () => {
  expect(samples(new Uint8Array([1, 0, 0, 0, 255, 255, 255, 255, 9]).buffer)).toEqual([1, -1]);
});
