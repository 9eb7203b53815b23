// Vital signs: large, neutral, in fixed places. Not a monitor.

import type { Instrument } from "./api.ts";
import { useNow, useWords } from "./base.tsx";
import { noNumber, vitals } from "./readings.ts";

export function Vitals(p: { instruments: Instrument[] }) {
  const w = useWords();
  const now = useNow();
  const all = vitals(p.instruments);
  return (
    <section class="vitals" data-testid="vitals">
      {all.length === 0 && <p class="muted">{w.t("vitals.empty")}</p>}
      <ul class="vital-list">
        {all.map((v) => (
          <li key={v.instrument + v.quantity} class={`vital ${v.oldSince ? "old" : ""}`} data-testid={`vital-${v.quantity}`} data-instrument={v.instrument} data-value={v.text}>
            <span class="name">{w.code("quantity.", v.quantity)}</span>
            <span class="value num">
              {v.text} {v.text !== noNumber && <span class="unit">{w.code("unit.", v.unit)}</span>}
            </span>
            <span class="why">
              {v.oldSince
                ? w.t("vitals.stale", { age: w.ago(now - Date.parse(v.oldSince)) })
                : v.reason
                  ? `${w.code("instrument.name.", v.instrument)}: ${w.code("reason.", v.reason)}`
                  : ""}
            </span>
            {(v.method || v.grade) && (
              <span class="why">{[v.method && w.code("method.", v.method), v.grade && w.code("grade.", v.grade)].filter(Boolean).join(", ")}</span>
            )}
            {v.at && <span class="why">{w.ago(now - Date.parse(v.at))}</span>}
            {v.twin && (
              <span>
                <span class="twin">{w.t("word.twin")}</span>
              </span>
            )}
          </li>
        ))}
      </ul>
      <p class="not-monitor" data-testid="not-monitor">
        {w.t("vitals.not-monitor")}
      </p>
    </section>
  );
}
