// A made-up cart for the gallery and the tests. Nobody here is real.

import type { BedsideItem, BedsideState, Health, Instrument, Reading } from "../../../ui/api.ts";
import { beats, ringOf, wav } from "../../../ui/fixtures.ts";
import type { Cart } from "./cart.ts";

export function ago(seconds: number): string {
  return new Date(Date.now() - seconds * 1000).toISOString();
}

export const otoscope: Instrument = { name: "otoscope", kind: "camera", health: { state: "live" }, since: ago(600), twin: true, readings: [] };
export const camera: Instrument = { name: "camera", kind: "camera", health: { state: "live" }, since: ago(600), twin: false, readings: [] };

export function oximeter(noFinger: "finger" | "no-finger"): Instrument {
  const absent = noFinger === "no-finger" ? "no-finger" : undefined;
  const r = (quantity: string, value: number, unit: string) => ({ quantity, value: absent ? 0 : value, text: absent ? "" : String(value), unit, at: ago(1), stale: false, ...(absent && { absent }) });
  return {
    name: "oximeter",
    kind: "oximeter",
    health: { state: "live" },
    since: ago(300),
    twin: true,
    readings: [r("oxygen-saturation", 97, "%"), r("pulse-rate", 112, "/min")],
  };
}

export function thermometer(state: "live" | "stale" | "absent"): Instrument {
  return {
    name: "thermometer",
    kind: "thermometer",
    health: state === "absent" ? { state: "absent", reason: "unplugged" } : { state: "live" },
    since: ago(300),
    twin: false,
    readings: [{ quantity: "body-temperature", value: 38.2, text: "38.20", unit: "Cel", site: "axilla", at: ago(state === "stale" ? 95 : 2), stale: state === "stale" }],
  };
}

const reading = (quantity: string, text: string, unit: string, over: Partial<Reading> = {}): Reading => ({ quantity, value: Number(text), text, unit, at: ago(1), stale: false, ...over });
const instrument = (name: string, kind: Instrument["kind"], readings: Reading[] = [], over: Partial<Instrument> = {}): Instrument => ({ name, kind, health: { state: "live" }, since: ago(900), twin: true, readings, ...over });
const none = (quantity: string, unit: string, absent: string, over: Partial<Reading> = {}): Reading => reading(quantity, "", unit, { value: 0, absent, once: true, ...over });

const pressures = ["systolic-pressure", "diastolic-pressure", "mean-pressure"];

/** A cuff: at rest before its first measurement, at work, with its result, or with why there is none. */
export function cuff(is: "rest" | "working" | "result" | "old" | Extract<Health["reason"], string>): Instrument {
  const made = { method: "oscillometric", once: true, at: ago(is === "old" ? 720 : 40), stale: is === "old" };
  const absent = (why: string): Reading[] => [...pressures.map((q) => none(q, "mm[Hg]", why)), none("pulse-rate", "/min", why)];
  const values = (): Reading[] => [...["118", "74", "89"].map((n, i) => reading(pressures[i]!, n, "mm[Hg]", made)), reading("pulse-rate", "85", "/min", made)];
  const modes = ["adult", "child", "newborn"];
  switch (is) {
    case "rest":
      return instrument("cuff", "cuff", [], { modes });
    case "working":
      return instrument("cuff", "cuff", [...absent("not-measured"), reading("cuff-pressure", "142", "mm[Hg]", { ...made, at: ago(0) })], { modes, health: { state: "live", reason: "measuring" } });
    case "result":
    case "old":
      return instrument("cuff", "cuff", values(), { modes });
    default:
      return instrument("cuff", "cuff", absent(is), { modes, health: { state: is === "still-full" ? "faulty" : "live", reason: is } });
  }
}

