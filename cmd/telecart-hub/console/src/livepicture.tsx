// The live picture: one WHEP session per viewed camera. It starts by itself, comes back by itself, and says when it is
// frozen and for how long.

import type { RefObject } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import type { Problem } from "../../../ui/api.ts";
import { ProblemError } from "../../../ui/socket.ts";
import type { Hub } from "./hub.ts";

export type Motion = "waiting" | "live" | "frozen";

/** Without a frame for this long, a picture is frozen. */
export const frozenAfterMs = 2000;
const longestRetryMs = 4000;

export interface Live {
  video: RefObject<HTMLVideoElement>;
  motion: Motion;
  ageMs: number;
  frames: number;
  firstMs: number | undefined; // from asking to the first picture
  problem: Problem | undefined;
  again(): void;
}

export function useLivePicture(hub: Hub, consult: string | undefined, instrument: string | undefined, publishing: boolean): Live {
  const video = useRef<HTMLVideoElement>(null);
  const [frame, setFrame] = useState<{ at: number; count: number; firstMs: number }>();
  const [now, setNow] = useState(() => performance.now());
  const [problem, setProblem] = useState<Problem>();
  const [round, setRound] = useState(0);

  useEffect(() => {
    setFrame(undefined);
    setProblem(undefined);
    const el = video.current;
    if (!consult || !instrument || !el) return;
    const asked = performance.now();
    let gone = false;
    let stop: (() => void) | undefined;
    let timer: ReturnType<typeof setTimeout> | undefined;
    let wait = 500;
    let callback = 0;
    let count = 0;

    const drawn = (): void => {
      const at = performance.now();
      count++;
      wait = 500;
      setProblem(undefined);
      setFrame((f) => ({ at, count, firstMs: f?.firstMs ?? at - asked }));
      callback = el.requestVideoFrameCallback(drawn);
    };
    const retry = (): void => {
      if (gone || timer) return;
      stop?.();
      stop = undefined;
      timer = setTimeout(() => {
        timer = undefined;
        void begin();
      }, wait * (0.7 + 0.6 * Math.random()));
      wait = Math.min(longestRetryMs, wait * 2);
    };
    const begin = async (): Promise<void> => {
      try {
        const w = (await hub.command("watch", { consult, instrument })) as { endpoint: string; token: string };
        if (gone) return;
        const s = await hub.play(w.endpoint, w.token, el, (state) => {
          if (state === "failed" || state === "disconnected" || state === "closed") retry();
        });
        if (gone) s();
        else stop = s;
      } catch (e) {
        if (gone) return;
        setProblem(e instanceof ProblemError ? e.problem : { code: "no-media", title: String(e), status: 0 });
        retry();
      }
    };
    callback = el.requestVideoFrameCallback(drawn);
    void begin();
    const tick = setInterval(() => setNow(performance.now()), 250);
    return () => {
      gone = true;
      clearInterval(tick);
      clearTimeout(timer);
      el.cancelVideoFrameCallback(callback);
      stop?.();
      el.srcObject = null;
    };
  }, [hub, consult, instrument, round]);

  // The cart has just begun to send: don't wait for the next try.
  const before = useRef(publishing);
  useEffect(() => {
    if (publishing && !before.current && performance.now() - (frame?.at ?? 0) >= frozenAfterMs) setRound((n) => n + 1);
    before.current = publishing;
  }, [publishing]);

  const ageMs = frame ? Math.max(0, now - frame.at) : 0;
  return {
    video,
    motion: !frame ? "waiting" : ageMs >= frozenAfterMs ? "frozen" : "live",
    ageMs,
    frames: frame?.count ?? 0,
    firstMs: frame?.firstMs,
    problem,
    again: () => setRound((n) => n + 1),
  };
}
