// Hub is what the console can ask of the hub it was served by. The gallery gives it a still one.

import type { ConsoleEncounter, ConsoleMessage, ConsoleState, Me, Samples } from "../../../ui/api.ts";
import { type Point, seriesOf } from "../../../ui/wave.tsx";
import { Ring } from "../../../ui/ring.ts";
import { asProblem, open, type OnState } from "./session.ts";
import { hear, speak } from "./sound.ts";
import { beside, Connection, ProblemError, type Phase } from "../../../ui/socket.ts";
import type { Way } from "./through.ts";

export interface Seen {
  me?: Me;
  state?: ConsoleState;
  encounter?: ConsoleEncounter;
  phase: Phase | "signed-out";
  lostAt?: string;
  seenAt?: number; // when the state came, in this page's time
}

export interface Hub {
  command(verb: string, args?: Record<string, unknown>, waitMs?: number): Promise<unknown>;
  tell(verb: string, args: Record<string, unknown>): boolean;
  signIn(name: string, password: string): Promise<void>;
  signOut(): Promise<void>;
  blob(item: string): Promise<Response>;
  /** Starts a live picture in a video element; returns how to stop. first is called with every first frame. */
  play(endpoint: string, token: string, video: HTMLVideoElement, onState: (s: RTCPeerConnectionState) => void): Promise<() => void>;
  /** Plays a stream's sound in an audio element; returns how to stop. */
  hear(endpoint: string, token: string, audio: HTMLAudioElement, onState: OnState): Promise<() => void>;
  /** Publishes a microphone; returns how to stop. */
  speak(endpoint: string, token: string, mic: MediaStreamTrack, camera: MediaStreamTrack | undefined, onState: OnState): Promise<() => void>;
  ring(cart: string, instrument: string, quantity: string): Ring;
  /** Live values of a cart since this page watches it, bounded. */
  trend(cart: string, quantity: string): Point[];
}

const waveSeconds = 8;
const trendPoints = 720;
const trendEveryMs = 5000;

/** The live hub. onSeen is called with everything the screen shows, whenever it changes. */
export class LiveHub implements Hub {
  private readonly connection: Connection;
  private seen: Seen = { phase: "connecting" };
  private readonly rings = new Map<string, Ring>();
  private readonly trends = new Map<string, Point[]>();
  private readonly show: (s: Partial<Seen>) => void;
  private readonly way: Way = { behind: false };

  constructor(onSeen: (s: Seen) => void) {
    this.show = (s) => {
      this.seen = { ...this.seen, ...s };
      onSeen(this.seen);
    };
    this.connection = new Connection({
      url: beside("/v1/ws"),
      onPhase: (phase) => this.show({ phase, lostAt: phase === "lost" ? (this.seen.lostAt ?? new Date().toISOString()) : undefined }),
      onMessage: (raw) => this.take(raw as Exclude<ConsoleMessage, { reply: number }>),
      expired: async () => (await fetch("/v1/session", { cache: "no-store" }).then((r) => r.status, () => 0)) === 401,
    });
  }

  /** Goes on with the session that this browser has, or asks to sign in. */
  start(): () => void {
    void fetch("/v1/session", { cache: "no-store" }).then(
      async (r) => {
        if (r.ok) this.begin((await r.json()) as Me);
        else this.show({ phase: "signed-out" });
      },
      () => this.show({ phase: "signed-out" }),
    );
    return () => this.connection.stop();
  }

  private begin(me: Me): void {
    this.connection.stop();
    this.show({ me, phase: "connecting", state: undefined, encounter: undefined });
    this.connection.start();
  }

  async signIn(name: string, password: string): Promise<void> {
    const r = await fetch("/v1/session", { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify({ name, password }) }).catch(() => {
      throw new ProblemError({ code: "hub-unreachable", title: "hub-unreachable", status: 0 });
    });
    if (!r.ok) throw await asProblem(r);
    this.begin((await r.json()) as Me);
  }

