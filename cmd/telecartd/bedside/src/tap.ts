// Counting breaths by touch: one tap a breath. A full minute is the count itself, which is how WHO has breaths counted in
// small children; a nurse who can't wait that long gets the rate of the whole breaths so far, after half a minute.

export const wholeMs = 60_000;
export const soonestMs = 30_000;
const fewest = 6; // breaths: fewer say little
/** Two touches this close are one: a glove bounces. */
export const bounceMs = 150;

export class TapCounter {
  private readonly taps: number[] = [];

  tap(at: number): void {
    const last = this.taps[this.taps.length - 1];
    if (last !== undefined && (at - last < bounceMs || this.done(at))) return;
    this.taps.push(at);
  }

  get count(): number {
    return this.taps.length;
  }

  /** Milliseconds since the first tap. */
  elapsed(now: number): number {
    return this.taps.length ? Math.min(wholeMs, now - this.taps[0]!) : 0;
  }

  done(now: number): boolean {
    return this.taps.length > 0 && now - this.taps[0]! >= wholeMs;
  }

  /** Breaths a minute; undefined while it would be a guess. The first tap begins the first breath and counts as none. */
  rate(now: number): number | undefined {
    const breaths = this.taps.length - 1;
    if (breaths < 1) return undefined;
    if (this.done(now)) return breaths;
    const last = this.taps[this.taps.length - 1]!;
    if (this.elapsed(now) < soonestMs || breaths < fewest || now - last > soonestMs / 2) return undefined;
    return Math.round((breaths * 60_000) / (last - this.taps[0]!));
  }
}
