// Measure: what an instrument shows, a cuff that starts at the nurse's touch, and what she measured herself.

import { useEffect, useRef, useState } from "preact/hooks";
import type { Instrument } from "../../../ui/api.ts";
import { useCommand, useNow, useWords } from "../../../ui/base.tsx";
import { Button, Choice, ProblemLine } from "../../../ui/components.tsx";
import { noNumber, savable, vitals } from "../../../ui/readings.ts";
import type { Key } from "../../../ui/strings/words.ts";
import type { Cart } from "./cart.ts";
import { instrumentName } from "./picture.tsx";
import { TapCounter, wholeMs } from "./tap.ts";

export const byHand = "by-hand";

interface Props {
  cart: Cart;
  meters: Instrument[];
  busy: boolean;
  save(verb: string, args: Record<string, unknown>): void;
  where(kind: string): preact.ComponentChildren; // side and site, for what is measured there
}

export function Measure(p: Props) {
  const w = useWords();
  const [chosen, choose] = useState<string>();
  const meter = p.meters.find((i) => i.name === chosen) ?? (chosen === byHand ? undefined : p.meters[0]);
  return (
    <>
      <Choice
        class="meter"
        label={w.t("capture.measure.which")}
        testid="meter"
        value={meter?.name ?? byHand}
        columns={2}
        onChoose={choose}
        options={[...p.meters.map((m) => ({ value: m.name, text: instrumentName(w, m) })), { value: byHand, text: w.t("method.by-hand") }]}
      />
      {!meter ? <ByHand {...p} /> : meter.kind === "cuff" ? <Cuff key={meter.name} {...p} cuff={meter} /> : <Meter {...p} meter={meter} />}
    </>
  );
}

function Twin({ i }: { i: Instrument }) {
  const w = useWords();
  return i.twin ? (
    <p>
      <span class="twin">{w.t("word.twin")}</span>
    </p>
  ) : null;
}

function Meter(p: Props & { meter: Instrument }) {
  const w = useWords();
  return (
    <>
      <Twin i={p.meter} />
      <p class="measure-values num" data-testid="measure-values">
        {vitals([p.meter]).map((v) => `${w.code("quantity.", v.quantity)} ${v.text}${v.reason ? ` (${w.code("reason.", v.reason)})` : ` ${w.code("unit.", v.unit)}`}`).join("  ·  ")}
      </p>
      {p.meter.grade === "uncalibrated" && <p>{w.t("grade.uncalibrated")}</p>}
      <Button testid="btn-measure-save" look="primary" off={p.busy || !savable(p.meter)} onPress={() => p.save("reading", { instrument: p.meter.name })}>
        {w.t("capture.measure.save")}
      </Button>
      {p.where(p.meter.kind)}
    </>
  );
}

/** The size is chosen anew for every measurement: the last patient's must not press the next one's arm. */
function Cuff(p: Props & { cuff: Instrument }) {
  const w = useWords();
  const cmd = useCommand();
  const [size, setSize] = useState("");
  const working = p.cuff.health.reason === "measuring";
  const now = p.cuff.readings.find((r) => r.quantity === "cuff-pressure" && r.text !== "");
  const results = vitals([p.cuff]).filter((v) => v.quantity !== "cuff-pressure");
  const ready = p.cuff.health.state === "live" && !working;
  return (
    <>
      <Twin i={p.cuff} />
      {working ? (
        <>
          <p class="measure-values num" role="status" data-testid="cuff-pressure">
            {now ? w.t("cuff.now", { n: now.text }) : w.t("cuff.starting")}
          </p>
          <Button testid="btn-cuff-stop" look="danger" class="huge" onPress={() => void cmd.run(() => p.cart.command("stop-measure", { instrument: p.cuff.name }))}>
            {w.t("cuff.stop")}
          </Button>
        </>
      ) : (
        <>
          <Choice
            label={w.t("cuff.size")}
            testid="cuff-size"
            columns={3}
            value={size}
            onChoose={setSize}
            options={(p.cuff.modes ?? []).map((m) => ({ value: m, text: w.code("cuff.size.", m) }))}
          />
          <Button
            testid="btn-cuff-start"
            look="primary"
            off={cmd.busy || !ready || size === ""}
            onPress={() =>
              void cmd.run(async () => {
                await p.cart.command("measure", { instrument: p.cuff.name, mode: size });
                setSize("");
              })
            }
          >
            {w.t("cuff.start")}
          </Button>
          <p class="measure-values num" data-testid="measure-values">
            {results.map((v) => `${w.code("quantity.", v.quantity)} ${v.text}${v.text === noNumber ? "" : ` ${w.code("unit.", v.unit)}`}`).join("  ·  ")}
          </p>
          {p.cuff.health.reason && <p role="status">{w.code("reason.", p.cuff.health.reason)}</p>}
          <Button testid="btn-measure-save" off={p.busy || !results.some((v) => v.text !== noNumber)} onPress={() => p.save("reading", { instrument: p.cuff.name })}>
            {w.t("capture.measure.save")}
          </Button>
          {p.where("cuff")}
        </>
      )}
      <ProblemLine problem={cmd.problem} />
    </>
  );
}

