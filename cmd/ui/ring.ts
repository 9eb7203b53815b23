// Ring keeps the newest samples of a waveform, bounded.

import type { Samples } from "./api.ts";

export class Ring {
  readonly values: (number | null)[] = [];
  rateHz = 0;
  pushed = 0; // how often; tells a drawer whether there is anything new
  private end = 0; // time of the newest sample, ms
  private readonly seconds: number;

  /** How many samples it keeps at their present rate. */
  get most(): number {
    return Math.ceil(this.seconds * this.rateHz);
  }

  constructor(seconds: number) {
    this.seconds = seconds;
  }

  push(s: Samples): void {
    if (s.rate_hz <= 0 || s.values.length === 0) return;
    const at = Date.parse(s.at);
    if (s.rate_hz !== this.rateHz) this.values.length = 0;
    this.rateHz = s.rate_hz;
    // A hole in time is drawn as a hole: samples on both sides are never joined.
    const hole = at - (s.values.length / s.rate_hz) * 1000 - this.end;
    if (this.values.length > 0 && hole > 250) {
      const n = Math.min(Math.round((hole / 1000) * s.rate_hz), this.seconds * s.rate_hz);
      for (let i = 0; i < n; i++) this.values.push(null);
    }
    this.values.push(...s.values);
    this.end = at;
    this.pushed++;
    if (this.values.length > this.most) this.values.splice(0, this.values.length - this.most);
  }
}
