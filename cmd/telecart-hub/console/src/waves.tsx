// The live waves: what instruments draw now, side by side below the live picture.

import type { ConsoleCart, Instrument } from "../../../ui/api.ts";
import { useNow, useWords } from "../../../ui/base.tsx";
import type { Ring } from "../../../ui/ring.ts";
import { drawn, drawsWave, LiveWave } from "../../../ui/wave.tsx";
import type { Hub } from "./hub.ts";

/** A box for each instrument that has drawn since this page watches. */
export function LiveWaves(p: { hub: Hub; cart: ConsoleCart }) {
  const w = useWords();
  useNow();
  const ring = (i: Instrument): Ring => p.hub.ring(p.cart.cart, i.name, drawn[i.kind]!);
  const waves = p.cart.instruments.filter((i) => drawsWave(i) && ring(i).pushed > 0);
  if (waves.length === 0) return null;
  return (
    <div class="waves">
      {waves.map((i) => {
        const drawing = w.code("quantity.", drawn[i.kind]!);
        return (
          <div class="wave-box" key={i.name}>
            <small>
              {drawing} {i.twin && <span class="twin">{w.t("word.twin")}</span>} {i.health.state !== "live" && w.code("reason.", i.health.reason ?? "not-yet")}
            </small>
            <LiveWave testid={`wave-${drawn[i.kind]}`} ring={ring(i)} label={w.t("wave.title", { quantity: drawing, instrument: w.code("instrument.name.", i.name) })} />
          </div>
        );
      })}
    </div>
  );
}
