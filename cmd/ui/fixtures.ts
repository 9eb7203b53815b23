// What both galleries draw waves and sounds from. No part of the product.

import { Ring } from "./ring.ts";

const bump = (i: number, at: number, width: number): number => Math.exp(-((i - at) ** 2) / width);

/** One beat of each wave, as far as an eye can tell. */
export const beats: Record<string, { rate_hz: number; samples: number; value(i: number): number }> = {
  pleth: { rate_hz: 75, samples: 40, value: (i) => bump(i, 10, 40) + 0.35 * bump(i, 22, 60) },
  ecg: { rate_hz: 250, samples: 178, value: (i) => 0.12 * bump(i, 40, 90) - 0.1 * bump(i, 66, 6) + bump(i, 72, 10) - 0.25 * bump(i, 79, 8) + 0.28 * bump(i, 125, 320) },
  phonogram: { rate_hz: 200, samples: 150, value: (i) => (0.9 * bump(i, 20, 60) + 0.6 * bump(i, 68, 40)) * Math.sin(i * 1.9) },
};

/** So many seconds of a wave, in thousandths. */
export function waveOf(quantity: string, seconds: number): number[] {
  const b = beats[quantity]!;
  return Array.from({ length: seconds * b.rate_hz }, (_, i) => Math.round(1000 * b.value(i % b.samples)));
}

export function ringOf(quantity: string): Ring {
  const r = new Ring(8);
  r.push({ instrument: "", quantity, rate_hz: beats[quantity]!.rate_hz, at: new Date().toISOString(), values: waveOf(quantity, 8) });
  return r;
}

const hz = 4000;

/** Two seconds of a heart as a WAV file. */
export function wav(): ArrayBuffer {
  const n = 2 * hz;
  const v = new DataView(new ArrayBuffer(44 + 2 * n));
  const text = (at: number, s: string): void => [...s].forEach((c, i) => v.setUint8(at + i, c.charCodeAt(0)));
  text(0, "RIFF");
  v.setUint32(4, 36 + 2 * n, true);
  text(8, "WAVEfmt ");
  v.setUint32(16, 16, true);
  v.setUint16(20, 1, true);
  v.setUint16(22, 1, true);
  v.setUint32(24, hz, true);
  v.setUint32(28, 2 * hz, true);
  v.setUint16(32, 2, true);
  v.setUint16(34, 16, true);
  text(36, "data");
  v.setUint32(40, 2 * n, true);
  const b = beats["phonogram"]!;
  for (let i = 0; i < n; i++) v.setInt16(44 + 2 * i, 14000 * b.value(((i * b.rate_hz) / hz) % b.samples) * Math.sin(i / 9), true);
  return v.buffer;
}
