// One WHIP or WHEP session (RFC 9725) of this browser, by whatever way media comes through: one offer with its candidates, one
// answer, DELETE at the end.

import type { Problem } from "../../../ui/api.ts";
import { ProblemError } from "../../../ui/socket.ts";
import { iceServers, through, type Session, type Way } from "./through.ts";

export type OnState = (s: RTCPeerConnectionState) => void;

const gatherMs = 1500;
const gatherTurnMs = 6000; // a TLS connection and two round trips more, for the first relayed address

/** set adds what is sent or received; read may change the hub's answer. Returns how to stop. */
export async function open(way: Way, endpoint: string, token: string, onState: OnState, set: (pc: RTCPeerConnection) => void, read = (sdp: string): string => sdp): Promise<() => void> {
  const headers = { authorization: `Bearer ${token}` };
  const ask = async (): Promise<RTCIceServer[]> => iceServers((await fetch(endpoint, { method: "OPTIONS", headers, cache: "no-store" })).headers.get("link"));
  const s = await through(way, ask, (servers) => session(endpoint, headers, servers, set, read));
  s.pc.onconnectionstatechange = () => onState(s.pc.connectionState);
  if (s.pc.connectionState !== "new" && s.pc.connectionState !== "connecting") onState(s.pc.connectionState);
  return s.stop;
}

async function session(
  endpoint: string,
  headers: Record<string, string>,
  servers: RTCIceServer[],
  set: (pc: RTCPeerConnection) => void,
  read: (sdp: string) => string,
): Promise<Session & { pc: RTCPeerConnection }> {
  const pc = new RTCPeerConnection({ iceServers: servers });
  let place: string | undefined;
  const stop = (): void => {
    pc.onconnectionstatechange = null;
    pc.close(); // the last frame stays on the screen, grey, until a new one comes
    if (place) void fetch(place, { method: "DELETE", headers, keepalive: true }).catch(() => {});
    place = undefined;
  };
  try {
    set(pc);
    await pc.setLocalDescription(await pc.createOffer());
    await gathered(pc, servers.length > 0 ? gatherTurnMs : gatherMs);
    const from = performance.now();
    const r = await fetch(endpoint, { method: "POST", headers: { ...headers, "content-type": "application/sdp" }, body: pc.localDescription!.sdp });
    const tookMs = performance.now() - from;
    if (r.status !== 201) throw await asProblem(r);
    const at = r.headers.get("location");
    if (at) place = new URL(at, new URL(endpoint, location.href)).href;
    const sdp = await r.text();
    await pc.setRemoteDescription({ type: "answer", sdp: read(sdp) });
    return { pc, stop, tookMs, told: iceServers(r.headers.get("link")), bare: !sdp.includes("a=candidate:") };
  } catch (e) {
    stop();
    throw e;
  }
}

export async function asProblem(r: Response): Promise<ProblemError> {
  const fallback: Problem = { code: r.status === 401 ? "unauthorized" : r.status === 403 ? "forbidden" : "failed", title: r.statusText, status: r.status };
  return new ProblemError(((await r.json().catch(() => undefined)) as Problem | undefined) ?? fallback);
}

function gathered(pc: RTCPeerConnection, ms: number): Promise<void> {
  return new Promise((done) => {
    const timer = setTimeout(done, ms);
    const end = (): void => {
      clearTimeout(timer);
      done();
    };
    const look = (): void => {
      if (pc.iceGatheringState === "complete") end();
    };
    pc.addEventListener("icegatheringstatechange", look);
    pc.addEventListener("icecandidate", (e) => {
      if (e.candidate?.type === "relay") end(); // one is enough: there is one room behind it
    });
    look();
  });
}
