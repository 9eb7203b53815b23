// Getting media through: UDP first, and by the TURN servers that the room names (RFC 9725 section 4.6) when UDP does not come
// through. As uplink/live does it for the cart.

/** What the console remembers of its network: whether media had to go by TURN. */
export interface Way {
  behind: boolean;
}

/** One WHEP session, once it is answered. */
export interface Session {
  pc: Pick<RTCPeerConnection, "iceConnectionState" | "addEventListener" | "removeEventListener" | "getStats">;
  told: RTCIceServer[]; // by the answer
  tookMs: number; // the POST
  bare: boolean; // the answer names no address: there is no UDP
  stop(): void;
}

const minPatienceMs = 1000;
const maxPatienceMs = 4000;
const perPost = 4;
const lastPatienceMs = 10_000;
const maxServers = 8;

/** Opens a session that has a path for media, or the one that came nearest. */
export async function through<S extends Session>(way: Way, ask: () => Promise<RTCIceServer[]>, open: (servers: RTCIceServer[]) => Promise<S>): Promise<S> {
  const servers = way.behind ? await ask() : [];
  const first = await open(servers);
  if (servers.length === 0 && first.told.length > 0) {
    const patience = Math.min(Math.max(perPost * first.tookMs, minPatienceMs), maxPatienceMs);
    if (!first.bare && (await path(first.pc, patience))) {
      way.behind = false;
      return first;
    }
    first.stop();
    const second = await open(first.told);
    if (await path(second.pc, lastPatienceMs)) way.behind = await relayed(second.pc);
    return second;
  }
  if (await path(first.pc, lastPatienceMs)) way.behind = await relayed(first.pc);
  return first;
}

/** Whether ICE finds a path in time. */
function path(pc: Session["pc"], ms: number): Promise<boolean> {
  return new Promise((done) => {
    const end = (found: boolean): void => {
      clearTimeout(timer);
      pc.removeEventListener("iceconnectionstatechange", look);
      done(found);
    };
    const look = (): void => {
      const s = pc.iceConnectionState;
      if (s === "connected" || s === "completed") end(true);
      else if (s === "failed" || s === "closed") end(false);
    };
    const timer = setTimeout(() => end(false), ms);
    pc.addEventListener("iceconnectionstatechange", look);
    look();
  });
}

/** Whether media goes by TURN. */
async function relayed(pc: Session["pc"]): Promise<boolean> {
  const stats = await pc.getStats();
  let local: string | undefined;
  stats.forEach((s: { type: string; nominated?: boolean; state?: string; localCandidateId?: string }) => {
    if (s.type === "candidate-pair" && s.nominated && s.state === "succeeded") local = s.localCandidateId;
  });
  return local !== undefined && (stats.get(local) as { candidateType?: string } | undefined)?.candidateType === "relay";
}

/** The ICE servers of a Link header (RFC 8288 section 3, RFC 9725 section 4.6). What can't be read is passed over. */
export function iceServers(header: string | null): RTCIceServer[] {
  const out: RTCIceServer[] = [];
  const link = /<([^<>]*)>((?:\s*;\s*[^\s;,="]+(?:\s*=\s*(?:"(?:[^"\\]|\\.)*"|[^\s;,"]*))?)*)\s*(?:,|$)/g;
  for (const [, url, rest] of (header ?? "").slice(0, 16384).matchAll(link)) {
    const with_ = new Map<string, string>();
    for (const [, name, quoted, plain] of rest!.matchAll(/;\s*([^\s;,="]+)(?:\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s;,"]*)))?/g)) {
      const key = name!.toLowerCase();
      if (!with_.has(key)) with_.set(key, quoted?.replace(/\\(.)/g, "$1") ?? plain ?? "");
    }
    if (with_.get("rel")?.toLowerCase() !== "ice-server" || out.length >= maxServers) continue;
    const [username, credential] = [with_.get("username"), with_.get("credential")];
    if (/^stuns?:[^:/]/.test(url!)) out.push({ urls: url! });
    else if (/^turns?:[^:/]/.test(url!) && username && credential) out.push({ urls: url!, username, credential });
  }
  return out;
}
