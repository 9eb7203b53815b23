// Measure: what an instrument shows, a cuff that starts at the nurse's touch, and what she measured herself.

import { useState } from "preact/hooks";
import type { BedsideItem, BedsideState, Instrument } from "../../../ui/api.ts";
import { useCommand, useWords } from "../../../ui/base.tsx";
import { Button, Choice, ProblemLine } from "../../../ui/components.tsx";
import { byHand, measuresPatient, noNumber, savable, vitals } from "../../../ui/readings.ts";
import { VitalTile } from "../../../ui/vitals.tsx";
import { ByHand } from "./byhand.tsx";
import type { Cart } from "./cart.ts";
import { instrumentName } from "./picture.tsx";
import { isPlace, useWhere, type Where, WhereChoice, Work } from "./work.tsx";

export interface MeasureProps {
  cart: Cart;
  items: BedsideItem[];
  meters: Instrument[];
  practice: boolean;
  onBack(): void;
}

/** What each of the ways to measure gets. */
export interface WayProps extends MeasureProps {
  choose: preact.ComponentChildren; // which way
  where: Where;
  saving: boolean;
  outcome: preact.ComponentChildren; // "saved", or why not
  save(verb: string, args: Record<string, unknown>): Promise<boolean>;
}

export function Measure(p: MeasureProps) {
  const w = useWords();
  const cmd = useCommand();
  const where = useWhere();
  const [chosen, choose] = useState<string>();
  const [savedAt, setSavedAt] = useState<string>();
  const meter = p.meters.find((i) => i.name === chosen) ?? (chosen === byHand ? undefined : p.meters[0]);
  const save = async (verb: string, args: Record<string, unknown>): Promise<boolean> => {
    setSavedAt(undefined);
    const ok = await cmd.run(() => p.cart.command(verb, { ...args, ...where.args }).then(() => true));
    if (!ok) return false;
    setSavedAt(new Date().toISOString());
    where.clear();
    return true;
  };
  const way: WayProps = {
    ...p,
    where,
    saving: cmd.busy,
    save,
    outcome: (
      <>
        {savedAt && (
          <p class="done" role="status" data-testid="saved">
            {w.t("capture.saved", { time: w.time(savedAt) })}
          </p>
        )}
        <ProblemLine problem={cmd.problem} />
      </>
    ),
    choose: (
      <Choice
        label={w.t("capture.measure.which")}
        testid="meter"
        value={meter?.name ?? byHand}
        columns={1}
        onChoose={(v) => {
          choose(v);
          setSavedAt(undefined);
          cmd.clear();
          where.clear();
        }}
        options={[...p.meters.map((m) => ({ value: m.name, text: instrumentName(w, m) })), { value: byHand, text: w.t("method.by-hand") }]}
      />
    ),
  };
  if (!meter) return <ByHand {...way} />;
  return meter.kind === "cuff" ? <Cuff key={meter.name} {...way} cuff={meter} /> : <Meter key={meter.name} {...way} meter={meter} />;
}

function Meter(p: WayProps & { meter: Instrument }) {
  const w = useWords();
  return (
    <Work
      testid="view-measure"
      choose={p.choose}
      onBack={p.onBack}
      actions={
        <>
          <Button testid="btn-measure-save" look="primary" off={p.saving || !savable(p.meter) || (p.meter.grade === "uncalibrated" && !p.practice)} onPress={() => void p.save("reading", { instrument: p.meter.name })}>
            {w.t("capture.measure.save")}
          </Button>
          {p.outcome}
        </>
      }
    >
      <ul class="vital-list large" data-testid="measure-values">
        {vitals([p.meter]).map((v) => (
          <VitalTile key={v.quantity} v={v} />
        ))}
      </ul>
      {isPlace(p.meter.kind) && <WhereChoice where={p.where} place={p.meter.kind} columns={p.meter.kind === "oximeter" ? 4 : 3} />}
    </Work>
  );
}

/** Is the cuff at work now? */
export function working(cuff: Instrument): boolean {
  return cuff.kind === "cuff" && (cuff.health.reason === "measuring" || cuff.health.reason === "still-full") && cuff.health.state !== "absent";
}

