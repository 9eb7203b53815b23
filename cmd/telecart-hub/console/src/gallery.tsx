// The gallery: every console pane in every state, from fixtures. gallery.html#NAME shows one of them; it is built by
// `npm run gallery` alone and is no part of the product.

import { render } from "preact";
import { Base } from "../../../ui/base.tsx";
import type { Settings } from "../../../ui/settings.ts";
import "../../../ui/style.css";
import { kinds, type ViewState } from "../../../ui/viewstate.ts";
import { App, type AppProps } from "./app.tsx";
import "./console.css";
import { ago, cart, carts, encounter, fixtureHub, full, ingrid, lease, mensah, mine, state, type Pictures } from "./fixtures.ts";
import type { Seen } from "./hub.ts";
import { about, type Pane, panes } from "./states.ts";

interface Scene { seen: Seen; start?: string; forced?: AppProps["forced"]; pictures?: Pictures; press?: string[]; type?: Record<string, string> }

const open = (first = cart(), over: Partial<Seen> = {}): Seen => ({ phase: "open", me: mensah, state: state(mensah, carts(first)), encounter: encounter(), ...over });
const it = (over: Partial<Seen> = {}): Seen => ({ phase: "open", me: ingrid, state: state(ingrid, carts(cart({ encounter: undefined })).map((c) => ({ ...c, encounter: undefined, calling: undefined }))), ...over });
const consult = (phase: NonNullable<typeof mine.consult>["phase"]) => cart({ ...mine, consult: { ...mine.consult!, phase, since: ago(45) } });

function every(pane: Pane): [string, Scene][] {
  const a = about[pane];
  const made: Record<ViewState["kind"], ViewState> = {
    empty: { kind: "empty", what: a.empty, next: a.next },
    loading: { kind: "loading", what: a.what },
    waiting: { kind: "waiting", whom: pane === "stage" ? ["stage.whom", { cart: "clinic-7" }] : a.what, since: ago(45) },
    offline: { kind: "offline", title: "state.offline.console", works: a.works, since: ago(130), shows: pane === "stage" ? "nothing" : "data" },
    refused: { kind: "refused", why: pane === "fleet" ? "it.refused" : "problem.forbidden", who: "who.it" },
    failed: { kind: "failed", why: "problem.no-media", next: "next.reload" },
    expired: { kind: "expired", why: "console.expired" },
  };
  return kinds.map((k) => [`${pane}-${k}`, { seen: pane === "fleet" ? it() : open(), start: "clinic-7", forced: { pane, state: made[k] } }]);
}

