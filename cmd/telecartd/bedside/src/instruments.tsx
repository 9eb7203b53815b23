// Instruments: the live picture, the live wave, the vital signs, and how each instrument is.

import { useWords } from "../../../ui/base.tsx";
import { Scroller, StateView } from "../../../ui/components.tsx";
import { Vitals } from "../../../ui/vitals.tsx";
import { LiveWave } from "../../../ui/wave.tsx";
import { instrumentName, Picture } from "./picture.tsx";
import { viewState } from "./states.ts";
import type { ViewProps } from "./view.ts";

export function InstrumentsView(p: ViewProps) {
  const w = useWords();
  const state = p.forced ?? viewState("instruments", p.s);
  if (state) return <StateView state={state} />;
  const cameras = p.s.instruments.filter((i) => i.kind === "camera");
  const oximeter = p.s.instruments.find((i) => i.kind === "oximeter");
  const waveTitle = oximeter ? w.t("wave.title", { quantity: w.t("quantity.pleth"), instrument: instrumentName(w, oximeter) }) : "";
  return (
    <div class="task-view" data-testid="view-instruments">
      <div class="col grow">
        <Picture cart={p.cart} cameras={cameras} camera={p.camera} onCamera={p.onCamera} />
        {oximeter && oximeter.health.state === "live" && (
          <div class="wave-box">
            <small>
              {waveTitle} {oximeter.twin && <span class="twin">{w.t("word.twin")}</span>}
            </small>
            <LiveWave
              testid="wave-pleth"
              ring={p.cart.ring(oximeter.name, "pleth")}
              label={waveTitle}
            />
          </div>
        )}
      </div>
      <Scroller class="side">
        <Vitals instruments={p.s.instruments} />
        <ul class="health">
          {p.s.instruments.map((i) => (
            <li key={i.name} data-testid={`instrument-${i.name}`} data-state={i.health.state}>
              <strong>{instrumentName(w, i)}</strong>
              <span>
                {`${w.t(`health.${i.health.state}`)}${i.health.reason ? `: ${w.code("reason.", i.health.reason)}` : ""}`}
              </span>
              {i.twin && <span class="twin">{w.t("word.twin")}</span>}
            </li>
          ))}
        </ul>
      </Scroller>
    </div>
  );
}
