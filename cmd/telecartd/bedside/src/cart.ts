// Cart is what the bedside screen can ask of the agent it was served by. The gallery gives it a still one.

import type { BedsideMessage, BedsideState, Input, Samples } from "../../../ui/api.ts";
import { Ring } from "../../../ui/ring.ts";
import { listen } from "./ear.ts";
import { play } from "./player.ts";
import { beside, Connection, type Phase } from "../../../ui/socket.ts";

export interface Cart {
  /** Sends a command (the verbs are in api.ts); waitMs is how long it may take. */
  command(verb: string, args?: Record<string, unknown>, waitMs?: number): Promise<unknown>;
  /** Opens an instrument's live picture; draw answers when the picture is on the screen. Returns how to stop. */
  watch(instrument: string, draw: (jpeg: Blob, capturedMs: number) => Promise<void>): () => void;
  /** Plays a specialist's picture into video; onFrame for each picture drawn. Returns how to stop. */
  face(id: string, video: HTMLVideoElement, onFrame: () => void): () => void;
  review(item: string): Promise<Response>;
  ring(instrument: string, quantity: string): Ring;
  /** Listens to a stethoscope in a mode ("" is all); tells how loud it is, and whether anything is heard. Returns how to stop. */
  listen(instrument: string, band: string, onLevel: (level: number) => void, onState: (heard: boolean) => void): () => void;
}

export interface Seen {
  state?: BedsideState;
  phase: Phase;
  lostAt?: string; // when the page lost the agent
}

const waveSeconds = 8;
const headerBytes = 8;

/** The live cart. onSeen is called with everything the screen shows, whenever it changes. */
export class LiveCart implements Cart {
  private readonly connection: Connection;
  private seen: Seen = { phase: "connecting" };
  private readonly rings = new Map<string, Ring>();

  constructor(onSeen: (s: Seen) => void, onInput: (i: Input) => void) {
    const show = (s: Partial<Seen>): void => {
      this.seen = { ...this.seen, ...s };
      onSeen(this.seen);
    };
    this.connection = new Connection({
      url: beside("/api/ws"),
      onPhase: (phase) => show({ phase, lostAt: phase === "lost" ? (this.seen.lostAt ?? new Date().toISOString()) : undefined }),
      onMessage: (raw) => {
        const m = raw as Exclude<BedsideMessage, { reply: number }>;
        if ("state" in m) show({ state: m.state });
        else if ("samples" in m) this.samples(m.samples);
        else if ("input" in m) onInput(m.input);
      },
      expired: async () => {
        const status = await fetch("/api/ws", { cache: "no-store" }).then((r) => r.status, () => 0);
        return status === 401 || status === 403;
      },
    });
  }

  start(): () => void {
    this.connection.start();
    return () => this.connection.stop();
  }

  command(verb: string, args?: Record<string, unknown>, waitMs?: number): Promise<unknown> {
    return this.connection.command(verb, args, waitMs);
  }

  face(id: string, video: HTMLVideoElement, onFrame: () => void): () => void {
    return play(beside(`/api/face/${encodeURIComponent(id)}`), video, onFrame);
  }

  review(item: string): Promise<Response> {
    return fetch(`/api/review/${encodeURIComponent(item)}`, { cache: "no-store" });
  }

  ring(instrument: string, quantity: string): Ring {
    const key = `${instrument} ${quantity}`;
    let r = this.rings.get(key);
    if (!r) this.rings.set(key, (r = new Ring(waveSeconds)));
    return r;
  }

  listen(instrument: string, band: string, onLevel: (level: number) => void, onState: (heard: boolean) => void): () => void {
    return listen(beside(`/api/sound/${encodeURIComponent(instrument)}${band && `?filter=${band}`}`), onLevel, onState);
  }

  private samples(s: Samples): void {
    this.ring(s.instrument, s.quantity).push(s);
  }

  watch(instrument: string, draw: (jpeg: Blob, capturedMs: number) => Promise<void>): () => void {
    let ws: WebSocket | undefined;
    let timer: ReturnType<typeof setTimeout> | undefined;
    let wait = 250;
    let stopped = false;
    const open = (): void => {
      const s = new WebSocket(beside(`/api/picture/${encodeURIComponent(instrument)}`));
      ws = s;
      s.binaryType = "arraybuffer";
      s.onmessage = async (e: MessageEvent) => {
        const bytes = e.data as ArrayBuffer;
        if (!(bytes instanceof ArrayBuffer) || bytes.byteLength <= headerBytes) return;
        wait = 250;
        const us = new DataView(bytes).getBigUint64(0);
        // A damaged picture is answered too: the next one may be whole.
        await draw(new Blob([new Uint8Array(bytes, headerBytes)], { type: "image/jpeg" }), Number(us / 1000n)).catch(() => {});
        if (s.readyState === WebSocket.OPEN) s.send(`${us} ${BigInt(Math.round((performance.timeOrigin + performance.now()) * 1000))}`);
      };
      s.onclose = () => {
        if (stopped) return;
        timer = setTimeout(open, wait * (0.7 + 0.6 * Math.random()));
        wait = Math.min(2000, wait * 2);
      };
    };
    open();
    return () => {
      stopped = true;
      clearTimeout(timer);
      ws?.close();
    };
  }
}
