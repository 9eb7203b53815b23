// By hand: what the nurse measured herself. First what it is, then the number: large keys for gloves, nothing to scroll.

import { useEffect, useRef, useState } from "preact/hooks";
import { useNow, useWords } from "../../../ui/base.tsx";
import { Button } from "../../../ui/components.tsx";
import { handOrder, handVitals, noNumber, pressure, type Saved } from "../../../ui/readings.ts";
import { loadDevices, saveDevice } from "../../../ui/settings.ts";
import type { BedsideItem } from "../../../ui/api.ts";
import { quantityWords } from "../../../ui/vitals.tsx";
import type { WayProps } from "./measure.tsx";
import { TapCounter, wholeMs } from "./tap.ts";
import { Typing } from "./typing.tsx";
import { type Place, WhereChoice, Work } from "./work.tsx";

type What = (typeof handOrder)[number];

interface Entry { quantity: string; unit: string; point: boolean } // point: it has digits after one

const entries: Record<What, Entry[]> = {
  "respiratory-rate": [{ quantity: "respiratory-rate", unit: "/min", point: false }],
  "body-temperature": [{ quantity: "body-temperature", unit: "Cel", point: true }],
  [pressure]: [
    { quantity: "systolic-pressure", unit: "mm[Hg]", point: false },
    { quantity: "diastolic-pressure", unit: "mm[Hg]", point: false },
  ],
  "pulse-rate": [{ quantity: "pulse-rate", unit: "/min", point: false }],
  "oxygen-saturation": [{ quantity: "oxygen-saturation", unit: "%", point: false }],
  "body-weight": [{ quantity: "body-weight", unit: "kg", point: true }],
  "body-height": [{ quantity: "body-height", unit: "cm", point: true }],
  "head-circumference": [{ quantity: "head-circumference", unit: "cm", point: true }],
  "pain-score": [{ quantity: "pain-score", unit: "{score}", point: false }],
};

const places: Partial<Record<What, Place>> = { "body-temperature": "thermometer", [pressure]: "cuff", "oxygen-saturation": "oximeter" };

/** The items of this encounter as saved values. */
export function savedValues(items: BedsideItem[]): Saved[] {
  return items
    .filter((i) => i.kind === "reading")
    .map((i) => ({ quantity: i.quantity ?? "", text: i.text ?? "", unit: i.unit ?? "", at: i.at, method: i.method, site: i.site, side: i.side, wrong: i.corrected !== undefined && i.corrected !== "wrong-side" }));
}

export function ByHand(p: WayProps) {
  const w = useWords();
  const now = useNow();
  const [what, setWhat] = useState<What>();
  if (what) return <Enter key={what} {...p} what={what} onDone={() => setWhat(undefined)} />;
  const have = handVitals(savedValues(p.items), handOrder);
  return (
    <Work testid="view-measure" choose={p.choose} onBack={p.onBack} actions={p.outcome}>
      <p class="muted">{w.t("hand.what")}</p>
      <div class="hand-what">
        {handOrder.map((q) => {
          const v = have.find((x) => x.quantity === q);
          return (
            <Button
              key={q}
              testid={`hand-${q}`}
              onPress={() => {
                p.where.clear();
                setWhat(q);
              }}
            >
              {quantityWords(w, q)}
              {v && (
                <small class="num">
                  {`${v.text} ${w.code("unit.", v.unit)}`}
                  <br />
                  {w.ago(now - Date.parse(v.at ?? ""))}
                </small>
              )}
            </Button>
          );
        })}
      </div>
    </Work>
  );
}

const longest = 6; // keys
const longestDevice = 40;

/** What a key makes of what was entered: nothing that could not be a number any more. */
export function typed(text: string, key: string, point: boolean): string {
  if (key === "delete") return text.slice(0, -1);
  if (text.length >= longest) return text;
  if (key === ".") return !point || text.includes(".") ? text : `${text || "0"}.`;
  return text === "0" ? key : text + key;
}

export const complete = (text: string): boolean => /^\d+(\.\d+)?$/.test(text);

