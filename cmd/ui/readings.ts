// How values are shown. A number is drawn as its text was sent, so that its precision stays; a number that can't be
// trusted is "---" with the reason beside it, never 0 and never the last one as if it were new.

import type { Instrument, Patient, Reading } from "./api.ts";

export const noNumber = "---";

export interface Vital {
  instrument: string;
  kind: Instrument["kind"];
  quantity: string;
  text: string;
  unit: string;
  reason?: string; // a code
  oldSince?: string; // the value is stale: when it was observed
  site?: string;
  side?: string;
  method?: string;
  grade?: string;
  at?: string; // of a value that was measured once
  twin: boolean;
}

// What an instrument measures has its fixed place even while it has no value.
const measures: Record<Instrument["kind"], { quantity: string; unit: string }[]> = {
  oximeter: [
    { quantity: "oxygen-saturation", unit: "%" },
    { quantity: "pulse-rate", unit: "/min" },
  ],
  thermometer: [{ quantity: "body-temperature", unit: "Cel" }],
  camera: [],
  cuff: [
    { quantity: "systolic-pressure", unit: "mm[Hg]" },
    { quantity: "diastolic-pressure", unit: "mm[Hg]" },
  ],
  ecg: [{ quantity: "heart-rate", unit: "/min" }],
  stethoscope: [],
  scale: [{ quantity: "body-weight", unit: "kg" }],
  scanner: [],
  pedal: [],
  light: [],
  power: [],
  clock: [],
  room: [],
};

function vital(i: Instrument, quantity: string, unit: string, r: Reading | undefined): Vital {
  const v: Vital = { instrument: i.name, kind: i.kind, quantity, unit, text: noNumber, twin: i.twin };
  if (r?.site) v.site = r.site;
  if (r?.side) v.side = r.side;
  if (r?.method) v.method = r.method;
  if (i.grade) v.grade = i.grade;
  if (r?.once && r.text !== "" && !r.stale) return { ...v, text: r.text, at: r.at }; // it stands, whatever became of the instrument
  if (i.health.state === "absent" || i.health.state === "faulty") return { ...v, reason: i.health.reason ?? "no-data" };
  if (!r) return { ...v, reason: i.health.reason ?? "not-yet" };
  if (r.absent) return { ...v, reason: (r.absent === "not-yet" && i.health.reason) || r.absent }; // why not yet, when it is known
  if (r.text === "") return { ...v, reason: "not-yet" };
  if (r.stale) return { ...v, text: r.text, reason: "stale", oldSince: r.at };
  if (i.health.state === "settling") return { ...v, reason: i.health.reason ?? "not-yet" };
  return { ...v, text: r.text };
}

/** All vital signs of these instruments, in fixed places. */
export function vitals(instruments: Instrument[]): Vital[] {
  return instruments.flatMap((i) => {
    const known = measures[i.kind];
    const more = i.readings.filter((r) => !known.some((k) => k.quantity === r.quantity));
    return [
      ...known.map((k) => vital(i, k.quantity, k.unit, i.readings.find((r) => r.quantity === k.quantity))),
      ...more.map((r) => vital(i, r.quantity, r.unit, r)),
    ];
  });
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
  if (quantity !== "pulse-rate" || months === undefined) return undefined;
  const row = heartRate.find((r) => months < r.underMonths);
  return row && { low: row.low, high: row.high, source: "APLS" };
}
