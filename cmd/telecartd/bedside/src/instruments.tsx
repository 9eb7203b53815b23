// Instruments: the live picture, the live waves, the vital signs, and how each instrument is.

import type { Instrument } from "../../../ui/api.ts";
import { useNow, useWords } from "../../../ui/base.tsx";
import { Scroller, StateView } from "../../../ui/components.tsx";
import { handOrder, handVitals } from "../../../ui/readings.ts";
import type { Words } from "../../../ui/strings/words.ts";
import { Vitals } from "../../../ui/vitals.tsx";
import { drawsWave } from "../../../ui/wave.tsx";
import { savedValues } from "./byhand.tsx";
import { Lights } from "./lights.tsx";
import { instrumentName, Picture } from "./picture.tsx";
import { viewState } from "./states.ts";
import type { ViewProps } from "./view.ts";
import { WaveBox } from "./waves.tsx";

const mostWaves = 2; // below the picture, which needs the room

/** How an instrument is; one that is gone, for how long. */
export function healthWords(w: Words, i: Instrument, nowMs: number): string {
  const reason = i.health.reason ? `: ${w.code("reason.", i.health.reason)}` : "";
  const since = i.health.state === "absent" ? `, ${w.ago(Math.max(0, nowMs - Date.parse(i.since)))}` : "";
  return `${w.t(`health.${i.health.state}`)}${since}${reason}`;
}

export function InstrumentsView(p: ViewProps) {
  const w = useWords();
  const now = useNow();
  const state = p.forced ?? viewState("instruments", p.s);
  if (state) return <StateView state={state} />;
  const cameras = p.s.instruments.filter((i) => i.kind === "camera");
  const waves = p.s.instruments.filter(drawsWave).slice(0, mostWaves);
  return (
    <div class="task-view" data-testid="view-instruments">
      <div class="col grow">
        <Picture cart={p.cart} cameras={cameras} camera={p.camera} onCamera={p.onCamera} />
        {waves.map((i) => (
          <WaveBox key={i.name} cart={p.cart} instrument={i} />
        ))}
      </div>
      <Scroller class="side">
        <Vitals instruments={p.s.instruments} hand={handVitals(savedValues(p.s.items), handOrder)} />
        <Lights cart={p.cart} instruments={p.s.instruments} />
        <ul class="health">
          {p.s.instruments.map((i) => (
            <li key={i.name} data-testid={`instrument-${i.name}`} data-state={i.health.state}>
              <strong>{instrumentName(w, i)}</strong>
              {i.twin && <span class="twin">{w.t("word.twin")}</span>}
              <span>{healthWords(w, i, now)}</span>
              {i.grade && <span>{w.t(`grade.${i.grade}`)}</span>}
            </li>
          ))}
        </ul>
      </Scroller>
    </div>
  );
}
