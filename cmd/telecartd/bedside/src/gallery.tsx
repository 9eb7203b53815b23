// The gallery: every bedside view in every state, from fixtures. gallery.html#NAME shows one of them; it is built by
// `npm run gallery` alone and is no part of the product.

import { render } from "preact";
import type { Instrument } from "../../../ui/api.ts";
import { Base } from "../../../ui/base.tsx";
import type { Settings } from "../../../ui/settings.ts";
import "../../../ui/style.css";
import { kinds, type ViewState } from "../../../ui/viewstate.ts";
import { App } from "./app.tsx";
import "./bedside.css";
import type { Seen } from "./cart.ts";
import { amina, battery, camera, cuff, ecg, fixtureCart, full, held, light, live, oximeter, otoscope, research, scale, state, stethoscope, thermometer, ago } from "./fixtures.ts";
import { about, views, type View } from "./states.ts";
import type { Task } from "./view.ts";

interface Scene { seen: Seen; start?: Task; forced?: ViewState; pictures?: "moving" | "frozen" | "none"; press?: string[] }

const open = (over = {}): Seen => ({ phase: "open", state: state(over) });
const alike = [{ id: "n1", code: "name-alert", with: { name: "Amina Okafur", birth_date: "2018-11-02", id: "MRN-47115" } }];
const cart = (...instruments: Instrument[]): Seen => open({ instruments });
const withCuff = (is: Parameters<typeof cuff>[0], over = {}): Seen => open({ instruments: [otoscope, oximeter("finger"), cuff(is), scale("weighed")], ...over });
const noPatient = { patient: undefined };
const nobody = { patient: undefined, encounter: undefined, items: [] };

function every(view: View): [string, Scene][] {
  const a = about[view];
  const made: Record<ViewState["kind"], ViewState> = {
    empty: { kind: "empty", what: view === "items" ? "items.empty" : view === "call" || view === "capture" ? "capture.need.open" : view === "instruments" ? "instruments.empty" : "strip.nobody.how" },
    loading: { kind: "loading", what: a.what },
    waiting: { kind: "waiting", whom: view === "call" ? "call.calling.whom" : a.what, since: ago(75) },
    offline: { kind: "offline", works: a.works, since: ago(480), shows: "nothing" },
    refused: { kind: "refused", why: "problem.forbidden", who: "who.it" },
    failed: { kind: "failed", why: "problem.hub-unreachable", next: "next.reload" },
    expired: { kind: "expired", why: "link.page.why", next: "next.restart" },
  };
  return kinds.map((k) => [`${view}-${k}`, { seen: open(view === "claim" ? { link: { state: "not-enrolled", since: ago(60) } } : {}), start: view, forced: made[k] }]);
}

