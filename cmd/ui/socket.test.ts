import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { Connection, type Phase } from "./socket.ts";

class FakeSocket {
  readyState = 0;
  bufferedAmount = 0;
  sent: Record<string, unknown>[] = [];
  onopen?: () => void;
  onmessage?: (e: { data: string }) => void;
  onclose?: () => void;
  send(s: string): void {
    this.sent.push(JSON.parse(s) as Record<string, unknown>);
  }
  open(): void {
    this.readyState = 1;
    this.onopen?.();
  }
  say(m: unknown): void {
    this.onmessage?.({ data: JSON.stringify(m) });
  }
  close(): void {
    if (this.readyState === 3) return;
    this.readyState = 3;
    this.onclose?.();
  }
}

let page: EventTarget;
let sockets: FakeSocket[];
let phases: Phase[];
let messages: unknown[];

beforeEach(() => {
  vi.useFakeTimers();
  page = new EventTarget();
  vi.stubGlobal("addEventListener", page.addEventListener.bind(page));
  vi.stubGlobal("removeEventListener", page.removeEventListener.bind(page));
  vi.stubGlobal("document", Object.assign(new EventTarget(), { visibilityState: "visible" }));
  sockets = [];
  phases = [];
  messages = [];
});
afterEach(() => {
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

function connect(expired = false): Connection {
  const c = new Connection({
    url: "ws://x",
    onMessage: (m) => messages.push(m),
    onPhase: (p) => phases.push(p),
    expired: () => Promise.resolve(expired),
    socket: () => {
      const s = new FakeSocket();
      sockets.push(s);
      return s as unknown as WebSocket;
    },
  });
  c.start();
  return c;
}
const last = (): FakeSocket => sockets.at(-1)!;

describe("Connection", () => {
  it("gives each command its own reply, in any order", async () => {
    const c = connect();
    last().open();
    const a = c.command("open", { practice: false });
    const b = c.command("scan", { code: "1" });
    const [ia, ib] = last().sent.map((m) => m["id"]);
    expect(last().sent[0]).toMatchObject({ verb: "open", practice: false });
    last().say({ reply: ib, ok: true, result: { item: "x" } });
    last().say({ reply: ia, ok: false, problem: { code: "busy", title: "Busy", status: 409 } });
    await expect(b).resolves.toEqual({ item: "x" });
    await expect(a).rejects.toMatchObject({ problem: { code: "busy" } });
  });

  it("passes messages on and ignores what it can't read", () => {
    connect();
    last().open();
    last().say({ state: { now: "x" } });
    last().onmessage?.({ data: "{" });
    last().say({ reply: 999, ok: true });
    expect(messages).toEqual([{ state: { now: "x" } }]);
  });

  it("answers a command under way when the socket breaks, and never sends it again", async () => {
    const c = connect();
    last().open();
    const a = c.command("still");
    last().close();
    await expect(a).rejects.toMatchObject({ problem: { code: "link-lost" } });
    await vi.advanceTimersByTimeAsync(1000);
    last().open();
    expect(last().sent).toEqual([]);
    expect(phases).toEqual(["open", "lost", "open"]);
  });

  it("refuses a command at once when there is no connection", async () => {
    await expect(connect().command("still")).rejects.toMatchObject({ problem: { code: "offline" } });
  });

  it("gives up on a reply after a time", async () => {
    const c = connect();
    last().open();
    const a = c.command("still", {}, 500);
    const check = expect(a).rejects.toMatchObject({ problem: { code: "timeout" } });
    await vi.advanceTimersByTimeAsync(600);
    await check;
  });

  it("backs off, at most 6.5 s, and never has two sockets", async () => {
    connect();
    last().open();
    last().close();
    const opened: number[] = [];
    for (let ms = 0; ms < 60_000; ms += 100) {
      const n = sockets.length;
      await vi.advanceTimersByTimeAsync(100);
      if (sockets.length > n) {
        opened.push(ms);
        last().close();
      }
    }
    expect(opened.length).toBeGreaterThan(9);
    expect(opened.length).toBeLessThan(30);
    expect(Math.max(...opened.slice(1).map((t, i) => t - opened[i]!))).toBeLessThanOrEqual(6600);
    expect(sockets.filter((s) => s.readyState !== 3).length).toBeLessThanOrEqual(1);
  });

  it("comes back at once when the browser is online again", async () => {
    connect();
    last().open();
    for (let i = 0; i < 6; i++) {
      last().close();
      await vi.advanceTimersByTimeAsync(7000);
    }
    last().close();
    await vi.advanceTimersByTimeAsync(1);
    const n = sockets.length;
    page.dispatchEvent(new Event("online"));
    expect(sockets.length).toBe(n + 1);
  });

  it("says that the session has ended, and stops trying", async () => {
    connect(true);
    last().close();
    await vi.advanceTimersByTimeAsync(20_000);
    expect(phases).toEqual(["lost", "expired"]);
    expect(sockets).toHaveLength(1);
  });

  it("drops setpoints that a slow link would only make late", () => {
    const c = connect();
    last().open();
    expect(c.tell("steer", { set: { pan: 1 } })).toBe(true);
    last().bufferedAmount = 1 << 20;
    expect(c.tell("steer", { set: { pan: 2 } })).toBe(false);
    expect(last().sent).toHaveLength(1);
  });

  it("stops for good", async () => {
    const c = connect();
    last().open();
    c.stop();
    await vi.advanceTimersByTimeAsync(20_000);
    page.dispatchEvent(new Event("online"));
    expect(sockets).toHaveLength(1);
  });
});