export const ecg = (over: Partial<Instrument> = {}): Instrument => instrument("ecg", "ecg", [reading("heart-rate", "84", "/min")], { grade: "consumer", ...over });
export const stethoscope = (health: Health = { state: "live" }): Instrument => instrument("stethoscope", "stethoscope", [], { health });
export const light = instrument("light", "light", [], { axes: [{ name: "brightness", unit: "%", min: 0, max: 100, step: 1, default: 0, value: 50 }] });
export const research = instrument("forehead", "thermometer", [reading("skin-temperature", "34.6", "Cel", { method: "skin-surface-infrared" }), none("body-temperature", "Cel", "not-yet", { once: false })], { grade: "uncalibrated", twin: false });

export function scale(is: "weighed" | "in-motion"): Instrument {
  return is === "weighed"
    ? instrument("scale", "scale", [reading("body-weight", "14.35", "kg", { once: true, at: ago(75) })], { twin: false })
    : instrument("scale", "scale", [none("body-weight", "kg", "in-motion")], { health: { state: "settling", reason: "in-motion" }, twin: false });
}

export function battery(is: "mains" | "low"): Instrument {
  return instrument("battery", "power", [reading("battery-charge", is === "low" ? "17" : "91", "%"), reading("battery-voltage", "3.9", "V")], { health: { state: "live", reason: is === "low" ? "battery-low" : "on-mains" } });
}

/** Every instrument that a cart can have. */
export const full: Instrument[] = [otoscope, camera, oximeter("finger"), thermometer("live"), cuff("result"), ecg(), stethoscope(), scale("weighed"), light, battery("mains")];

const hash = (n: number): string => n.toString(16).padStart(64, "0");

export function items(): BedsideItem[] {
  return [
    { id: hash(8), kind: "note", at: ago(20), text: "Child is calm. Discharge from the right ear since two days.", sent: false, review: true },
    { id: hash(7), kind: "waveform", at: ago(60), instrument: "oximeter", quantity: "pleth", sent: false, review: true, site: "finger" },
    { id: hash(6), kind: "still", at: ago(80), instrument: "otoscope", side: "right", site: "ear", sent: false, review: true },
    { id: hash(5), kind: "still", at: ago(130), instrument: "otoscope", side: "left", site: "ear", sent: true, review: true, corrected: "wrong-side" },
    { id: hash(4), kind: "clip", at: ago(200), instrument: "otoscope", side: "left", site: "ear", sent: true, review: false },
    { id: hash(3), kind: "reading", at: ago(260), instrument: "oximeter", quantity: "oxygen-saturation", text: "97", unit: "%", sent: true, review: true },
    { id: hash(2), kind: "reading", at: ago(260), instrument: "thermometer", quantity: "body-temperature", text: "38.2", unit: "Cel", sent: true, refused: true, review: true },
    { id: hash(16), kind: "sound", at: ago(270), instrument: "stethoscope", twin: true, side: "left", site: "lung-back", sent: true, review: true },
    { id: hash(15), kind: "reading", at: ago(280), instrument: "by hand", quantity: "diastolic-pressure", text: "66", unit: "mm[Hg]", method: "by-hand", side: "left", site: "arm", sent: true, review: false },
    { id: hash(14), kind: "reading", at: ago(280), instrument: "by hand", quantity: "systolic-pressure", text: "102", unit: "mm[Hg]", method: "by-hand", side: "left", site: "arm", sent: true, review: false },
    { id: hash(13), kind: "reading", at: ago(285), instrument: "by hand", quantity: "respiratory-rate", text: "32", unit: "/min", method: "by-hand", sent: true, review: false },
    { id: hash(12), kind: "reading", at: ago(290), instrument: "ecg", quantity: "heart-rate", text: "84", unit: "/min", grade: "consumer", twin: true, sent: true, review: false },
    { id: hash(1), kind: "binding", at: ago(300), sent: true, review: false },
  ];
}

export const amina = { id: "4711-208", name: "Amina Okafor-Brandt", birth_date: "2019-04-30", age: 6 };

