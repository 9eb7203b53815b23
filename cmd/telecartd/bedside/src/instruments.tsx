// Instruments: the live picture, the live wave, the vital signs, and how each instrument is.

import type { Instrument } from "../../../ui/api.ts";
import { useCommand, useNow, useWords } from "../../../ui/base.tsx";
import { Choice, ProblemLine, Scroller, StateView } from "../../../ui/components.tsx";
import { Vitals } from "../../../ui/vitals.tsx";
import { LiveWave } from "../../../ui/wave.tsx";
import type { Cart } from "./cart.ts";
import { instrumentName, Picture } from "./picture.tsx";
import { viewState } from "./states.ts";
import type { ViewProps } from "./view.ts";

/** What each kind draws. */
const drawn: Partial<Record<Instrument["kind"], string>> = { oximeter: "pleth", ecg: "ecg", stethoscope: "phonogram" };

export function InstrumentsView(p: ViewProps) {
  const w = useWords();
  const state = p.forced ?? viewState("instruments", p.s);
  if (state) return <StateView state={state} />;
  const cameras = p.s.instruments.filter((i) => i.kind === "camera");
  const now = useNow();
  const waves = p.s.instruments.flatMap((i) => (i.health.state === "live" && drawn[i.kind] ? [{ i, quantity: drawn[i.kind]! }] : []));
  const lights = p.s.instruments.filter((i) => i.kind === "light");
  return (
    <div class="task-view" data-testid="view-instruments">
      <div class="col grow">
        <Picture cart={p.cart} cameras={cameras} camera={p.camera} onCamera={p.onCamera} />
        {waves.slice(0, 2).map(({ i, quantity }) => {
          const title = w.t("wave.title", { quantity: w.code("quantity.", quantity), instrument: instrumentName(w, i) });
          return (
            <div class="wave-box" key={i.name}>
              <small>
                {title} {i.twin && <span class="twin">{w.t("word.twin")}</span>}
              </small>
              <LiveWave testid={`wave-${quantity}`} ring={p.cart.ring(i.name, quantity)} label={title} />
            </div>
          );
        })}
      </div>
      <Scroller class="side">
        <Vitals instruments={p.s.instruments} />
        {lights.map((l) => (
          <Light key={l.name} cart={p.cart} light={l} />
        ))}
        <ul class="health">
          {p.s.instruments.map((i) => (
            <li key={i.name} data-testid={`instrument-${i.name}`} data-state={i.health.state}>
              <strong>{instrumentName(w, i)}</strong>
              <span>
                {`${w.t(`health.${i.health.state}`)}${i.health.reason ? `: ${w.code("reason.", i.health.reason)}` : ""}`}
                {i.health.state === "absent" && ` (${w.ago(Math.max(0, now - Date.parse(i.since)))})`}
              </span>
              {i.grade && <span>{w.t(`grade.${i.grade}`)}</span>}
              {i.twin && <span class="twin">{w.t("word.twin")}</span>}
            </li>
          ))}
        </ul>
      </Scroller>
    </div>
  );
}

const steps = [0, 25, 50, 75, 100];

/** An exam light: five touches, no slider to hit with a glove. */
function Light(p: { cart: Cart; light: Instrument }) {
  const w = useWords();
  const cmd = useCommand();
  const axis = p.light.axes?.find((a) => a.name === "brightness");
  if (!axis || p.light.health.state !== "live") return null;
  const share = Math.round(((axis.value - axis.min) / (axis.max - axis.min)) * 100);
  const nearest = steps.reduce((a, b) => (Math.abs(b - share) < Math.abs(a - share) ? b : a));
  return (
    <>
      <Choice
        label={instrumentName(w, p.light)}
        testid={`light-${p.light.name}`}
        columns={5}
        value={String(nearest)}
        onChoose={(v) => void cmd.run(() => p.cart.command("adjust", { instrument: p.light.name, set: { brightness: Math.round(axis.min + ((axis.max - axis.min) * Number(v)) / 100) } }))}
        options={steps.map((n) => ({ value: String(n), text: n === 0 ? w.t("light.off") : `${n} %` }))}
      />
      <ProblemLine problem={cmd.problem} />
    </>
  );
}
