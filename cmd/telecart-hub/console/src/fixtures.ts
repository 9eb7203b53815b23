// A made-up hospital for the gallery and the tests. Nobody here is real.

import type { Axis, ConsoleCart, ConsoleEncounter, ConsoleItem, ConsoleLedger, ConsoleState, Instrument, LedgerPart, Me, Reading } from "../../../ui/api.ts";
import { beats, ringOf, wav, waveOf } from "../../../ui/fixtures.ts";
import type { Hub } from "./hub.ts";

export function ago(seconds: number): string {
  return new Date(Date.now() - seconds * 1000).toISOString();
}

export const mensah: Me = { id: "u1", name: "Dr Mensah", role: "specialist", tenant: "Lakeside" };
export const ingrid: Me = { id: "u9", name: "Ingrid Sole", role: "it", tenant: "Lakeside" };

const axis = (name: string, unit: string, min: number, max: number, step: number, value: number, locked = false): Axis => ({ name, unit, min, max, step, default: 0, value, ...(locked && { locked }) });

export const axes: Axis[] = [
  axis("pan", "arcsec", -180000, 180000, 3600, 7200),
  axis("tilt", "arcsec", -108000, 108000, 3600, 0),
  { ...axis("zoom", "1", 100, 500, 10, 150), default: 100 },
  axis("focus", "1", 0, 250, 5, 60, true),
  axis("focus-auto", "1", 0, 1, 1, 1),
  axis("exposure", "100us", 3, 2047, 1, 312),
  axis("exposure-auto", "1", 0, 1, 1, 0),
];

function reading(quantity: string, value: number, text: string, unit: string, over: Partial<Reading> = {}): Reading {
  return { quantity, value, text, unit, at: ago(1), stale: false, ...over };
}

export const instruments: Instrument[] = [
  { name: "otoscope", kind: "camera", health: { state: "live" }, since: ago(900), twin: true, readings: [], axes },
  { name: "camera", kind: "camera", health: { state: "live" }, since: ago(900), twin: false, readings: [] },
  { name: "oximeter", kind: "oximeter", health: { state: "live" }, since: ago(900), twin: true, readings: [reading("oxygen-saturation", 97, "97", "%"), reading("pulse-rate", 112, "112", "/min")] },
  { name: "thermometer", kind: "thermometer", health: { state: "absent", reason: "unplugged" }, since: ago(90), twin: false, readings: [] },
];

const cuffed: Partial<Reading> = { method: "oscillometric", once: true, at: ago(50) };

/** Every instrument that a cart can have. */
export const full: Instrument[] = [
  ...instruments.slice(0, 3),
  { name: "thermometer", kind: "thermometer", health: { state: "live" }, since: ago(900), twin: false, readings: [reading("body-temperature", 38.2, "38.20", "Cel", { site: "axilla" })] },
  { name: "cuff", kind: "cuff", health: { state: "live" }, since: ago(900), twin: true, modes: ["adult"], readings: [reading("systolic-pressure", 118, "118", "mm[Hg]", cuffed), reading("diastolic-pressure", 74, "74", "mm[Hg]", cuffed), reading("mean-pressure", 89, "89", "mm[Hg]", cuffed), reading("pulse-rate", 85, "85", "/min", cuffed)] },
  { name: "ecg", kind: "ecg", health: { state: "live" }, since: ago(900), twin: true, grade: "consumer", readings: [reading("heart-rate", 84, "84", "/min")] },
  { name: "stethoscope", kind: "stethoscope", health: { state: "live" }, since: ago(900), twin: true, readings: [] },
  { name: "scale", kind: "scale", health: { state: "settling", reason: "in-motion" }, since: ago(5), twin: false, readings: [reading("body-weight", 0, "", "kg", { absent: "in-motion", once: true })] },
  { name: "light", kind: "light", health: { state: "live" }, since: ago(900), twin: true, readings: [], axes: [axis("brightness", "%", 0, 100, 1, 50)] },
  { name: "battery", kind: "power", health: { state: "live", reason: "on-mains" }, since: ago(900), twin: true, readings: [reading("battery-charge", 91, "91", "%")] },
  { name: "clock", kind: "clock", health: { state: "live" }, since: ago(900), twin: true, readings: [] },
];