const scenes: Record<string, Scene> = {
  ...Object.fromEntries(panes.flatMap(every)),
  signin: { seen: { phase: "signed-out" } },
  "signin-expired": { seen: { phase: "expired" } },
  "page-loading": { seen: { phase: "connecting", me: mensah } },
  "page-offline": { seen: { phase: "lost", me: mensah, lostAt: ago(9) } },
  "page-lost": { seen: open(consult("live"), { phase: "lost", lostAt: ago(9) }), start: "clinic-7", pictures: "frozen" },
  "worklist-list": { seen: open() },
  "worklist-selected": { seen: open(), start: "clinic-7" },
  "stage-offered": { seen: open(consult("offered")), start: "clinic-7" },
  "stage-live": { seen: open(cart({ ...mine, leases: [{ ...lease, holder: undefined, holder_name: undefined }] })), start: "clinic-7" },
  "stage-live-steering": { seen: open(cart({ ...mine, leases: [lease], held: 2 })), start: "clinic-7" },
  "stage-live-taken-back": { seen: open(cart({ ...mine, leases: [{ ...lease, taken_back: true }] })), start: "clinic-7" },
  "stage-frozen": { seen: open(cart({ ...mine, leases: [lease] })), start: "clinic-7", pictures: "frozen" },
  "stage-first-picture": { seen: open(cart(mine)), start: "clinic-7", pictures: "none" },
  "stage-no-media": { seen: open(cart(mine)), start: "clinic-7", pictures: "failed" },
  "stage-link-lost": { seen: open(consult("link-lost")), start: "clinic-7" },
  "stage-continue": { seen: open(consult("waiting-continue")), start: "clinic-7" },
  "stage-paused": { seen: open(consult("paused")), start: "clinic-7" },
  "stage-nurse-refused": { seen: open(consult("refused")), start: "clinic-7" },
  "stage-offline-cart": { seen: open(cart({ state: "offline", since: ago(600), held: 5 })), start: "clinic-7" },
  "stage-live-still": { seen: open(cart({ ...mine, leases: [lease] })), start: "clinic-7", press: ["btn-open-still"] },
  "stage-live-clip": { seen: open(cart({ ...mine, leases: [lease] })), start: "clinic-7", press: ["btn-open-clip"] },
  "stage-live-waveform": { seen: open(cart({ ...mine, leases: [lease] })), start: "clinic-7", press: ["btn-open-waveform"] },
  "known-full-live": { seen: open(cart({ ...mine, instruments: full, battery_min: undefined })), start: "clinic-7" },
  "known-full-offline": { seen: open(cart({ state: "offline", since: ago(600), held: 5, instruments: full.map((i) => ({ ...i, readings: i.readings.map((r) => ({ ...r, stale: true })) })) })), start: "clinic-7" },
  "stage-live-sound": { seen: open(cart({ ...mine, leases: [lease] })), start: "clinic-7", press: ["btn-open-sound"] },
  "stage-live-ecg": { seen: open(cart({ ...mine, instruments: full })), start: "clinic-7", press: ["btn-open-waveform"] },
  "stage-live-end": { seen: open(cart({ ...mine, leases: [lease] })), start: "clinic-7", press: ["btn-end"] },
  "known-name-alert": { seen: open(cart(), { encounter: encounter({ name_alert: [{ id: "4711-555", name: "Amina Okafor" }] }) }), start: "clinic-7" },
  "known-unidentified": { seen: open(cart({ encounter: { ...encounter().summary, patient: undefined } }), { encounter: encounter({ summary: { ...encounter().summary, patient: undefined } }) }), start: "clinic-7" },
  "known-practice": { seen: open(cart(), { encounter: encounter({ summary: { ...encounter().summary, id: "e6", practice: true } }) }), start: "training-1" },
  "keys-list": { seen: open(), start: "clinic-7", press: ["btn-keys"] },
  notice: { seen: open(cart(), { state: state(mensah, carts(cart()), { notices: [{ id: "n1", code: "corrected", with: { reason: "wrong-side" } }, { id: "n2", code: "ledger-fork", with: { cart: "clinic-9" } }] }) }), start: "clinic-7" },
  "fleet-list": { seen: it() },
  "fleet-claim": { seen: it(), type: { "claim-cart": "clinic-12", "claim-site": "Obo" }, press: ["btn-claim"] },
  "fleet-ledger": { seen: it(), press: ["btn-ledger-clinic-7"] },
  "fleet-ledger-forked": { seen: it(), press: ["btn-ledger-clinic-9"] },
  "fleet-revoke": { seen: it(), press: ["btn-revoke-clinic-9"] },
};

const pause = (ms: number): Promise<void> => new Promise((r) => setTimeout(r, ms));

async function act(s: Scene): Promise<void> {
  await pause(100); // effects first
  for (const [id, value] of Object.entries(s.type ?? {})) {
    const el = document.querySelector<HTMLInputElement>(`[data-testid="${id}"]`);
    if (!el) continue;
    el.value = value;
    el.dispatchEvent(new Event("input", { bubbles: true }));
    await pause(30);
  }
  for (const id of s.press ?? []) {
    document.querySelector<HTMLElement>(`[data-testid="${id}"]`)?.click();
    await pause(250);
  }
}

function show(): void {
  const q = new URLSearchParams(location.search);
  const name = location.hash.slice(1);
  const scene = scenes[name];
  const app = document.getElementById("app")!;
  document.documentElement.dataset["scenes"] = Object.keys(scenes).join(" ");
  render(null, app);
  if (!scene) return;
  const fixed: Settings = { lang: (q.get("lang") ?? "en") as Settings["lang"], theme: (q.get("theme") ?? "light") as Settings["theme"] };
  const dir = q.get("dir") === "rtl" ? "rtl" : undefined;
  render(
    <Base key={name} title="app.console" fixed={fixed} {...(dir && { dir })}>
      <App seen={scene.seen} hub={fixtureHub(scene.pictures ?? "moving")} {...(scene.start && { start: scene.start })} {...(scene.forced && { forced: scene.forced })} />
    </Base>,
    app,
  );
  void act(scene).then(() => (document.documentElement.dataset["ready"] = name));
}

addEventListener("hashchange", show);
show();
