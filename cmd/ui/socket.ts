// Connection is a page's one WebSocket to its daemon.
//
// Parties: the page and the daemon that served it. Invariants: exactly one socket at a time; it comes back by itself
// (back-off with jitter, at once when the browser says it is online again or the page is looked at again); every command
// gets exactly one answer here, its reply or a problem. A command that was under way when the socket broke is answered
// "link-lost", never sent again: the page can't know whether it was carried out.

import type { Problem, Reply } from "./api.ts";

export type Phase = "connecting" | "open" | "lost" | "expired";

export class ProblemError extends Error {
  readonly problem: Problem;
  constructor(problem: Problem) {
    super(problem.title);
    this.problem = problem;
  }
}

export function problem(code: string, status = 0): ProblemError {
  return new ProblemError({ code, title: code, status });
}

interface Pending {
  resolve(v: unknown): void;
  reject(e: ProblemError): void;
  timer: ReturnType<typeof setTimeout>;
}

export interface ConnectionOptions {
  url: string;
  onMessage(m: Record<string, unknown>): void;
  onPhase(phase: Phase): void;
  /** Asked when a connection failed: has the session ended? Then the page says so instead of trying for ever. */
  expired?(): Promise<boolean>;
  socket?(url: string): WebSocket;
}

const firstWait = 250;
const longestWait = 5000;

export class Connection {
  private ws: WebSocket | undefined;
  private phase: Phase = "connecting";
  private wait = firstWait;
  private timer: ReturnType<typeof setTimeout> | undefined;
  private nextId = 1;
  private pending = new Map<number, Pending>();
  private stopped = true;
  private readonly o: ConnectionOptions;

  constructor(o: ConnectionOptions) {
    this.o = o;
  }

  start(): void {
    if (!this.stopped) return;
    this.stopped = false;
    addEventListener("online", this.now);
    addEventListener("offline", this.cut);
    document.addEventListener("visibilitychange", this.looked);
    this.open();
  }

  stop(): void {
    this.stopped = true;
    clearTimeout(this.timer);
    removeEventListener("online", this.now);
    removeEventListener("offline", this.cut);
    document.removeEventListener("visibilitychange", this.looked);
    this.ws?.close();
    this.ws = undefined;
    this.fail("offline");
  }

  /** Sends a command and waits for its reply; waitMs is how long an answer may take. */
  command(verb: string, args: Record<string, unknown> = {}, waitMs = 10_000): Promise<unknown> {
    if (this.ws?.readyState !== 1) return Promise.reject(problem("offline"));
    const id = this.nextId++;
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.pending.delete(id);
        reject(problem("timeout"));
      }, waitMs);
      this.pending.set(id, { resolve, reject, timer });
      this.ws!.send(JSON.stringify({ ...args, id, verb }));
    });
  }

  /** Sends a command whose reply nobody waits for; dropped when there is no connection. */
  tell(verb: string, args: Record<string, unknown>): boolean {
    // What a slow link has not taken yet is already too old for a setpoint.
    if (this.ws?.readyState !== 1 || this.ws.bufferedAmount > 16 * 1024) return false;
    this.ws.send(JSON.stringify({ ...args, id: this.nextId++, verb }));
    return true;
  }

  private readonly now = (): void => {
    if (this.stopped || this.ws || this.phase === "expired") return;
    clearTimeout(this.timer);
    this.wait = firstWait;
    this.open();
  };

  private readonly looked = (): void => {
    if (document.visibilityState === "visible") this.now();
  };

  private readonly cut = (): void => this.ws?.close();

  private open(): void {
    const ws = this.o.socket ? this.o.socket(this.o.url) : new WebSocket(this.o.url);
    this.ws = ws;
    ws.onopen = () => {
      this.wait = firstWait;
      this.set("open");
    };
    ws.onmessage = (e: MessageEvent) => {
      if (this.ws === ws && typeof e.data === "string") this.take(e.data);
    };
    ws.onclose = () => {
      if (this.ws === ws) void this.lost();
    };
  }

  private take(text: string): void {
    let m: Record<string, unknown>;
    try {
      m = JSON.parse(text) as Record<string, unknown>;
    } catch {
      return; // a newer daemon may say what we don't understand
    }
    if (typeof m["reply"] !== "number") return this.o.onMessage(m);
    const r = m as unknown as Reply;
    const p = this.pending.get(r.reply);
    if (!p) return;
    this.pending.delete(r.reply);
    clearTimeout(p.timer);
    if (r.ok) p.resolve(r.result);
    else p.reject(new ProblemError(r.problem ?? { code: "failed", title: "failed", status: 0 }));
  }

  private async lost(): Promise<void> {
    this.ws = undefined;
    this.fail("link-lost");
    if (this.stopped) return;
    this.set("lost");
    const wait = this.wait * (0.7 + 0.6 * Math.random());
    this.wait = Math.min(longestWait, this.wait * 2);
    this.timer = setTimeout(() => this.open(), wait);
    if (this.o.expired && (await this.o.expired()) && !this.stopped && !this.opened()) {
      clearTimeout(this.timer);
      this.set("expired");
    }
  }

  private opened(): boolean {
    return this.phase === "open";
  }

  private fail(code: string): void {
    for (const p of this.pending.values()) {
      clearTimeout(p.timer);
      p.reject(problem(code));
    }
    this.pending.clear();
  }

  private set(phase: Phase): void {
    if (phase === this.phase) return;
    this.phase = phase;
    this.o.onPhase(phase);
  }
}

/** The address of a WebSocket beside this page. */
export function beside(path: string): string {
  return `${location.protocol === "https:" ? "wss" : "ws"}://${location.host}${path}`;
}