const summary = { id: "e1", opened: ago(1500), practice: false, patient: { id: "4711-208", name: "Amina Okafor-Brandt", birth_date: "2019-04-30", age: 6 }, items: 12 };

export function cart(over: Partial<ConsoleCart> = {}): ConsoleCart {
  return { cart: "clinic-7", site: "Nkawkaw", state: "ready", since: ago(3000), version: "1.0.0", held: 0, battery_min: 84, disk_percent: 12, practice: false, encounter: summary, instruments, leases: [], problems: [], ...over };
}

export const mine: Partial<ConsoleCart> = {
  state: "busy",
  consult: {
    id: "c1",
    encounter: "e1",
    by: "Dr Mensah",
    phase: "live",
    since: ago(200),
    watchers: ["Dr Mensah", "Dr Lindqvist"],
    streams: [
      { instrument: "otoscope", stream: "s1", publishing: true },
      { instrument: "camera", stream: "s2", publishing: false },
    ],
    sounds: [{ instrument: "voice", stream: "s3", publishing: true }],
    voices: [{ source: "@lindqvist", name: "Dr Lindqvist", muted: false, mine: false }],
    mine: true,
    ladder: { step: "stills", kbps: 210, used_kbps: 64, log: [{ at: ago(95), code: "smaller", kbps: 610 }, { at: ago(40), code: "stills", kbps: 240 }] },
  },
};

export const lease = { instrument: "otoscope", holder: "u1", holder_name: "Dr Mensah", epoch: 3, until: ago(-83), taken_back: false };

export function carts(first: ConsoleCart): ConsoleCart[] {
  return [
    first,
    cart({ cart: "clinic-2", site: "Agogo", calling: { reason: "Ear pain, fever", since: ago(260) }, encounter: { ...summary, id: "e2", patient: undefined } }),
    cart({ cart: "clinic-4", site: "Juaso", encounter: undefined }),
    cart({ cart: "clinic-5", site: "Konongo", state: "busy", consult: { ...mine.consult!, id: "c5", by: "Dr Lindqvist", mine: false }, encounter: { ...summary, id: "e5", patient: { id: "4711-300", name: "Kwame Asante" } } }),
    cart({ cart: "clinic-9", site: "Obo", state: "offline", since: ago(5400), held: 14, encounter: undefined, problems: ["certificate-expiring", "ledger-fork", "items-damaged"], damage: { segments: 1, items: [{ number: 209, kind: "still" }], more: 0 } }),
    cart({ cart: "training-1", site: "School", practice: true, encounter: { ...summary, id: "e6", practice: true } }),
  ];
}

