// Vital signs: large, neutral, in fixed places. Not a monitor.

import type { Instrument } from "./api.ts";
import { useNow, useWords } from "./base.tsx";
import { noNumber, pressure, type Vital, vitals } from "./readings.ts";
import type { Words } from "./strings/words.ts";

/** What a quantity is called; what reads "118/74" has a name of its own. */
export function quantityWords(w: Words, quantity: string): string {
  return quantity === pressure ? w.t("vitals.pressure") : w.code("quantity.", quantity);
}

/** How a value was come by, in words: what matters when somebody else reads it. */
export function howWords(w: Words, v: Vital, nowMs: number): string {
  const parts = [
    v.method && v.text !== noNumber && w.code("method.", v.method),
    v.grade && w.code("grade.", v.grade),
    v.model,
    v.side && w.code("side.", v.side),
    v.site && w.code("site.", v.site),
    v.at && w.ago(nowMs - Date.parse(v.at)),
  ];
  return parts.filter(Boolean).join(", ");
}

/** Why there is no number, or that it is old. */
export function whyWords(w: Words, v: Vital, nowMs: number): string {
  if (v.oldSince) return w.t("vitals.stale", { age: w.ago(nowMs - Date.parse(v.oldSince)) });
  if (!v.reason) return "";
  const reason = w.code("reason.", v.reason);
  return v.instrument ? w.t("vitals.why", { instrument: w.code("instrument.name.", v.instrument), reason }) : reason;
}

export function alsoWords(w: Words, v: Vital): string {
  return (v.also ?? []).map((a) => `${w.code("quantity.", a.quantity)} ${a.text} ${w.code("unit.", a.unit)}`).join(", ");
}

export function VitalTile({ v }: { v: Vital }) {
  const w = useWords();
  const now = useNow();
  const also = alsoWords(w, v);
  const how = howWords(w, v, now);
  return (
    <li class={`vital ${v.oldSince ? "old" : ""} ${v.quantity === pressure ? "wide" : ""}`} data-testid={`vital-${v.quantity}`} data-instrument={v.instrument} data-value={v.text}>
      <span class="name">{quantityWords(w, v.quantity)}</span>
      <span class="value num">
        {v.text} {v.text !== noNumber && <span class="unit">{w.code("unit.", v.unit)}</span>}
      </span>
      <span class="why">{whyWords(w, v, now)}</span>
      {also && <span class="how">{also}</span>}
      {(v.twin || how) && (
        <span class="how">
          {v.twin && <span class="twin">{w.t("word.twin")}</span>} {how}
        </span>
      )}
    </li>
  );
}

/** hand: what a person measured, after what instruments do. */
export function Vitals(p: { instruments: Instrument[]; hand: Vital[] }) {
  const w = useWords();
  const all = [...vitals(p.instruments), ...p.hand];
  return (
    <section class="vitals" data-testid="vitals">
      {all.length === 0 && <p class="muted">{w.t("vitals.empty")}</p>}
      <ul class="vital-list">
        {all.map((v) => (
          <VitalTile key={v.instrument + v.quantity} v={v} />
        ))}
      </ul>
      <p class="not-monitor" data-testid="not-monitor">
        {w.t("vitals.not-monitor")}
      </p>
    </section>
  );
}
