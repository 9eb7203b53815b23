// How values are shown. A number is drawn as its text was sent, so that its precision stays; a number that can't be
// trusted is "---" with the reason beside it, never 0 and never the last one as if it were new.

import type { Instrument, Patient, Reading } from "./api.ts";

export const noNumber = "---";

export interface Vital {
  instrument: string; // "" for what a person measured
  quantity: string; // pressure for what reads "118/74"
  of: string[]; // the quantities in it
  text: string;
  unit: string;
  reason?: string; // a code
  oldSince?: string; // the value is stale: when it was observed
  site?: string;
  side?: string;
  method?: string;
  grade?: string;
  model?: string; // of the clinic's own device, as the nurse named it
  at?: string; // of a value that was measured once
  also?: { quantity: string; text: string; unit: string }[]; // what came with it, drawn small
  twin: boolean;
}

/** Systolic over diastolic: one line, for neither says much without the other. */
export const pressure = "blood-pressure";
const systolic = "systolic-pressure";
const diastolic = "diastolic-pressure";

// What an instrument measures of a patient has its fixed place even while it has no value. A kind that is not here says
// nothing of a patient.
const measures: Partial<Record<Instrument["kind"], { quantity: string; unit: string }[]>> = {
  oximeter: [
    { quantity: "oxygen-saturation", unit: "%" },
    { quantity: "pulse-rate", unit: "/min" },
  ],
  thermometer: [{ quantity: "body-temperature", unit: "Cel" }],
  cuff: [{ quantity: pressure, unit: "mm[Hg]" }],
  ecg: [{ quantity: "heart-rate", unit: "/min" }],
  scale: [{ quantity: "body-weight", unit: "kg" }],
};

/** Kinds whose values are a patient's. */
export const measuresPatient = (i: Instrument): boolean => i.kind in measures;

/** Measured only when told to, so there is nothing to wait for. */
const onDemand: Instrument["kind"][] = ["cuff", "scale"];

/** Quantities of the cart, as in capture/quantity.go: a test holds them to it. */
export const ofCart = ["battery-charge", "battery-left", "battery-voltage", "supply-voltage", "supply-current", "room-temperature"];

function vital(i: Instrument, quantity: string, unit: string, r: Reading | undefined): Vital {
  const v: Vital = { instrument: i.name, quantity, of: [quantity], unit, text: noNumber, twin: i.twin };
  if (r?.site) v.site = r.site;
  if (r?.side) v.side = r.side;
  if (r?.method) v.method = r.method;
  if (i.grade) v.grade = i.grade;
  if (r?.once && r.text !== "" && !r.absent && !r.stale) return { ...v, text: r.text, at: r.at }; // it stands, whatever became of the instrument
  if (i.health.state === "absent" || i.health.state === "faulty") return { ...v, reason: i.health.reason ?? "no-data" };
  const notYet = onDemand.includes(i.kind) ? "not-measured" : "not-yet";
  if (!r) return { ...v, reason: i.health.reason ?? notYet };
  if (r.absent) return { ...v, reason: (r.absent === "not-yet" && i.health.reason) || r.absent }; // why not yet, when it is known
  if (r.text === "") return { ...v, reason: notYet };
  if (r.stale) return { ...v, text: r.text, reason: "stale", oldSince: r.at };
  if (i.health.state === "settling") return { ...v, reason: i.health.reason ?? notYet };
  return { ...v, text: r.text };
}

/** A cuff's values are one measurement: they have one place. */
function pressureOf(i: Instrument): Vital {
  const one = (quantity: string): Vital => vital(i, quantity, "mm[Hg]", i.readings.find((r) => r.quantity === quantity));
  const [s, d] = [one(systolic), one(diastolic)];
  const both = s.text !== noNumber && d.text !== noNumber;
  const v: Vital = { ...(s.text === noNumber ? s : d), quantity: pressure, of: [systolic, diastolic], text: both ? `${s.text}/${d.text}` : noNumber };
  if (!both) delete v.at;
  if (i.health.reason === "measuring") v.reason = "measuring";
  const atWork = i.health.state !== "absent" && (i.health.reason === "measuring" || i.health.reason === "still-full");
  const current = (r: Reading): boolean => (r.quantity !== "cuff-pressure" || atWork) && !v.of.includes(r.quantity) && r.text !== "" && !r.absent && (!r.stale || v.oldSince !== undefined);
  const also = i.readings.filter(current).map(({ quantity, text, unit }) => ({ quantity, text, unit }));
  return also.length > 0 ? { ...v, also } : v;
}