export function items(): ConsoleItem[] {
  let n = 0;
  const item = (kind: ConsoleItem["kind"], secondsAgo: number, over: Partial<ConsoleItem>): ConsoleItem => {
    n++;
    return { id: n.toString(16).padStart(64, "0"), number: n, kind, at: ago(secondsAgo), arrived: ago(secondsAgo - 2), by: "nurse", receipt: { sequence: 400 + n, key: 1 }, ...over };
  };
  const pulse = [128, 126, 121, 118, 124, 116, 113];
  return [
    item("event", 1500, { event: "opened" }),
    item("binding", 1480, { binding: { patient: summary.patient, method: "wristband" } }),
    ...pulse.flatMap((v, i) => [
      item("reading", 1400 - i * 180, { instrument: "oximeter", site: "finger", reading: reading("pulse-rate", v, String(v), "/min") }),
      item("reading", 1399 - i * 180, { instrument: "oximeter", site: "finger", reading: reading("oxygen-saturation", 94 + (i % 4), String(94 + (i % 4)), "%") }),
    ]),
    item("reading", 800, { instrument: "thermometer", site: "axilla", reading: reading("body-temperature", 38.2, "38.20", "Cel") }),
    item("still", 600, { instrument: "otoscope", site: "ear", side: "right", media: { type: "image/jpeg", width: 1280, height: 720 }, corrected: { by_item: "x", reason: "wrong-side" } }),
    item("clip", 400, { instrument: "otoscope", site: "ear", side: "left", media: { type: "video/x-msvideo", frame_ms: [0, 40, 80, 120, 160, 200, 240, 280] } }),
    item("waveform", 300, { instrument: "oximeter", site: "finger", waveform: { quantity: "pleth", unit: "1", rate_hz: 75, count: 750 } }),
    item("correction", 200, { correction: { item: (18).toString(16).padStart(64, "0"), reason: "wrong-side", side: "right" } }),
    ...["systolic-pressure", "diastolic-pressure", "mean-pressure"].flatMap((q, i) =>
      [["112", "71", "85"], ["118", "74", "89"]].map((v, k) => item("reading", 700 - k * 650, { instrument: "cuff", twin: true, side: "left", site: "arm", reading: reading(q, Number(v[i]), v[i]!, "mm[Hg]", cuffed) })),
    ),
    item("reading", 150, { instrument: "by hand", model: "Seca 354", reading: reading("body-weight", 14.35, "14.35", "kg", { method: "by-hand" }) }),
    item("reading", 145, { instrument: "by hand", reading: reading("respiratory-rate", 32, "32", "/min", { method: "by-hand" }) }),
    item("reading", 900, { instrument: "by hand", reading: reading("respiratory-rate", 38, "38", "/min", { method: "by-hand" }) }),
    item("reading", 140, { instrument: "ecg", twin: true, grade: "consumer", reading: reading("heart-rate", 84, "84", "/min") }),
    item("waveform", 130, { instrument: "ecg", twin: true, grade: "consumer", waveform: { quantity: "ecg", unit: "uV", rate_hz: 250, count: 2500 } }),
    item("sound", 120, { instrument: "stethoscope", twin: true, side: "left", site: "lung-back", media: { type: "audio/flac", duration_ms: 10000 } }),
    item("note", 60, { note: "Child is calm. Discharge from the right ear since two days.", urgent: true }),
  ];
}

export function encounter(over: Partial<ConsoleEncounter> = {}): ConsoleEncounter {
  return { summary, cart: "clinic-7", items: items(), ...over };
}

export function state(me: Me, all: ConsoleCart[], over: Partial<ConsoleState> = {}): ConsoleState {
  return { now: ago(0), hub: "hub.example.org", version: "1.0.0", me, carts: all, notices: [], ...over };
}

function paint(g: CanvasRenderingContext2D | OffscreenCanvasRenderingContext2D, n: number): void {
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
  g.moveTo(560, 180 + (n % 9));
  g.lineTo(660, 400);
  g.stroke();
}

async function jpeg(n: number): Promise<Uint8Array> {
  const c = new OffscreenCanvas(1280, 720);
  paint(c.getContext("2d")!, n);
  return new Uint8Array(await (await c.convertToBlob({ type: "image/jpeg" })).arrayBuffer());
}

/** A Motion JPEG AVI with nothing but its frames. */
async function clip(): Promise<Uint8Array> {
  const chunk = (id: string, body: Uint8Array): Uint8Array => {
    const b = new Uint8Array(8 + body.length + (body.length & 1));
    b.set([...id].map((c) => c.charCodeAt(0)));
    new DataView(b.buffer).setUint32(4, body.length, true);
    b.set(body, 8);
    return b;
  };
  const join = (parts: Uint8Array[]): Uint8Array => {
    const out = new Uint8Array(parts.reduce((a, p) => a + p.length, 0));
    let at = 0;
    for (const p of parts) {
      out.set(p, at);
      at += p.length;
    }
    return out;
  };
  const text = (s: string): Uint8Array => new TextEncoder().encode(s);
  const frames = await Promise.all([0, 1, 2, 3, 4, 5, 6, 7].map((n) => jpeg(n * 3)));
  return chunk("RIFF", join([text("AVI "), chunk("LIST", join([text("movi"), ...frames.map((f) => chunk("00dc", f))]))]));
}

