// Waveform: the last seconds of what an instrument draws, seen before they are saved.

import { useState } from "preact/hooks";
import type { Instrument } from "../../../ui/api.ts";
import { useWords } from "../../../ui/base.tsx";
import { Choice, ProblemLine } from "../../../ui/components.tsx";
import { drawn, LiveWave } from "../../../ui/wave.tsx";
import type { Cart } from "./cart.ts";
import { instrumentName } from "./picture.tsx";
import { Lengths, type Recorder } from "./record.tsx";
import { isPlace, useWhere, WhereChoice, Work } from "./work.tsx";

/** A live wave with what it is above it. */
export function WaveBox(p: { cart: Cart; instrument: Instrument; class?: string }) {
  const w = useWords();
  const quantity = drawn[p.instrument.kind]!;
  const [drawing, name] = [w.code("quantity.", quantity), instrumentName(w, p.instrument)];
  const title = drawing === name ? name : w.t("wave.title", { quantity: drawing, instrument: name });
  return (
    <div class={`wave-box ${p.class ?? ""}`}>
      <small>
        {title} {p.instrument.twin && <span class="twin">{w.t("word.twin")}</span>} {p.instrument.health.state !== "live" && w.code("reason.", p.instrument.health.reason ?? "not-yet")}
      </small>
      <LiveWave testid={`wave-${quantity}`} ring={p.cart.ring(p.instrument.name, quantity)} label={title} />
    </div>
  );
}

/** The stethoscope's picture is no waveform to save: its sound is. */
export function drawers(instruments: Instrument[]): Instrument[] {
  return instruments.filter((i) => i.kind in drawn && i.kind !== "stethoscope");
}

export function Waves(p: { cart: Cart; instruments: Instrument[]; recorder: Recorder; onBack(): void }) {
  const w = useWords();
  const where = useWhere();
  const [chosen, choose] = useState<string>();
  const i = p.instruments.find((x) => x.name === chosen) ?? p.instruments[0]!;
  const live = i.health.state === "live";
  return (
    <Work
      testid="view-waveform"
      onBack={p.onBack}
      choose={
        <Choice
          label={w.t("capture.measure.which")}
          testid="drawer"
          columns={1}
          value={i.name}
          onChoose={(v) => {
            choose(v);
            where.clear();
            p.recorder.forget();
          }}
          options={p.instruments.map((x) => ({ value: x.name, text: instrumentName(w, x) }))}
        />
      }
      actions={<Lengths verb="waveform" seconds={[10, 20, 30]} recorder={p.recorder} off={!live} onRecord={(n) => p.recorder.record("waveform", i.name, n, where)} />}
    >
      <WaveBox key={i.name} cart={p.cart} instrument={i} class="grow-wave" />
      {i.health.reason && (
        <p class="problem" role="status">
          {w.code("reason.", i.health.reason)}
        </p>
      )}
      {i.grade && <p>{w.t(`grade.${i.grade}`)}</p>}
      <ProblemLine problem={p.recorder.problem} />
      {isPlace(i.kind) && <WhereChoice where={where} place={i.kind} columns={4} />}
    </Work>
  );
}
