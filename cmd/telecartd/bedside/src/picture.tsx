// The live picture, drawn as it comes from the camera: what it is, whether it is live, how old it is. Words stand below
// it; nothing covers it.

import { useEffect, useRef, useState } from "preact/hooks";
import type { Instrument } from "../../../ui/api.ts";
import { useWords } from "../../../ui/base.tsx";
import { Button, StateView } from "../../../ui/components.tsx";
import type { Cart } from "./cart.ts";

/** Without a frame for this long, a picture is frozen: grey, with its age. */
export const frozenAfterMs = 2000;

export function instrumentName(w: { code(prefix: string, code: string): string }, i: { name: string }): string {
  return w.code("instrument.name.", i.name);
}

export function Picture(p: { cart: Cart; cameras: Instrument[]; camera: Instrument | undefined; onCamera(name: string): void }) {
  const w = useWords();
  const canvas = useRef<HTMLCanvasElement>(null);
  const [frames, setFrames] = useState(0);
  const [arrived, setArrived] = useState<number>();
  const [now, setNow] = useState(() => performance.now());
  const name = p.camera?.name;

  useEffect(() => {
    setFrames(0);
    setArrived(undefined);
    if (!name) return;
    const stop = p.cart.watch(name, async (jpeg) => {
      const img = await createImageBitmap(jpeg);
      const c = canvas.current;
      if (c) {
        if (c.width !== img.width || c.height !== img.height) {
          c.width = img.width;
          c.height = img.height;
        }
        c.getContext("2d", { alpha: false })?.drawImage(img, 0, 0);
      }
      img.close();
      setArrived(performance.now());
      setFrames((n) => n + 1);
    });
    const t = setInterval(() => setNow(performance.now()), 250);
    return () => {
      stop();
      clearInterval(t);
    };
  }, [p.cart, name]);

  if (!p.camera) return <StateView state={{ kind: "empty", what: "picture.no-camera", next: "instruments.empty.next" }} />;
  const age = arrived === undefined ? 0 : Math.max(0, now - arrived);
  const state = arrived === undefined ? "waiting" : age >= frozenAfterMs ? "frozen" : "live";
  const label = instrumentName(w, p.camera);
  return (
    <figure class="picture" data-state={state}>
      <div class="frame">
        <canvas
          ref={canvas}
          width={16}
          height={9}
          role="img"
          aria-label={w.t("picture.of", { instrument: label })}
          data-testid="picture-canvas"
          data-instrument={name}
          data-state={state}
          data-frames={frames}
        />
      </div>
      <figcaption>
        <span class="what">
          <strong>{label}</strong>
          <span data-testid="picture-age">
            {state === "live" ? w.t("picture.live") : state === "frozen" ? w.t("picture.frozen", { age: w.ago(age) }) : w.t("picture.none")}
            {p.camera.health.state !== "live" && `. ${w.code("reason.", p.camera.health.reason ?? "no-data")}`}
          </span>
          {p.camera.twin && <span class="twin">{w.t("word.twin")}</span>}
        </span>
        {p.cameras.length > 1 && (
          <span class="row" role="group" aria-label={w.t("picture.choose")}>
            {p.cameras.map((c) => (
              <Button key={c.name} testid={`camera-${c.name}`} pressed={c.name === name} onPress={() => p.onCamera(c.name)}>
                {instrumentName(w, c)}
              </Button>
            ))}
          </span>
        )}
      </figcaption>
    </figure>
  );
}
