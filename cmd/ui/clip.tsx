// ClipPlayer shows a Motion JPEG clip frame by frame at its true capture times: what is seen is the original, not a transcode.

import { useEffect, useRef, useState } from "preact/hooks";
import { frameAt, parseClip, type Clip } from "./avi.ts";
import { useWords } from "./base.tsx";
import { Button, StateView } from "./components.tsx";

export function ClipPlayer(p: { load(): Promise<ArrayBuffer>; frameMs?: number[] | undefined; name: string }) {
  const w = useWords();
  const [clip, setClip] = useState<Clip>();
  const [failed, fail] = useState(false);
  const [at, setAt] = useState(0);
  const [playing, play] = useState(false);
  const canvas = useRef<HTMLCanvasElement>(null);
  const drawn = useRef(-1);

  useEffect(() => {
    let gone = false;
    p.load()
      .then((b) => !gone && setClip(parseClip(b, p.frameMs)))
      .catch(() => !gone && fail(true));
    return () => void (gone = true);
  }, []);

  const length = clip?.frameMs.at(-1) ?? 0;
  const index = clip ? frameAt(clip.frameMs, at) : 0;

  useEffect(() => {
    const bytes = clip?.frames[index];
    if (!bytes || drawn.current === index) return;
    drawn.current = index;
    void createImageBitmap(new Blob([bytes as BlobPart], { type: "image/jpeg" })).then(
      (img) => {
        const c = canvas.current;
        if (c && drawn.current === index) {
          c.width = img.width;
          c.height = img.height;
          c.getContext("2d")?.drawImage(img, 0, 0);
        }
        img.close();
      },
      () => fail(true),
    );
  }, [clip, index]);

  useEffect(() => {
    if (!playing) return;
    const from = performance.now() - (at >= length ? 0 : at);
    let raf = 0;
    const step = (): void => {
      const t = performance.now() - from;
      setAt(Math.min(t, length));
      if (t >= length) play(false);
      else raf = requestAnimationFrame(step);
    };
    raf = requestAnimationFrame(step);
    return () => cancelAnimationFrame(raf);
  }, [playing, length]);

  if (failed) return <StateView state={{ kind: "failed", why: "known.blob.failed", next: "next.reload" }} />;
  if (!clip) return <StateView state={{ kind: "loading", what: "item.clip" }} />;
  const seconds = (ms: number): string => (ms / 1000).toFixed(1);
  return (
    <div class="clip" data-testid="clip">
      <canvas ref={canvas} role="img" aria-label={p.name} data-testid="clip-canvas" data-frame={index} data-frames={clip.frames.length} />
      <div class="clip-bar">
        <Button testid="btn-clip-play" onPress={() => play(!playing)}>
          {playing ? w.t("clip.pause") : w.t("clip.play")}
        </Button>
        <input
          type="range"
          min={0}
          max={length}
          step={1}
          value={at}
          aria-label={p.name}
          onInput={(e) => {
            play(false);
            setAt(Number(e.currentTarget.value));
          }}
        />
        <span class="num">{w.t("clip.at", { at: seconds(at), of: seconds(length) })}</span>
      </div>
    </div>
  );
}
