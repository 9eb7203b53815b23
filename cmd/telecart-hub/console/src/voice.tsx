// Voices: the cart's and the other members' are played here; the own microphone is turned on by a press, and says in words whether
// it is heard. The browser cancels the echo.

import { useEffect, useRef, useState } from "preact/hooks";
import type { ConsoleConsult } from "../../../ui/api.ts";
import { useWords } from "../../../ui/base.tsx";
import { Button } from "../../../ui/components.tsx";
import type { Key } from "../../../ui/strings/words.ts";
import type { Hub } from "./hub.ts";
import { canShow, faceSize } from "./sound.ts";

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

export type Mic = "off" | "asking" | "starting" | "on" | "muted" | "held" | "refused" | "missing";

/** While these last, a microphone that was turned on stays so: a link that drops, or a pause, is over by itself. */
export const voiced = ["live", "link-lost", "paused", "waiting-continue"];

/** Why a microphone is not to be had, by the DOMException's name (Media Capture and Streams, 10.2). */
export function whyNoMic(e: unknown): "refused" | "missing" {
  return e instanceof Error && (e.name === "NotAllowedError" || e.name === "SecurityError") ? "refused" : "missing";
}

export type Cam = "off" | "asking" | "on" | "refused" | "missing" | "codec";

/** A track of the browser's while want is true; said is told why there is none. */
function useTrack(want: boolean, ask: MediaStreamConstraints, said: (why: "asking" | "got" | "refused" | "missing") => void): MediaStreamTrack | undefined {
  const [track, setTrack] = useState<MediaStreamTrack>();
  useEffect(() => {
    if (!want) return;
    let over = false;
    let stream: MediaStream | undefined;
    said("asking");
    void (async () => {
      try {
        if (!navigator.mediaDevices) throw new DOMException("not without a secure address", "SecurityError");
        stream = await navigator.mediaDevices.getUserMedia(ask);
      } catch (e) {
        if (!over) said(whyNoMic(e));
        return;
      }
      if (over) return stream.getTracks().forEach((t) => t.stop());
      setTrack(stream.getTracks()[0]);
      said("got");
    })();
    return () => {
      over = true;
      stream?.getTracks().forEach((t) => t.stop());
      setTrack(undefined);
    };
  }, [want]);
  return track;
}

/** The own microphone in a consult, and camera. Each is on only after a press; nothing is sent unless open. */
function useMicrophone(hub: Hub, consult: string, open: boolean): { mic: Mic; press(): void; cam: Cam; show(): void; camera: MediaStreamTrack | undefined } {
  const [on, setOn] = useState(false);
  const [shown, setShown] = useState(false);
  const [mic, setMic] = useState<Mic>("off");
  const [cam, setCam] = useState<Cam>("off");
  const muted = useRef(false);
  const voice = useTrack(on, { audio: { echoCancellation: true, noiseSuppression: true, autoGainControl: true } }, (why) => {
    if (why === "asking" || why === "got") return setMic(why === "got" ? "starting" : why);
    setMic(why);
    setOn(false);
  });
  const camera = useTrack(on && shown, { video: faceSize }, (why) => {
    if (why === "asking" || why === "got") return setCam(why === "got" ? "on" : why);
    setCam(why);
    setShown(false);
  });
  useEffect(() => {
    if (!voice || !open) return;
    voice.enabled = !muted.current;
    setMic("starting");
    return keepUp(async (again) => {
      const w = (await hub.command("speak", { consult })) as { endpoint: string; token: string };
      if (camera) await hub.command("show", { consult });
      return hub.speak(w.endpoint, w.token, voice, camera, (s) => {
        if (s === "connected") {
          if (muted.current) void hub.command("mute", { consult }).catch(() => {});
          setMic(muted.current ? "muted" : "on");
        } else if (broke(s)) {
          setMic("starting");
          again();
        }
      });
    });
  }, [hub, consult, voice, camera, open]);
  useEffect(() => {
    if (!on) return;
    return () => {
      muted.current = false;
      setShown(false);
      setCam("off");
      setMic((m) => (m === "refused" || m === "missing" ? m : "off"));
      void hub.command("hush", { consult }).catch(() => {});
    };
  }, [hub, consult, on]);
  const press = (): void => {
    if (!on) return setOn(true);
    if (open && mic !== "on" && mic !== "muted") return setOn(false);
    muted.current = !muted.current;
    if (voice) voice.enabled = !muted.current; // at once, whatever the hub hears of it
    setMic(muted.current ? "muted" : open ? "on" : "starting");
    void hub.command(muted.current ? "mute" : "unmute", { consult }).catch(() => {});
  };
  const show = (): void => {
    if (!shown && !canShow()) return setCam("codec");
    if (shown) setCam("off");
    setShown(!shown);
  };
  return { mic, press, cam, show, camera };
}

/** What the others see of oneself. */
function Self(p: { camera: MediaStreamTrack; label: string }) {
  const video = useRef<HTMLVideoElement>(null);
  useEffect(() => {
    video.current!.srcObject = new MediaStream([p.camera]);
    void video.current!.play().catch(() => {});
  }, [p.camera]);
  return <video ref={video} class="self" muted playsInline aria-label={p.label} data-testid="self" />;
}

const press: Record<Mic, Key> = {
  off: "voice.mic.turn-on",
  asking: "word.cancel",
  starting: "word.cancel",
  on: "voice.mic.mute",
  held: "voice.mic.mute",
  muted: "voice.mic.unmute",
  refused: "voice.mic.turn-on",
  missing: "voice.mic.turn-on",
};

/** What is said and heard in a live consult. */
export function Voices(p: { hub: Hub; consult: ConsoleConsult }) {
  const w = useWords();
  const c = p.consult;
  const open = c.phase === "live" || c.phase === "link-lost"; // over a short drop the sessions with the hub stay
  const { mic: own, press: onPress, cam, show, camera } = useMicrophone(p.hub, c.id, open);
  const mic = c.phase !== "live" && (own === "on" || own === "starting") ? "held" : own;
  const [heard, setHeard] = useState(false);
  const room = open ? c.sounds?.[0] : undefined;
  const others = (open ? (c.voices ?? []) : []).filter((v) => !v.mine);
  const names = others.filter((v) => !v.muted).map((v) => v.name);
  const cart: Key = c.phase !== "live" ? "voice.cart.held" : !room ? "voice.cart.none" : c.muted ? "voice.cart.muted" : heard && room.publishing ? "voice.cart.on" : "voice.cart.wait";
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
        {(mic === "on" || mic === "muted" || mic === "held") && (
          <>
            {camera && <Self camera={camera} label={w.t("voice.cam.self")} />}
            <span role="status" data-testid="voice-cam">
              {!(mic === "held" && cam === "on") && w.t(`voice.cam.${cam}`)}
            </span>
            <Button testid="btn-cam" pressed={cam === "on"} onPress={show}>
              {w.t(cam === "on" || cam === "asking" ? "voice.cam.hide" : "voice.cam.show")}
            </Button>
          </>
        )}
        <Button testid="btn-mic" look={mic === "off" ? "primary" : "plain"} pressed={mic === "muted"} onPress={onPress}>
          {w.t(press[mic])}
        </Button>
      </span>
    </div>
  );
}