const scenes: Record<string, Scene> = {
  ...Object.fromEntries(views.flatMap(every)),
  "page-loading": { seen: { phase: "connecting" } },
  "page-failed": { seen: { phase: "lost", lostAt: ago(5) } },
  "page-expired": { seen: { phase: "expired" } },
  "page-lost": { seen: { phase: "lost", lostAt: ago(12), state: state() }, start: "instruments", pictures: "frozen" },
  "patient-nobody": { seen: open(nobody) },
  "patient-bound": { seen: open(), start: "patient" },
  "patient-unidentified": { seen: open({ ...noPatient, ...held }), start: "patient" },
  "patient-practice": { seen: open({ practice: true }), start: "patient" },
  "patient-practice-unidentified": { seen: open({ practice: true, ...noPatient }), start: "capture" },
  "patient-type": { seen: open(nobody), press: ["btn-type-code"] },
  "patient-two": { seen: open(nobody), press: ["btn-two-identifiers"] },
  "patient-close": { seen: open(), start: "patient", press: ["btn-close"] },
  "patient-name-alert": { seen: open({ notices: alike }), start: "patient" },
  "patient-restored": { seen: open({ ...noPatient, ...held, held: 6, held_by_kind: { still: 3, reading: 2, note: 1 }, encounter: { id: "e1", opened: ago(900), bound: true, restored: true } }), start: "patient" },
  stop: { seen: open({ alert: { code: "different-wristband", current: amina, scanned: { id: "4711-923", name: "Kwame Asante", birth_date: "1951-11-02" } } }) },
  "stop-sure": { seen: open({ alert: { code: "different-wristband", current: amina, scanned: { id: "4711-923", name: "Kwame Asante", birth_date: "1951-11-02" } } }), press: ["btn-alert-close"] },
  "stop-sure-call": { seen: open({ ...live, leases: [], notices: alike, alert: { code: "different-wristband", current: amina, scanned: { id: "4711-923", name: "Kwame Asante", birth_date: "1951-11-02" } } }), press: ["btn-alert-close"] },
  "instruments-live": { seen: open(), start: "instruments" },
  "instruments-frozen": { seen: open({ instruments: [{ ...otoscope, health: { state: "faulty", reason: "no-pictures" } }, oximeter("no-finger"), thermometer("stale")], ...held }), start: "instruments", pictures: "frozen" },
  "instruments-no-camera": { seen: open({ instruments: [oximeter("no-finger"), thermometer("absent")] }), start: "instruments" },
  "capture-ready": { seen: open(held), start: "capture" },
  "capture-clip": { seen: open(), start: "capture", press: ["btn-clip"] },
  "instruments-full": { seen: open({ instruments: full, battery_min: undefined, battery_percent: 91 }), start: "instruments" },
  "instruments-full-absent": { seen: cart(camera, { ...oximeter("finger"), health: { state: "absent", reason: "unplugged" }, since: ago(12) }, cuff("old"), ecg({ health: { state: "live", reason: "leads-off" }, readings: [] }), scale("in-motion"), research), start: "instruments" },
  "instruments-cuff-working": { seen: withCuff("working"), start: "instruments" },
  "instruments-battery-low": { seen: open({ instruments: [...full.slice(0, 4), battery("low")], battery_min: 14, battery_percent: 17 }), start: "instruments" },
  "capture-light-ready": { seen: cart(otoscope, camera, light, oximeter("finger"), stethoscope()), start: "capture" },
  "capture-measure": { seen: open({ instruments: full }), start: "capture", press: ["btn-measure"] },
  "capture-measure-research": { seen: cart(otoscope, research), start: "capture", press: ["btn-measure"] },
  "capture-measure-motion": { seen: cart(otoscope, scale("in-motion")), start: "capture", press: ["btn-measure"] },
  "capture-measure-nothing": { seen: cart(otoscope), start: "capture", press: ["btn-measure"] },
  "measure-cuff-ready": { seen: withCuff("rest"), start: "capture", press: ["btn-measure", "meter-cuff"] },
  "measure-cuff-size": { seen: withCuff("rest"), start: "capture", press: ["btn-measure", "meter-cuff", "cuff-size-child"] },
  "measure-cuff-working": { seen: withCuff("working"), start: "capture", press: ["btn-measure", "meter-cuff"] },
  "measure-cuff-live-call": { seen: withCuff("working", live), start: "capture", press: ["btn-measure", "meter-cuff"] },
  "measure-cuff-list-result": { seen: withCuff("result"), start: "capture", press: ["btn-measure", "meter-cuff"] },
  "measure-cuff-old": { seen: withCuff("old"), start: "capture", press: ["btn-measure", "meter-cuff"] },
  "measure-cuff-no-result": { seen: withCuff("no-result"), start: "capture", press: ["btn-measure", "meter-cuff"] },
  "measure-cuff-still-full": { seen: withCuff("still-full"), start: "capture", press: ["btn-measure", "meter-cuff"] },
  "measure-cuff-still-full-elsewhere": { seen: withCuff("still-full"), start: "instruments" },
  "measure-cuff-elsewhere": { seen: withCuff("working", live), start: "capture" },
  "hand-list": { seen: open({ instruments: full }), start: "capture", press: ["btn-measure", "meter-by-hand"] },
  "hand-list-call": { seen: open({ ...live, instruments: full }), start: "capture", press: ["btn-measure", "meter-by-hand"] },
  "hand-temperature": { seen: open({ instruments: full }), start: "capture", press: ["btn-measure", "meter-by-hand", "hand-body-temperature", "pad-3", "pad-8", "pad-point", "pad-2"] },
  "hand-pressure-ready": { seen: open({ instruments: full }), start: "capture", press: ["btn-measure", "meter-by-hand", "hand-blood-pressure", "pad-1", "pad-1", "pad-8"] },
  "hand-pressure-call": { seen: open({ ...live, instruments: full }), start: "capture", press: ["btn-measure", "meter-by-hand", "hand-blood-pressure", "pad-1", "pad-1", "pad-8", "btn-hand-next", "pad-7", "pad-4"] },
  "hand-weight": { seen: open({ instruments: full }), start: "capture", press: ["btn-measure", "meter-by-hand", "hand-body-weight", "pad-1", "pad-4", "pad-point", "pad-3", "pad-5"] },
  "hand-breaths-ready": { seen: open({ instruments: full }), start: "capture", press: ["btn-measure", "meter-by-hand", "hand-respiratory-rate"] },
  "hand-breaths-counting": { seen: open({ instruments: full }), start: "capture", press: ["btn-measure", "meter-by-hand", "hand-respiratory-rate", "btn-tap", "wait:160", "btn-tap", "wait:160", "btn-tap"] },
  "hand-device": { seen: open({ instruments: full }), start: "capture", press: ["btn-measure", "meter-by-hand", "hand-body-weight", "btn-device"] },
  "capture-waveform": { seen: open({ instruments: full }), start: "capture", press: ["btn-waveform"] },
  "capture-waveform-ecg-live": { seen: open({ instruments: full }), start: "capture", press: ["btn-waveform", "drawer-ecg"] },
  "capture-sound-ready": { seen: open({ instruments: full }), start: "capture", press: ["btn-sound"] },
  "capture-sound-live": { seen: open({ instruments: full }), start: "capture", press: ["btn-sound", "btn-listen", "site-mitral"] },
  "capture-sound-loud": { seen: open({ instruments: [otoscope, stethoscope({ state: "live", reason: "clipping" })], ...live }), start: "capture", press: ["btn-sound", "btn-listen"] },
  "capture-sound-recording": { seen: open({ instruments: full }), start: "capture", press: ["btn-sound", "btn-listen", "btn-sound-20"] },
  "capture-note": { seen: open(), start: "capture", press: ["btn-note"] },
  "capture-first-picture": { seen: open(), start: "capture", pictures: "none" },
  "items-list": { seen: open({ ...held, refused: 1, disk_percent: 83 }), start: "items" },
  "items-review": { seen: open(held), start: "items", press: ["item:6"] },
  "items-sound": { seen: open(held), start: "items", press: ["item:10", "wait:400"] },
  "items-correct": { seen: open(held), start: "items", press: ["item:6", "btn-correct", "reason-wrong-side"] },
  "call-ready": { seen: open(), start: "call" },
  "call-reason": { seen: open(), start: "call", press: ["btn-call-reason"] },
  "items-restored": { seen: open({ held: 6, held_by_kind: { still: 4, reading: 1, waveform: 1 } }), start: "items" },
  "call-calling": { seen: open({ consult: { id: "c1", by: "", phase: "calling", since: ago(75), watchers: [] } }), start: "call" },
  "call-no-link": { seen: open(held), start: "call" },
  "call-offered": { seen: open({ consult: { id: "c1", by: "Dr Mensah", phase: "offered", since: ago(5), watchers: [] } }), start: "capture" },
  "call-live": { seen: open(live), start: "call" },
  "call-live-capture": { seen: open(live), start: "capture" },
  "call-paused": { seen: open({ ...live, leases: [], consult: { ...live.consult!, phase: "paused" } }), start: "call" },
  "call-continue": { seen: open({ ...live, leases: [], consult: { ...live.consult!, phase: "waiting-continue" } }), start: "call" },
  "claim-code": { seen: open({ ...nobody, link: { state: "not-enrolled", since: ago(60) }, hub: "" }) },
  help: { seen: open(), start: "help" },
  "call-cut": { seen: open({ ...held, ...live }), start: "call" },
  "call-cut-capture": { seen: open({ ...held, ...live, leases: [], notices: alike }), start: "capture" },
  "call-cut-note": { seen: open({ ...held, ...live, leases: [], notices: alike }), start: "capture", press: ["btn-note"] },
  "link-refused": { seen: open({ link: { state: "down", since: ago(480), reason: "certificate-revoked" } }), start: "patient" },
  "items-damaged": {
    seen: open({ damaged: 3, damage: { segments: 1, items: [{ number: 41, kind: "still", at: ago(4000) }, { number: 38, kind: "reading" }], more: 1 }, notices: [{ id: "n1", code: "items-damaged", with: { kind: "still" } }] }),
    start: "items",
  },
  "disk-nearly-full": { seen: open({ disk_percent: 100, notices: [{ id: "n1", code: "disk-nearly-full", with: { n: "92" } }] }), start: "capture" },
  notices: { seen: open({ disk_percent: 91, notices: [{ id: "n1", code: "ledger-fork" }, { id: "n2", code: "encounter-split" }] }), start: "capture" },
};

async function press(names: string[]): Promise<void> {
  await new Promise((r) => setTimeout(r, 100)); // effects first
  for (const n of names) {
    const [id, nth] = n.split(":");
    if (id === "wait") {
      await new Promise((r) => setTimeout(r, Number(nth)));
      continue;
    }
    const all = document.querySelectorAll<HTMLElement>(`[data-testid="${id}"]`);
    const el = nth === undefined ? all[0] : [...all].find((x) => x.dataset["item"]?.endsWith(nth));
    el?.click();
    await new Promise((r) => setTimeout(r, 60));
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
    <Base key={name} title="app.bedside" fixed={fixed} {...(dir && { dir })}>
      <App seen={scene.seen} cart={fixtureCart(scene.pictures ?? "moving")} {...(scene.start && { start: scene.start })} {...(scene.forced && { forced: scene.forced })} />
    </Base>,
    app,
  );
  void press(scene.press ?? []).then(() => (document.documentElement.dataset["ready"] = name));
}

addEventListener("hashchange", show);
show();