/** What is entered by hand: the same names as in the table of quantities, in the order of a visit. */
const hand = [
  ["respiratory-rate"],
  ["body-temperature"],
  ["systolic-pressure", "diastolic-pressure"],
  ["pulse-rate"],
  ["oxygen-saturation"],
  ["body-weight"],
  ["body-height"],
  ["head-circumference"],
  ["pain-score"],
] as const;

function ByHand(p: Props) {
  const w = useWords();
  const [at, setAt] = useState(0);
  const [values, setValues] = useState<Record<string, string>>({});
  const [field, setField] = useState(0);
  const quantities = hand[at]!;
  const active = quantities[Math.min(field, quantities.length - 1)]!;
  const write = (q: string, v: string): void => setValues((old) => ({ ...old, [q]: v.slice(0, 6) }));
  const text = values[active] ?? "";
  const complete = quantities.every((q) => /^\d+(\.\d+)?$/.test(values[q] ?? ""));
  return (
    <>
      <Choice
        label={w.t("hand.what")}
        testid="hand"
        columns={2}
        value={String(at)}
        onChoose={(v) => {
          setAt(Number(v));
          setField(0);
          setValues({});
        }}
        options={hand.map((qs, i) => ({ value: String(i), text: qs.length > 1 ? w.t("hand.pressure") : w.t(`quantity.${qs[0]}` as Key) }))}
      />
      {quantities[0] === "respiratory-rate" && <Breaths key={at} onRate={(n) => write("respiratory-rate", String(n))} />}
      <div class="row">
        {quantities.map((q, i) => (
          <Button key={q} testid={`hand-${q}`} class="grow num" pressed={q === active} onPress={() => setField(i)}>
            {`${w.t(`quantity.${q}` as Key)} ${values[q] || noNumber}`}
          </Button>
        ))}
      </div>
      <div class="pad" dir="ltr" role="group" aria-label={w.t("key.label")}>
        {["1", "2", "3", "4", "5", "6", "7", "8", "9", ".", "0"].map((c) => (
          <Button key={c} testid={`pad-${c}`} off={c === "." && text.includes(".")} onPress={() => write(active, text + c)}>
            {c}
          </Button>
        ))}
        <Button testid="pad-delete" onPress={() => write(active, text.slice(0, -1))}>
          {w.t("key.delete")}
        </Button>
      </div>
      <Button
        testid="btn-hand-save"
        look="primary"
        off={p.busy || !complete}
        onPress={() => p.save("by-hand", { values: quantities.map((q) => ({ quantity: q, value: values[q] })) })}
      >
        {w.t("capture.measure.save")}
      </Button>
      {p.where("thermometer")}
    </>
  );
}

/** One touch a breath. */
function Breaths(p: { onRate(n: number): void }) {
  const w = useWords();
  const counter = useRef(new TapCounter());
  const [count, setCount] = useState(0);
  useNow();
  const now = performance.now();
  const c = counter.current;
  const rate = c.rate(now);
  const left = Math.ceil((wholeMs - c.elapsed(now)) / 1000);
  const done = c.done(now);
  useEffect(() => {
    if (done && rate !== undefined) p.onRate(rate);
  }, [done]);
  return (
    <>
      <Button
        testid="btn-tap"
        look={done ? "plain" : "primary"}
        class="huge"
        onPress={() => {
          if (done) counter.current = new TapCounter();
          counter.current.tap(performance.now());
          setCount(counter.current.count);
        }}
      >
        {done ? w.t("breaths.again") : w.t("breaths.tap")}
      </Button>
      <div class="row">
        <p class="grow num" role="status" data-testid="breaths">
          {count === 0 ? w.t("breaths.how") : done ? w.t("breaths.done", { n: rate ?? 0 }) : w.t("breaths.counting", { n: Math.max(0, count - 1), left })}
        </p>
        {!done && rate !== undefined && (
          <Button testid="btn-breaths-use" onPress={() => p.onRate(rate)}>
            {w.t("breaths.use", { n: rate })}
          </Button>
        )}
      </div>
    </>
  );
}
