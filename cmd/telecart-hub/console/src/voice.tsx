// Voices: the cart's and the other members' are played here; the own microphone is turned on by a press, and says in words whether
// it is heard. The browser cancels the echo.

import { useEffect, useRef, useState } from "preact/hooks";
import type { ConsoleConsult } from "../../../ui/api.ts";
import { useWords } from "../../../ui/base.tsx";
import { Button } from "../../../ui/components.tsx";
import type { Key } from "../../../ui/strings/words.ts";
import type { Hub } from "./hub.ts";

const longestRetryMs = 4000;

/** Keeps a session up until the returned function is called: begin starts one, and is told how to say that it broke. */
export function keepUp(begin: (broken: () => void) => Promise<() => void>): () => void {
  let over = false;
  let end: (() => void) | undefined;
  let timer: ReturnType<typeof setTimeout> | undefined;
  let wait = 250;
  const next = (): void => {
    if (over || timer) return;
    end?.();
    end = undefined;
    timer = setTimeout(() => {
      timer = undefined;
      void start();
    }, wait * (0.7 + 0.6 * Math.random()));
    wait = Math.min(longestRetryMs, wait * 2);
  };
  const start = async (): Promise<void> => {
    try {
      const e = await begin(next);
      if (over) e();
      else [end, wait] = [e, 250];
    } catch {
      next();
    }
  };
  void start();
  return () => {
    over = true;
    clearTimeout(timer);
    end?.();
  };
}

const broke = (s: RTCPeerConnectionState): boolean => s === "failed" || s === "disconnected" || s === "closed";

/** Plays one source of a consult. */
function Sound(p: { hub: Hub; consult: string; source: string; onHeard?(heard: boolean): void }) {
  const audio = useRef<HTMLAudioElement>(null);
  const [heard, setHeard] = useState(false);
  useEffect(() => {
    const el = audio.current!;
    return keepUp(async (again) => {
      const w = (await p.hub.command("watch", { consult: p.consult, instrument: p.source })) as { endpoint: string; token: string };
      return p.hub.hear(w.endpoint, w.token, el, (s) => {
        setHeard(s === "connected");
        if (broke(s)) again();
      });
    });
  }, [p.hub, p.consult, p.source]);
  useEffect(() => p.onHeard?.(heard), [heard]);
  return <audio ref={audio} autoplay data-testid={`sound-${p.source}`} data-heard={heard} />;
}

export type Mic = "off" | "asking" | "starting" | "on" | "muted" | "refused" | "missing";

/** Why a microphone is not to be had, by the DOMException's name (Media Capture and Streams, 10.2). */
export function whyNoMic(e: unknown): "refused" | "missing" {
  return e instanceof Error && (e.name === "NotAllowedError" || e.name === "SecurityError") ? "refused" : "missing";
}

/** The own microphone in a consult. It is on only after a press, and off while the consult is not live. */
function useMicrophone(hub: Hub, consult: string, live: boolean): { mic: Mic; press(): void } {
  const [on, setOn] = useState(false);
  const [mic, setMic] = useState<Mic>("off");
  const muted = useRef(false);
  const track = useRef<MediaStreamTrack>();
  useEffect(() => {
    if (!on || !live) return;
    let over = false;
    let hangUp: (() => void) | undefined;
    let stream: MediaStream | undefined;
    setMic("asking");
    void (async () => {
      try {
        if (!navigator.mediaDevices) throw new DOMException("no microphone without a secure address", "SecurityError");
        stream = await navigator.mediaDevices.getUserMedia({ audio: { echoCancellation: true, noiseSuppression: true, autoGainControl: true } });
      } catch (e) {
        if (!over) setMic(whyNoMic(e));
        setOn(false);
        return;
      }
      if (over) return stream.getTracks().forEach((t) => t.stop());
      track.current = stream.getAudioTracks()[0];
      if (track.current) track.current.enabled = !muted.current;
      setMic("starting");
      hangUp = keepUp(async (again) => {
        const w = (await hub.command("speak", { consult })) as { endpoint: string; token: string };
        return hub.speak(w.endpoint, w.token, track.current!, (s) => {
          if (s === "connected") {
            if (muted.current) void hub.command("mute", { consult }).catch(() => {});
            setMic(muted.current ? "muted" : "on");
          } else if (broke(s)) {
            setMic("starting");
            again();
          }
        });
      });
    })();
    return () => {
      over = true;
      track.current = undefined;
      hangUp?.();
      stream?.getTracks().forEach((t) => t.stop());
      setMic((m) => (m === "refused" || m === "missing" ? m : "off"));
      void hub.command("hush", { consult }).catch(() => {});
    };
  }, [hub, consult, on, live]);
  const press = (): void => {
    if (!on) {
      muted.current = false;
      return setOn(true);
    }
    if (!live) return setOn(false);
    if (mic !== "on" && mic !== "muted") return setOn(false);
    muted.current = !muted.current;
    if (track.current) track.current.enabled = !muted.current; // at once, whatever the hub hears of it
    setMic(muted.current ? "muted" : "on");
    void hub.command(muted.current ? "mute" : "unmute", { consult }).catch(() => {});
  };
  return { mic, press };
}

const press: Record<Mic, Key> = {
  off: "voice.mic.turn-on",
  asking: "word.cancel",
  starting: "word.cancel",
  on: "voice.mic.mute",
  muted: "voice.mic.unmute",
  refused: "voice.mic.turn-on",
  missing: "voice.mic.turn-on",
};

/** What is said and heard in a live consult. */
export function Voices(p: { hub: Hub; consult: ConsoleConsult }) {
  const w = useWords();
  const c = p.consult;
  const live = c.phase === "live" || c.phase === "link-lost"; // between this page and the hub nothing changed
  const { mic, press: onPress } = useMicrophone(p.hub, c.id, live);
  const [heard, setHeard] = useState(false);
  const room = live ? c.sounds?.[0] : undefined;
  const others = (live ? (c.voices ?? []) : []).filter((v) => !v.mine);
  const names = others.filter((v) => !v.muted).map((v) => v.name);
  const cart: Key = !live ? "stage.paused" : !room ? "voice.cart.none" : c.muted ? "voice.cart.muted" : heard && room.publishing ? "voice.cart.on" : "voice.cart.wait";
  return (
    <div class="stage-bar" data-testid="voices" data-mic={mic}>
      {room && <Sound key={room.instrument} hub={p.hub} consult={c.id} source={room.instrument} onHeard={setHeard} />}
      {others.map((v) => (
        <Sound key={v.source} hub={p.hub} consult={c.id} source={v.source} />
      ))}
      <span role="status">
        <span data-testid="voice-cart">{w.t(cart)}</span> {names.length > 0 && <span data-testid="voice-others">{w.t("voice.others", { names: w.list(names) })}</span>}
      </span>
      <span class="row">
        <span role="status" data-testid="voice-mic">
          {w.t(`voice.mic.${mic}`)}
        </span>
        <Button testid="btn-mic" look={mic === "off" ? "primary" : "plain"} pressed={mic === "muted"} onPress={onPress}>
          {w.t(press[mic])}
        </Button>
      </span>
    </div>
  );
}