export function state(over: Partial<BedsideState> = {}): BedsideState {
  return {
    now: ago(0),
    cart: "clinic-7",
    hub: "hub.example.org",
    version: "1.0.0",
    practice: false,
    encounter: { id: "e1", opened: ago(900), bound: true, restored: false },
    patient: { ...amina, source: "wristband" },
    link: { state: "up", since: ago(3600) },
    held: 0,
    held_by_kind: {},
    sent: 8,
    last_sent: ago(40),
    refused: 0,
    damaged: 0,
    disk_percent: 12,
    battery_min: 84,
    instruments: [otoscope, camera, oximeter("finger"), thermometer("live")],
    items: items(),
    leases: [],
    notices: [],
    ...over,
  };
}

export const held: Partial<BedsideState> = {
  held: 3,
  held_by_kind: { still: 1, waveform: 1, note: 1 },
  link: { state: "down", since: ago(480), reason: "no-answer" },
};

export const live: Partial<BedsideState> = {
  consult: { id: "c1", by: "Dr Mensah", phase: "live", since: ago(200), watchers: ["Dr Mensah", "Dr Lindqvist"], voice: { muted: false, sent: true, heard: ["Dr Mensah"] }, faces: [{ id: "@mensah", name: "Dr Mensah" }], ladder: { step: "stills", kbps: 210, used_kbps: 64, log: [] } },
  leases: [
    { instrument: "otoscope", holder: "u1", holder_name: "Dr Mensah", epoch: 3, until: ago(-90), taken_back: false },
    { instrument: "camera", epoch: 1, until: ago(0), taken_back: true },
  ],
};

/** A drawn picture in place of a camera's. */
async function jpeg(n: number): Promise<Blob> {
  const c = new OffscreenCanvas(1280, 720);
  const g = c.getContext("2d")!;
  const glow = g.createRadialGradient(640, 360, 60, 640, 360, 360);
  glow.addColorStop(0, "#d9a184");
  glow.addColorStop(0.8, "#8e4d3c");
  glow.addColorStop(1, "#120807");
  g.fillStyle = "#050303";
  g.fillRect(0, 0, 1280, 720);
  g.fillStyle = glow;
  g.beginPath();
  g.arc(640, 360, 350, 0, 7);
  g.fill();
  g.strokeStyle = "#f3d8c4";
  g.lineWidth = 10;
  g.beginPath();
  g.moveTo(560, 180 + (n % 5));
  g.lineTo(660, 400);
  g.stroke();
  return c.convertToBlob({ type: "image/jpeg" });
}

/** A cart that answers nothing for real. still: it gives one frame only, so that the picture freezes. */
export function fixtureCart(pictures: "moving" | "frozen" | "none"): Cart {
  const rings = Object.fromEntries(Object.keys(beats).map((q) => [q, ringOf(q)]));
  return {
    command: () => new Promise(() => {}),
    face: (_id, video, onFrame) => {
      const c = document.createElement("canvas");
      [c.width, c.height] = [320, 240];
      const g = c.getContext("2d")!;
      g.fillStyle = "#579";
      g.fillRect(0, 0, 320, 240);
      video.srcObject = c.captureStream(5);
      const t = setInterval(() => {
        g.fillRect(0, 0, 320, 240);
        onFrame();
      }, 200);
      void video.play().catch(() => {});
      return () => clearInterval(t);
    },
    review: async (item) => new Response(item === hash(16) ? wav() : await jpeg(1)),
    ring: (_, quantity) => rings[quantity]!,
    listen: (_i, _b, onLevel, onState) => {
      onState(true);
      onLevel(0.4);
      return () => {};
    },
    watch: (_, draw) => {
      if (pictures === "none") return () => {};
      let n = 0;
      const next = async (): Promise<void> => draw(await jpeg(n++), Date.now());
      void next();
      const t = pictures === "moving" ? setInterval(() => void next(), 400) : undefined;
      return () => clearInterval(t);
    },
  };
}