function Enter(p: WayProps & { what: What; onDone(): void }) {
  const w = useWords();
  const fields = entries[p.what];
  const [values, setValues] = useState<Record<string, string>>({});
  const [at, setAt] = useState(0);
  const [device, setDevice] = useState(() => loadDevices()[p.what] ?? "");
  const [naming, name] = useState<string>(); // the device, as it is being typed
  const active = fields[at]!;
  const set = (v: string): void => setValues((old) => ({ ...old, [active.quantity]: v }));
  const text = values[active.quantity] ?? "";
  const all = fields.every((f) => complete(values[f.quantity] ?? ""));
  const next = at + 1 < fields.length && complete(text);
  const place = places[p.what];
  const save = async (): Promise<void> => {
    const hand = fields.map((f) => ({ quantity: f.quantity, value: values[f.quantity] }));
    if (await p.save("by-hand", { values: hand, ...(device && { device }) })) p.onDone();
  };
  if (naming !== undefined) {
    const done = (): void => {
      setDevice(naming.trim());
      saveDevice(p.what, naming.trim());
      name(undefined);
    };
    return (
      <Typing
        title={w.t("hand.device.what")}
        fields={[{ name: "device", label: quantityWords(w, p.what), value: naming, start: "letters" }]}
        onChange={(_, v) => name(v.slice(0, longestDevice))}
        done={w.t("hand.device.done")}
        doneTestid="btn-device-done"
        onDone={done}
        onBack={() => name(undefined)}
      />
    );
  }
  return (
    <Work
      testid="view-hand"
      class="hand"
      onBack={p.onDone}
      choose={
        <>
          <h2>{quantityWords(w, p.what)}</h2>
          <div class="hand-fields">
            {fields.map((f, i) => (
              <Button key={f.quantity} testid={`hand-${f.quantity}`} class="hand-field num" pressed={i === at} onPress={() => setAt(i)}>
                {fields.length > 1 && <small>{w.code("quantity.", f.quantity)}</small>}
                <span class="big">{values[f.quantity] || noNumber}</span> {w.code("unit.", f.unit)}
              </Button>
            ))}
          </div>
          {p.what === "respiratory-rate" && <Breaths onRate={(n) => set(String(n))} />}
          {place && <WhereChoice where={p.where} place={place} columns={3} />}
        </>
      }
      actions={
        <>
          {next && !all ? (
            <Button testid="btn-hand-next" look="primary" onPress={() => setAt(at + 1)}>
              {w.t("hand.next")}
            </Button>
          ) : (
            <Button testid="btn-hand-save" look="primary" off={p.saving || !all} onPress={() => void save()}>
              {w.t("capture.measure.save")}
            </Button>
          )}
          <Button testid="btn-device" class="name" onPress={() => name(device)}>
            <small>{w.t("hand.device")}</small>
            {device || w.t("side.")}
          </Button>
          {p.outcome}
        </>
      }
    >
      <Pad point={active.point} onKey={(k) => set(typed(text, k, active.point))} />
    </Work>
  );
}

/** Digits in the order of a telephone. Keys of a keyboard are not taken: a scanner is one too. */
function Pad(p: { point: boolean; onKey(k: string): void }) {
  const w = useWords();
  return (
    <div class="pad" dir="ltr" role="group" aria-label={w.t("key.label")} data-testid="pad">
      {["1", "2", "3", "4", "5", "6", "7", "8", "9", ".", "0"].map((c) => (
        <Button key={c} testid={`pad-${c === "." ? "point" : c}`} off={c === "." && !p.point} onPress={() => p.onKey(c)}>
          {c}
        </Button>
      ))}
      <Button testid="pad-delete" class="word" onPress={() => p.onKey("delete")}>
        {w.t("key.delete")}
      </Button>
    </div>
  );
}

/** One touch a breath. */
function Breaths(p: { onRate(n: number): void }) {
  const w = useWords();
  const counter = useRef(new TapCounter());
  const [count, setCount] = useState(0);
  useNow(250);
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
      <p class="lead" role="status" data-testid="breaths">
        {count === 0 ? w.t("breaths.how") : done ? w.t("breaths.done", { n: rate ?? 0 }) : w.t("breaths.counting", { n: Math.max(0, count - 1), left })}
      </p>
      {!done && rate !== undefined && (
        <Button testid="btn-breaths-use" onPress={() => p.onRate(rate)}>
          {w.t("breaths.use", { n: rate })}
        </Button>
      )}
    </>
  );
}
