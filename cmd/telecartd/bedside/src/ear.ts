// Hearing the stethoscope at the bedside, as it comes: stretches are put one after another with a little in hand, so that a
// late one makes no click. When the page has fallen behind it goes on at once from what is heard now.

const inHand = 0.12; // seconds
const levelEveryMs = 100;

/** Listens until the returned function is called. onLevel: the loudest value since the last time, 0 to 1. */
export function listen(url: string, onLevel: (level: number) => void, onState: (heard: boolean) => void): () => void {
  const ctx = new AudioContext({ latencyHint: "interactive" });
  void ctx.resume();
  let at = 0;
  let rate = 0;
  let stopped = false;
  let timer: ReturnType<typeof setTimeout> | undefined;
  let peak = 0;
  let told = 0;
  let ws: WebSocket;
  const open = (): void => {
    ws = new WebSocket(url);
    ws.binaryType = "arraybuffer";
    ws.onmessage = (e: MessageEvent) => {
      if (typeof e.data === "string") {
        rate = Number(e.data);
        onState(true);
        return;
      }
      const values = new Int16Array(e.data as ArrayBuffer);
      if (!rate || values.length === 0) return;
      const buffer = ctx.createBuffer(1, values.length, rate);
      const channel = buffer.getChannelData(0);
      values.forEach((v, i) => {
        channel[i] = v / 32768;
        peak = Math.max(peak, Math.abs(v));
      });
      if (performance.now() - told >= levelEveryMs) {
        onLevel(peak / 32768);
        told = performance.now();
        peak = 0;
      }
      if (at < ctx.currentTime || at > ctx.currentTime + 4 * inHand) at = ctx.currentTime + inHand;
      const s = new AudioBufferSourceNode(ctx, { buffer });
      s.connect(ctx.destination);
      s.start(at);
      at += buffer.duration;
    };
    ws.onclose = () => {
      if (stopped) return;
      onState(false);
      timer = setTimeout(open, 500);
    };
  };
  open();
  return () => {
    stopped = true;
    clearTimeout(timer);
    ws.close();
    void ctx.close();
  };
}
