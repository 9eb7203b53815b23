// Light: an exam light; five touches, no slider to hit with a glove.

import type { Axis, Instrument } from "../../../ui/api.ts";
import { useCommand, useWords } from "../../../ui/base.tsx";
import { Choice, ProblemLine } from "../../../ui/components.tsx";
import type { Cart } from "./cart.ts";
import { instrumentName } from "./picture.tsx";

export const steps = [0, 25, 50, 75, 100];

/** The step that an axis stands at, or next to. */
export function stepOf(a: Axis): number {
  const share = a.max > a.min ? ((a.value - a.min) / (a.max - a.min)) * 100 : 0;
  return steps.reduce((best, n) => (Math.abs(n - share) < Math.abs(best - share) ? n : best));
}

function Light(p: { cart: Cart; light: Instrument; axis: Axis }) {
  const w = useWords();
  const cmd = useCommand();
  const { axis } = p;
  const set = (percent: number): void =>
    void cmd.run(() => p.cart.command("adjust", { instrument: p.light.name, set: { [axis.name]: Math.round(axis.min + ((axis.max - axis.min) * percent) / 100) } }));
  return (
    <>
      <Choice
        class="light"
        label={w.t("light.title", { instrument: instrumentName(w, p.light) })}
        testid={`light-${p.light.name}`}
        columns={5}
        value={String(stepOf(axis))}
        onChoose={(v) => set(Number(v))}
        options={steps.map((n) => ({ value: String(n), text: n === 0 ? w.t("light.off") : String(n) }))}
      />
      <ProblemLine problem={cmd.problem} />
    </>
  );
}

export function Lights(p: { cart: Cart; instruments: Instrument[] }) {
  return (
    <>
      {p.instruments.map((i) => {
        const axis = i.axes?.find((a) => a.name === "brightness");
        return i.kind === "light" && i.health.state === "live" && axis ? <Light key={i.name} cart={p.cart} light={i} axis={axis} /> : null;
      })}
    </>
  );
}