export type Pictures = "moving" | "frozen" | "none" | "failed";

/** A hub that answers nothing for real. */
export function fixtureHub(pictures: Pictures): Hub {
  const rings = Object.fromEntries(Object.keys(beats).map((q) => [q, ringOf(q)]));
  return {
    command: (verb, args) => {
      if (verb === "ledger") return Promise.resolve(args?.["cart"] === "clinic-9" ? forked() : whole(String(args?.["cart"])));
      if (verb === "watch") return pictures === "failed" ? Promise.reject(new Error("no media")) : Promise.resolve({ endpoint: "", token: "" });
      if (verb === "claim") return Promise.resolve({ code: "telecart:claim:hub.example.org:clinic-12:K7PQ-2M4X-99TC-VV3A-6HJD", qr: qr() });
      return new Promise(() => {});
    },
    tell: () => true,
    signIn: () => new Promise(() => {}),
    signOut: () => Promise.resolve(),
    blob: async (id) => {
      const n = Number.parseInt(id.slice(-4), 16);
      const kind = items().find((i) => i.number === n)?.kind;
      if (kind === "clip") return new Response((await clip()) as BodyInit);
      if (kind === "sound") return new Response(wav());
      if (kind === "waveform") return new Response(new Int32Array(waveOf(items().find((i) => i.number === n)?.waveform?.quantity ?? "pleth", 10)).buffer);
      return new Response((await jpeg(1)) as BodyInit);
    },
    play: async (_e, _t, video) => {
      if (pictures === "none") return () => {};
      const c = document.createElement("canvas");
      c.width = 1280;
      c.height = 720;
      const g = c.getContext("2d")!;
      let n = 0;
      paint(g, n);
      video.srcObject = c.captureStream(15);
      void video.play();
      const t = setInterval(() => paint(g, n++), 80);
      if (pictures === "frozen") setTimeout(() => clearInterval(t), 400);
      return () => {
        clearInterval(t);
        video.srcObject = null;
      };
    },
    hear: async (_e, _t, _audio, onState) => {
      onState("connected");
      return () => {};
    },
    speak: async () => () => {},
    ring: (_c, _i, quantity) => rings[quantity]!,
    trend: () => [],
  };
}

const part: LedgerPart = {
  practice: false, incarnation: "5f1c09aa27de41b08c35a1d2e3f40516", whole: true, head: 1203, head_at: ago(40), forged: false, disputed: false, first: ago(4e6), last: ago(60),
  entries: 1204, items: 1188, missing: [], doubled: [], altered: [], refused: [], absent: [], damaged: [], gone: [], unsigned: 0,
};
const store = { store: "a83d5511c2f0417798e00b1c2d3e4f50", since: ago(9e6) };

function whole(cart: string): ConsoleLedger {
  return { cart, at: ago(1), every: false, stores: [store], receipts: 8412, backup: 8390, unseen: false, parts: [part, { ...part, practice: true, incarnation: "90aa", head: 12, entries: 13, items: 11, unsigned: 2 }] };
}

function forked(): ConsoleLedger {
  const lost = { number: 1199, item: "ab".repeat(32), store: "77e1c0de00112233445566778899aabb", sequence: 8301 };
  const broken = { ...part, whole: false, disputed: true, missing: [{ first: 1190, last: 1192 }, { first: 1197, last: 1197 }], doubled: [1180], gone: [lost] };
  const later = { ...part, incarnation: "c0ffee00112233445566778899aabbcc", after: { known: true, incarnation: part.incarnation, number: 1203 }, head: 41, entries: 42, items: 40 };
  return { cart: "clinic-9", at: ago(1), every: true, stores: [{ store: lost.store }, store], receipts: 120, backup: 0, unseen: true, parts: [broken, later] };
}

/** Looks like a code, is none. */
function qr(): string {
  return Array.from({ length: 17 }, (_, y) => Array.from({ length: 33 }, (_, x) => "█▀▄ "[(x * 7 + y * 13 + ((x * y) % 5)) % 4]).join("")).join("\n");
}
