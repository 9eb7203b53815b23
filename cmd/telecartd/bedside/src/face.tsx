// A specialist's own picture, small, and whether it is live. It is never recorded.

import { useEffect, useRef, useState } from "preact/hooks";
import { useWords } from "../../../ui/base.tsx";
import type { Cart } from "./cart.ts";
import { frozenAfterMs } from "./picture.tsx";

export function Face(p: { cart: Cart; id: string; name: string }) {
  const w = useWords();
  const video = useRef<HTMLVideoElement>(null);
  const [arrived, setArrived] = useState<number>();
  const [now, setNow] = useState(() => performance.now());
  useEffect(() => {
    if (!video.current) return;
    const stop = p.cart.face(p.id, video.current, () => setArrived(performance.now()));
    const t = setInterval(() => setNow(performance.now()), 250);
    return () => {
      stop();
      clearInterval(t);
    };
  }, [p.cart, p.id]);
  const age = arrived === undefined ? 0 : Math.max(0, now - arrived);
  const state = arrived === undefined ? "waiting" : age >= frozenAfterMs ? "frozen" : "live";
  return (
    <figure class="picture face" data-state={state}>
      <div class="frame">
        <video ref={video} muted playsInline aria-label={w.t("face.of", { name: p.name })} data-testid={`face-${p.name}`} data-state={state} />
      </div>
      <figcaption>
        <span class="what">
          <strong>{p.name}</strong>
          <span data-testid={`face-age-${p.name}`}>
            {state === "live" ? w.t("picture.live") : state === "frozen" ? w.t("picture.frozen", { age: w.ago(age) }) : w.t("picture.none")}
          </span>
        </span>
      </figcaption>
    </figure>
  );
}
