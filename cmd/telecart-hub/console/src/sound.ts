// Sound sessions: WHEP to hear a source, WHIP (RFC 9725) to be heard.

import { open, type OnState } from "./session.ts";
import type { Way } from "./through.ts";

/**
 * The hub's answer, changed so that this browser sends few bits: a cart at the end of 100 kb/s must still hear. Packets of 60 ms
 * (their headers would take more than the voice), 11.5 kb/s, silence not sent (RFC 7587 7.1, RFC 8866 6.4).
 */
export function thrifty(sdp: string): string {
  const opus = /^a=rtpmap:(\d+) opus\/48000/m.exec(sdp)?.[1];
  if (!opus) return sdp;
  const say = "maxaveragebitrate=11500;usedtx=1;stereo=0";
  const fmtp = new RegExp(`^(a=fmtp:${opus} [^\\r\\n]*)`, "m");
  const out = fmtp.test(sdp) ? sdp.replace(fmtp, `$1;${say}`) : sdp.replace(new RegExp(`^(a=rtpmap:${opus} [^\\r\\n]*)`, "m"), `$1\r\na=fmtp:${opus} ${say}`);
  return out.replace(/^a=ptime:.*\r?\n/m, "").replace(new RegExp(`^(a=fmtp:${opus} [^\\r\\n]*)`, "m"), "$1\r\na=ptime:60");
}

/** Plays a stream in an audio element. */
export function hear(way: Way, endpoint: string, token: string, audio: HTMLAudioElement, onState: OnState): Promise<() => void> {
  return open(way, endpoint, token, onState, (pc) => {
    pc.addTransceiver("audio", { direction: "recvonly" });
    pc.ontrack = (e) => {
      audio.srcObject = e.streams[0] ?? new MediaStream([e.track]);
      void audio.play().catch(() => {});
    };
  });
}

/** Publishes a microphone. */
export function speak(way: Way, endpoint: string, token: string, track: MediaStreamTrack, onState: OnState): Promise<() => void> {
  return open(way, endpoint, token, onState, (pc) => void pc.addTransceiver(track, { direction: "sendonly" }), thrifty);
}
