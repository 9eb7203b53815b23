import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { iceServers, through, type Session, type Way } from "./through.ts";

const turn = { urls: "turns:turn.hub.test:443?transport=tcp", username: "1:x", credential: "p" };

/** A session whose path is found or not, as the test says. */
class Played implements Session {
  told: RTCIceServer[] = [turn];
  tookMs = 10;
  bare = false;
  stopped = false;
  state: RTCIceConnectionState = "checking";
  listener: () => void = () => {};
  kind = "host";
  readonly pc: Session["pc"];

  constructor(readonly servers: RTCIceServer[]) {
    const self = this;
    this.pc = {
      get iceConnectionState() {
        return self.state;
      },
      addEventListener: (_: string, f: unknown) => void (self.listener = f as () => void),
      removeEventListener: () => void (self.listener = () => {}),
      getStats: () =>
        Promise.resolve(
          new Map<string, object>([
            ["p", { type: "candidate-pair", nominated: true, state: "succeeded", localCandidateId: "l" }],
            ["l", { type: "local-candidate", candidateType: self.kind }],
          ]) as unknown as RTCStatsReport,
        ),
    } as Session["pc"];
  }

  becomes(s: RTCIceConnectionState, kind = "host"): void {
    this.state = s;
    this.kind = kind;
    this.listener();
  }

  stop(): void {
    this.stopped = true;
  }
}

describe("through", () => {
  beforeEach(() => void vi.useFakeTimers());
  afterEach(() => void vi.useRealTimers());
  const rig = (way: Way, change: (s: Played) => void = () => {}) => {
    const opened: Played[] = [];
    const ask = vi.fn(() => Promise.resolve([turn]));
    const end = through(way, ask, (servers) => {
      const s = new Played(servers);
      change(s);
      opened.push(s);
      return Promise.resolve(s);
    });
    return { opened, ask, end };
  };

  it("goes by UDP and asks nobody when that works", async () => {
    const way = { behind: false };
    const { opened, ask, end } = rig(way);
    await vi.advanceTimersByTimeAsync(500);
    opened[0]!.becomes("connected");
    expect(await end).toBe(opened[0]);
    expect([opened.length, opened[0]!.servers, ask.mock.calls.length, way.behind]).toEqual([1, [], 0, false]);
  });

  it("goes by TURN after a second without a path, and remembers it", async () => {
    const way = { behind: false };
    const { opened, end } = rig(way);
    await vi.advanceTimersByTimeAsync(999);
    expect(opened.length).toBe(1);
    await vi.advanceTimersByTimeAsync(1);
    expect([opened.length, opened[0]!.stopped, opened[1]!.servers]).toEqual([2, true, [turn]]);
    opened[1]!.becomes("connected", "relay");
    expect(await end).toBe(opened[1]);
    expect(way.behind).toBe(true);
    const again = rig(way);
    await vi.advanceTimersByTimeAsync(0);
    expect([again.ask.mock.calls.length, again.opened[0]!.servers]).toEqual([1, [turn]]);
    again.opened[0]!.becomes("connected", "prflx"); // the firewall is gone
    await again.end;
    expect(way.behind).toBe(false);
  });

  it("waits longer on a slow link, and not at all for a hub without UDP", async () => {
    const slow = rig({ behind: false }, (s) => (s.tookMs = 700));
    await vi.advanceTimersByTimeAsync(2799);
    expect(slow.opened.length).toBe(1);
    await vi.advanceTimersByTimeAsync(1);
    expect(slow.opened.length).toBe(2);
    const bare = rig({ behind: false }, (s) => (s.bare = true));
    await vi.advanceTimersByTimeAsync(0);
    expect(bare.opened.length).toBe(2);
    await vi.advanceTimersByTimeAsync(10_000);
    expect(await bare.end).toBe(bare.opened[1]); // it came nearest
    await slow.end;
  });

  it("makes do with UDP at a room that names no server", async () => {
    const { opened, end } = rig({ behind: false }, (s) => (s.told = []));
    await vi.advanceTimersByTimeAsync(5000);
    opened[0]!.becomes("failed");
    expect(await end).toBe(opened[0]);
    expect(opened.length).toBe(1);
  });
});

describe("iceServers", () => {
  for (const [header, want] of [
    [null, []],
    ["", []],
    ['<stun:stun.example.net>; rel="ice-server"', [{ urls: "stun:stun.example.net" }]],
    ['<turns:turn.example.net?transport=tcp>; rel="ice-server"; username="user"; credential="myPassword"; credential-type="password"', [{ urls: "turns:turn.example.net?transport=tcp", username: "user", credential: "myPassword" }]],
    ['<https://x.example/>; rel=next; title="a, <b>; rel=ice-server", <turns:h>;credential="q\\"\\\\p";REL=ICE-Server ; username=u,<stun:s>;rel="ice-server"', [{ urls: "turns:h", username: "u", credential: 'q"\\p' }, { urls: "stun:s" }]],
    ['<turns:h>; rel="ice-server"; username="u"', []],
    ["<turns:h", []],
    ['<turns:h>; rel="ice-server', []],
    ["<javascript:1>; rel=ice-server", []],
    ["<stun:h>; crossorigin; rel=ice-server", [{ urls: "stun:h" }]],
  ] as [string | null, RTCIceServer[]][]) {
    it(String(header), () => expect(iceServers(header)).toEqual(want));
  }
  it("is bounded", () => {
    expect(iceServers("<stun:h>;rel=ice-server,".repeat(5000)).length).toBe(8);
    const from = Date.now();
    iceServers("<" + ";a".repeat(8000) + "<x>" + ';a="'.repeat(4000));
    expect(Date.now() - from).toBeLessThan(1000);
  });
});
