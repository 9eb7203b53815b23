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

/** What a face takes of the cart's link: small, and no more than a third of the 384 kb/s below which there is no moving picture. */
export const faceSize = { width: 320, height: 240, frameRate: 15 };
const faceBits = 128_000;

const h264 = (): RTCRtpCodec[] => (RTCRtpSender.getCapabilities("video")?.codecs ?? []).filter((c) => c.mimeType.toLowerCase() === "video/h264");

/** Whether this browser can send what the bedside can show: H.264. */
export const canShow = (): boolean => h264().length > 0;

/** Publishes a microphone, and a camera beside it. */
export function speak(way: Way, endpoint: string, token: string, mic: MediaStreamTrack, camera: MediaStreamTrack | undefined, onState: OnState): Promise<() => void> {
  return open(way, endpoint, token, onState, (pc) => {
    pc.addTransceiver(mic, { direction: "sendonly" });
    if (!camera) return;
    const t = pc.addTransceiver(camera, { direction: "sendonly", sendEncodings: [{ maxBitrate: faceBits, maxFramerate: faceSize.frameRate }] });
    t.setCodecPreferences(h264());
  }, thrifty);
}