/** All vital signs of these instruments, in fixed places; of a cart's own quantities none. */
export function vitals(instruments: Instrument[]): Vital[] {
  return instruments.flatMap((i) => {
    if (i.kind === "cuff") return [pressureOf(i)];
    const known = measures[i.kind];
    if (!known) return [];
    const more = i.readings.filter((r) => !known.some((k) => k.quantity === r.quantity) && !ofCart.includes(r.quantity));
    return [
      ...known.map((k) => vital(i, k.quantity, k.unit, i.readings.find((r) => r.quantity === k.quantity))),
      ...more.map((r) => vital(i, r.quantity, r.unit, r)),
    ];
  });
}

export const byHand = "by-hand";

/** A saved value as both screens have it. */
export interface Saved { quantity: string; text: string; unit: string; at: string; method?: string | undefined; site?: string | undefined; side?: string | undefined; model?: string | undefined; wrong: boolean }

/** The latest of each that a person measured in this encounter, in the order of `order`; what was entered in error is none. */
export function handVitals(saved: Saved[], order: readonly string[]): Vital[] {
  const hand = saved.filter((s) => s.method === byHand && !s.wrong && s.text !== "").sort((a, b) => Date.parse(b.at) - Date.parse(a.at));
  const vitalOf = (s: Saved): Vital => {
    const v: Vital = { instrument: "", quantity: s.quantity, of: [s.quantity], text: s.text, unit: s.unit, method: byHand, at: s.at, twin: false };
    if (s.site) v.site = s.site;
    if (s.side) v.side = s.side;
    if (s.model) v.model = s.model;
    return v;
  };
  return order.flatMap((quantity) => {
    if (quantity !== pressure) return hand.filter((s) => s.quantity === quantity).slice(0, 1).map(vitalOf);
    for (const s of hand.filter((x) => x.quantity === systolic)) {
      const d = hand.find((x) => x.quantity === diastolic && x.at === s.at);
      if (d) return [{ ...vitalOf(s), quantity, of: [systolic, diastolic], text: `${s.text}/${d.text}` }];
    }
    return [];
  });
}

/** What is entered by hand, in the order of a visit. */
export const handOrder = ["respiratory-rate", "body-temperature", pressure, "pulse-rate", "oxygen-saturation", "body-weight", "body-height", "head-circumference", "pain-score"] as const;

/** How full the cart's battery is, as far as an instrument knows. */
export function charge(instruments: Instrument[]): number | undefined {
  const r = instruments.filter((i) => i.kind === "power").flatMap((i) => i.readings).find((x) => x.quantity === "battery-charge" && !x.absent && !x.stale && x.text !== "");
  return r && Math.round(r.value);
}

/** Is the battery near its end, as its gauge says? */
export function batteryLow(instruments: Instrument[]): boolean {
  return instruments.some((i) => i.kind === "power" && (i.health.reason === "battery-low" || i.health.reason === "battery-critical"));
}

/** The instruments as they were last known, when whoever reports them can't be reached: nothing of it counts as current. */
export function aged(instruments: Instrument[]): Instrument[] {
  return instruments.map((i) => ({ ...i, readings: i.readings.map((r) => ({ ...r, stale: true })) }));
}

/** Is there a value that can be saved now? */
export function savable(i: Instrument): boolean {
  return vitals([i]).some((v) => v.text !== noNumber && !v.oldSince);
}

/** Full months between a birth date (year-month-day) and now; undefined when there is no usable date. */
export function ageMonths(p: Patient | undefined, now: Date): number | undefined {
  const m = /^(\d{4})-(\d\d)-(\d\d)$/.exec(p?.birth_date ?? "");
  if (!m) return undefined;
  const months = (now.getFullYear() - Number(m[1])) * 12 + now.getMonth() + 1 - Number(m[2]) - (now.getDate() < Number(m[3]) ? 1 : 0);
  return months >= 0 ? months : undefined;
}

export interface Band { low: number; high: number; source: string }

// Heart rate at rest by age: APLS/PHPLS ranges, as tabulated by Fleming et al., Lancet 2011;377:1011-18, web appendix,
// box 1. Other quantities and adults have no band until one is cited: a wrong band is worse than none.
const heartRate: { underMonths: number; low: number; high: number }[] = [
  { underMonths: 12, low: 110, high: 160 },
  { underMonths: 24, low: 100, high: 150 },
  { underMonths: 60, low: 95, high: 140 },
  { underMonths: 144, low: 80, high: 120 },
  { underMonths: 216, low: 60, high: 100 },
];

/** The grey band behind a trend: what a cited source gives for this age. It judges nothing. */
export function band(quantity: string, months: number | undefined): Band | undefined {
  if (!["pulse-rate", "heart-rate"].includes(quantity) || months === undefined) return undefined;
  const row = heartRate.find((r) => months < r.underMonths);
  return row && { low: row.low, high: row.high, source: "APLS" };
}
