// What is known: the vital signs with their trend over the cited grey band, the live wave, the timeline.

import type { ConsoleCart, ConsoleEncounter, ConsoleItem } from "../../../ui/api.ts";
import { useNow, useWords } from "../../../ui/base.tsx";
import { StateView } from "../../../ui/components.tsx";
import { ageMonths, band, noNumber, vitals } from "../../../ui/readings.ts";
import type { ViewState } from "../../../ui/viewstate.ts";
import { LiveWave, seriesOf, Trend, type Point } from "../../../ui/wave.tsx";
import type { Hub } from "./hub.ts";
import { knownState } from "./states.ts";
import { Timeline } from "./timeline.tsx";

/** Saved values and live ones, in order of time; what was entered in error is no part of a trend. */
export function trendPoints(items: ConsoleItem[], live: Point[], quantity: string): Point[] {
  const saved = items
    .filter((i) => i.kind === "reading" && i.reading?.quantity === quantity && !i.reading.absent && !i.corrected)
    .map((i) => ({ at: Date.parse(i.at), value: i.reading!.value, series: seriesOf(i.instrument, { ...i.reading, ...(i.side && { side: i.side }) }) }));
  return [...saved, ...live].sort((a, b) => a.at - b.at).filter((x, n, all) => n === 0 || x.at > all[n - 1]!.at);
}

export function Known(p: {
  hub: Hub;
  cart: ConsoleCart | undefined;
  encounter: ConsoleEncounter | undefined;
  open: string | undefined;
  onOpen(i: ConsoleItem): void;
  forced?: ViewState | undefined;
}) {
  const w = useWords();
  const state = p.forced ?? knownState(p.cart, p.encounter);
  return (
    <section class="pane known scroll" aria-label={w.t("console.known")} data-testid="known">
      {state || !p.cart || !p.encounter ? (
        <StateView state={state ?? { kind: "loading", what: "known.view" }} />
      ) : (
        <>
          {p.encounter.name_alert && p.encounter.name_alert.length > 0 && (
            <p class="alert-line" data-testid="name-alert">
              <strong>{w.t("name-alert.title")}. </strong>
              {w.t("name-alert.what", { names: w.list(p.encounter.name_alert.map((x) => x.name ?? x.id)) })}
            </p>
          )}
          <KnownVitals hub={p.hub} cart={p.cart} encounter={p.encounter} />
          <Timeline cart={p.cart} encounter={p.encounter} open={p.open} onOpen={p.onOpen} />
        </>
      )}
    </section>
  );
}

function KnownVitals(p: { hub: Hub; cart: ConsoleCart; encounter: ConsoleEncounter }) {
  const w = useWords();
  const now = useNow();
  const patient = p.encounter.summary.patient;
  const months = ageMonths(patient, new Date(now)) ?? (patient?.age === undefined ? undefined : patient.age * 12);
  const oximeter = p.cart.instruments.find((i) => i.kind === "oximeter");
  const all = vitals(p.cart.instruments);
  return (
    <section class="vitals" data-testid="vitals">
      {all.length === 0 && <p class="muted">{w.t("vitals.empty")}</p>}
      {all.map((v) => {
        const b = band(v.quantity, months);
        const points = trendPoints(p.encounter.items, p.hub.trend(p.cart.cart, v.quantity), v.quantity);
        const quantity = w.code("quantity.", v.quantity);
        return (
          <div key={v.instrument + v.quantity} class={`vital ${v.oldSince ? "old" : ""}`} data-testid={`vital-${v.quantity}`} data-value={v.text}>
            <div>
              <span class="name">{quantity}</span>
              <span class="value num">
                {v.text} {v.text !== noNumber && <span class="unit">{w.code("unit.", v.unit)}</span>}
              </span>
              <span class="why">
                {v.oldSince ? w.t("vitals.stale", { age: w.ago(now - Date.parse(v.oldSince)) }) : v.reason ? w.code("reason.", v.reason) : ""}
              </span>
              {v.twin && (
                <span>
                  <span class="twin">{w.t("word.twin")}</span>
                </span>
              )}
            </div>
            <div class="trend-box">
              {points.length > 1 && <Trend points={points} band={b} label={w.t("vitals.trend", { quantity })} />}
              {b && points.length > 1 && <small class="muted">{w.t("vitals.range", { low: b.low, high: b.high, source: b.source })}</small>}
            </div>
          </div>
        );
      })}
      {oximeter && oximeter.health.state === "live" && p.cart.consult?.phase === "live" && (
        <div class="wave-box">
          <LiveWave testid="wave-pleth" ring={p.hub.ring(p.cart.cart, oximeter.name, "pleth")} label={w.t("wave.title", { quantity: w.t("quantity.pleth"), instrument: w.code("instrument.name.", oximeter.name) })} />
        </div>
      )}
      <p class="not-monitor" data-testid="not-monitor">
        {w.t("vitals.not-monitor")}
      </p>
    </section>
  );
}