/** The pressure in the cuff now; undefined before it has said one. */
function pressureNow(cuff: Instrument): string | undefined {
  return cuff.readings.find((x) => x.quantity === "cuff-pressure" && x.text !== "")?.text;
}

function CuffStop(p: { cart: Cart; cuff: Instrument; testid: string; class?: string }) {
  const w = useWords();
  const cmd = useCommand();
  return (
    <>
      <Button testid={p.testid} look="danger" {...(p.class && { class: p.class })} onPress={() => void cmd.run(() => p.cart.command("stop-measure", { instrument: p.cuff.name }))}>
        {w.t("cuff.stop")}
      </Button>
      <ProblemLine problem={cmd.problem} />
    </>
  );
}

/** The size is chosen anew for every measurement: the last patient's must not press the next one's arm. */
function Cuff(p: WayProps & { cuff: Instrument }) {
  const w = useWords();
  const cmd = useCommand();
  const [size, setSize] = useState("");
  const name = p.cuff.name;
  if (working(p.cuff)) {
    const now = pressureNow(p.cuff);
    return (
      <Work testid="view-measure" choose={p.choose} onBack={p.onBack} actions={p.outcome}>
        <p class="cuff-now num" role="status" data-testid="cuff-pressure">
          <strong>{now ?? noNumber}</strong>
          <span>{w.t("cuff.in")}</span>
        </p>
        <p class={p.cuff.health.reason === "measuring" ? "lead" : "lead problem"}>{w.code("reason.", p.cuff.health.reason ?? "measuring")}</p>
        <CuffStop cart={p.cart} cuff={p.cuff} testid="btn-cuff-stop" class="huge" />
      </Work>
    );
  }
  const start = (): void =>
    void cmd.run(async () => {
      await p.cart.command("measure", { instrument: name, mode: size });
      setSize("");
    });
  const ready = p.cuff.health.state === "live";
  const result = savable(p.cuff);
  return (
    <Work
      testid="view-measure"
      choose={p.choose}
      onBack={p.onBack}
      actions={
        <>
          <Button testid="btn-cuff-start" look={result && size === "" ? "plain" : "primary"} off={cmd.busy || !ready || size === ""} onPress={start}>
            {w.t("cuff.start")}
          </Button>
          {size === "" && ready && <p class="muted">{w.t("cuff.size.first")}</p>}
          {result && (
            <Button testid="btn-measure-save" look={size === "" ? "primary" : "plain"} off={p.saving} onPress={() => void p.save("reading", { instrument: name })}>
              {w.t("capture.measure.save")}
            </Button>
          )}
          {p.outcome}
          <ProblemLine problem={cmd.problem} />
        </>
      }
    >
      <Choice
        label={w.t("cuff.size")}
        testid="cuff-size"
        columns={3}
        value={size}
        onChoose={setSize}
        options={(p.cuff.modes ?? []).map((m) => ({ value: m, text: w.code("cuff.size.", m) }))}
      />
      <ul class="vital-list large" data-testid="measure-values">
        {vitals([p.cuff]).map((v) => (
          <VitalTile key={v.quantity} v={v} />
        ))}
      </ul>
      <div class="where-row">
        <WhereChoice where={p.where} place="cuff" columns={3} />
      </div>
    </Work>
  );
}

/** On every other screen while a cuff is at work: stopping it is one touch away. */
export function CuffBar(p: { s: BedsideState; cart: Cart }) {
  const w = useWords();
  return (
    <>
      {p.s.instruments.filter(working).map((i) => (
        <div class="bar cuff-bar" key={i.name} data-testid="cuff-bar">
          <p class="grow">
            <strong>{instrumentName(w, i)}: </strong>
            {i.health.reason === "measuring" ? `${pressureNow(i) ?? noNumber} ${w.t("cuff.in")}` : w.code("reason.", i.health.reason ?? "")}
          </p>
          <CuffStop cart={p.cart} cuff={i} testid="btn-cuff-stop-bar" />
        </div>
      ))}
    </>
  );
}

/** What can be measured with, among the instruments. */
export function metersOf(instruments: Instrument[]): Instrument[] {
  return instruments.filter(measuresPatient);
}