  async signOut(): Promise<void> {
    this.connection.stop();
    await fetch("/v1/session", { method: "DELETE" }).catch(() => {});
    // Nothing of a patient stays in the page's memory.
    location.reload();
  }

  private take(m: Exclude<ConsoleMessage, { reply: number }>): void {
    if ("state" in m) {
      for (const c of m.state.carts) {
        for (const i of c.instruments) {
          for (const r of i.readings) if (!r.absent && !r.stale && r.text !== "") this.point(`${c.cart} ${r.quantity}`, { at: Date.parse(r.at), value: r.value, series: seriesOf(i.name, r) });
        }
      }
      this.show({ state: m.state, me: m.state.me, seenAt: Date.now() });
    } else if ("encounter" in m) {
      this.show({ encounter: m.encounter });
    } else if ("samples" in m) {
      this.samples(m.samples);
    }
  }

  private point(key: string, p: Point): void {
    const points = this.trends.get(key) ?? [];
    this.trends.set(key, points);
    if (p.at - (points.filter((x) => x.series === p.series).at(-1)?.at ?? 0) < trendEveryMs) return;
    points.push(p);
    if (points.length > trendPoints) points.shift();
  }

  trend(cart: string, quantity: string): Point[] {
    return this.trends.get(`${cart} ${quantity}`) ?? [];
  }

  private samples(s: Samples & { cart: string }): void {
    this.ring(s.cart, s.instrument, s.quantity).push(s);
  }

  ring(cart: string, instrument: string, quantity: string): Ring {
    const key = `${cart} ${instrument} ${quantity}`;
    let r = this.rings.get(key);
    if (!r) this.rings.set(key, (r = new Ring(waveSeconds)));
    return r;
  }

  command(verb: string, args?: Record<string, unknown>, waitMs?: number): Promise<unknown> {
    return this.connection.command(verb, args, waitMs);
  }

  tell(verb: string, args: Record<string, unknown>): boolean {
    return this.connection.tell(verb, args);
  }

  blob(item: string): Promise<Response> {
    return fetch(`/v1/items/${encodeURIComponent(item)}/blob`, { cache: "no-store" });
  }

  play(endpoint: string, token: string, video: HTMLVideoElement, onState: (s: RTCPeerConnectionState) => void): Promise<() => void> {
    return open(this.way, endpoint, token, onState, (pc) => {
      const t = pc.addTransceiver("video", { direction: "recvonly" });
      const codecs = RTCRtpReceiver.getCapabilities("video")?.codecs;
      if (codecs && "setCodecPreferences" in t) t.setCodecPreferences(h264First(codecs));
      pc.ontrack = (e) => {
        // Newest picture first: no buffer for smoothness while somebody steers by it.
        if ("jitterBufferTarget" in e.receiver) (e.receiver as RTCRtpReceiver & { jitterBufferTarget: number | null }).jitterBufferTarget = 0;
        video.srcObject = e.streams[0] ?? new MediaStream([e.track]);
        void video.play().catch(() => {});
      };
    });
  }

  hear(endpoint: string, token: string, audio: HTMLAudioElement, onState: OnState): Promise<() => void> {
    return hear(this.way, endpoint, token, audio, onState);
  }

  speak(endpoint: string, token: string, mic: MediaStreamTrack, camera: MediaStreamTrack | undefined, onState: OnState): Promise<() => void> {
    return speak(this.way, endpoint, token, mic, camera, onState);
  }
}

/** Puts H.264 first: the carts' cameras give it, so nothing is transcoded. */
export function h264First<C extends { mimeType: string }>(codecs: C[]): C[] {
  const rank = (c: C): number => (c.mimeType.toLowerCase() === "video/h264" ? 0 : 1);
  return codecs.map((c, i) => ({ c, i })).sort((a, b) => rank(a.c) - rank(b.c) || a.i - b.i).map((x) => x.c);
}
