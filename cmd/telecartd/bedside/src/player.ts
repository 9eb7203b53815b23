// Plays fragmented MP4 as it comes from a socket, as near to now as it can: a specialist's picture, live.

const behind = 0.5; // seconds of lag after which it goes on at once from what is newest
const kept = 10; // seconds that a buffer holds

/** Plays url into video until the returned function is called. onFrame is called for each picture that was drawn. */
export function play(url: string, video: HTMLVideoElement, onFrame: () => void): () => void {
  let ws: WebSocket | undefined;
  let timer: ReturnType<typeof setTimeout> | undefined;
  let wait = 250;
  let stopped = false;
  const open = (): void => {
    const s = new WebSocket(url);
    s.binaryType = "arraybuffer";
    ws = s;
    const source = new MediaSource();
    const from = URL.createObjectURL(source);
    let buffer: SourceBuffer | undefined;
    let codec = "";
    const queue: ArrayBuffer[] = [];
    const next = (): void => {
      if (!buffer || buffer.updating || source.readyState !== "open") return;
      const r = buffer.buffered;
      if (r.length) {
        const end = r.end(r.length - 1);
        if (video.currentTime < r.start(r.length - 1) || end - video.currentTime > behind) video.currentTime = Math.max(r.start(r.length - 1), end - 0.05);
        if (end - r.start(0) > 2 * kept) return buffer.remove(0, end - kept);
      }
      const b = queue.shift();
      if (b) buffer.appendBuffer(b);
    };
    const begin = (): void => {
      if (source.readyState !== "open" || !codec) return;
      const type = `video/mp4; codecs="${codec}"`;
      if (!buffer) {
        buffer = source.addSourceBuffer(type);
        buffer.onupdateend = next;
        buffer.onerror = () => s.close(); // it begins anew
      }
      next();
    };
    source.onsourceopen = begin;
    video.src = from;
    void video.play().catch(() => {}); // it is muted: only a page that goes away stops it
    s.onmessage = (e: MessageEvent) => {
      wait = 250;
      if (typeof e.data === "string") {
        if (buffer && e.data !== codec) return s.close(); // another kind of stream
        codec = e.data;
        return begin();
      }
      queue.push(e.data as ArrayBuffer);
      next();
    };
    s.onclose = () => {
      URL.revokeObjectURL(from);
      if (stopped) return;
      timer = setTimeout(open, wait * (0.7 + 0.6 * Math.random()));
      wait = Math.min(2000, wait * 2);
    };
  };
  const drawn = (): void => {
    if (stopped) return;
    onFrame();
    video.requestVideoFrameCallback(drawn);
  };
  video.requestVideoFrameCallback(drawn);
  open();
  return () => {
    stopped = true;
    clearTimeout(timer);
    ws?.close();
    video.removeAttribute("src");
    video.load();
  };
}
