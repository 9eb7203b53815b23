// Coalescer sends setpoints at most so often: the latest value of each axis wins, nothing is queued.

export class Coalescer {
  private pending: Record<string, number> | undefined;
  private timer: ReturnType<typeof setTimeout> | undefined;
  private readonly send: (set: Record<string, number>) => void;
  private readonly everyMs: number;

  constructor(send: (set: Record<string, number>) => void, everyMs = 50) {
    this.send = send;
    this.everyMs = everyMs;
  }

  set(values: Record<string, number>): void {
    this.pending = { ...this.pending, ...values };
    if (this.timer === undefined) this.flush();
  }

  stop(): void {
    clearTimeout(this.timer);
    this.timer = undefined;
    this.pending = undefined;
  }

  private flush(): void {
    this.timer = undefined;
    if (!this.pending) return;
    const values = this.pending;
    this.pending = undefined;
    this.timer = setTimeout(() => this.flush(), this.everyMs);
    this.send(values);
  }
}
