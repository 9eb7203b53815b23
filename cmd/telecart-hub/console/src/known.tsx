// What is known: the vital signs with their trend over the cited grey band, and the timeline.

import type { ConsoleCart, ConsoleEncounter, ConsoleItem } from "../../../ui/api.ts";
import { useNow, useWords } from "../../../ui/base.tsx";
import { StateView } from "../../../ui/components.tsx";
import { ageMonths, band, byHand, handOrder, handVitals, noNumber, type Saved, type Vital, vitals } from "../../../ui/readings.ts";
import type { ViewState } from "../../../ui/viewstate.ts";
import { alsoWords, howWords, quantityWords, whyWords } from "../../../ui/vitals.tsx";
import { isTrend, seriesOf, Trend, type Point } from "../../../ui/wave.tsx";
import type { Hub } from "./hub.ts";
import { knownState } from "./states.ts";
import { Timeline } from "./timeline.tsx";

/** Saved values and live ones, in order of time; what was entered in error is no part of a trend, and what a person measured
 * is none of an instrument's. */
export function trendPoints(items: ConsoleItem[], live: Point[], quantity: string, by: "instrument" | "hand"): Point[] {
  const saved = items
    .filter((i) => i.kind === "reading" && i.reading?.quantity === quantity && !i.reading.absent && !i.corrected)
    .filter((i) => (i.reading?.method === byHand) === (by === "hand"))
    .map((i) => ({ at: Date.parse(i.at), value: i.reading!.value, series: seriesOf(i.instrument, { ...i.reading, ...(i.side && { side: i.side }) }), hand: by === "hand" }));
  const all = [...saved, ...(by === "hand" ? [] : live)].sort((a, b) => a.at - b.at);
  const seen = new Set<string>();
  return all.filter((x) => {
    const key = `${x.at} ${x.series}`;
    return !seen.has(key) && seen.add(key);
  });
}

/** Of a vital sign that has several quantities, each is a line of its own. */
export function vitalPoints(v: Vital, items: ConsoleItem[], live: (quantity: string) => Point[]): Point[] {
  return v.of
    .flatMap((q) => trendPoints(items, live(q), q, v.instrument === "" ? "hand" : "instrument").map((x) => ({ ...x, series: `${q}\n${x.series}` })))
    .sort((a, b) => a.at - b.at);
}

/** The items as saved values. */
export function savedValues(items: ConsoleItem[]): Saved[] {
  return items.flatMap((i) =>
    i.reading && !i.reading.absent
      ? [{ quantity: i.reading.quantity, text: i.reading.text, unit: i.reading.unit, at: i.at, method: i.reading.method, site: i.site, side: i.side, model: i.model, wrong: i.corrected !== undefined && i.corrected.reason !== "wrong-side" }]
      : [],
  );
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
    <section class={`pane known ${state ? "scroll" : ""}`} aria-label={w.t("console.known")} data-testid="known">
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
          <div class="scroll">
            <KnownVitals hub={p.hub} cart={p.cart} encounter={p.encounter} />
          </div>
          <div class="scroll">
            <Timeline cart={p.cart} encounter={p.encounter} open={p.open} onOpen={p.onOpen} />
          </div>
        </>
      )}
    </section>
  );
}

function KnownVitals(p: { hub: Hub; cart: ConsoleCart; encounter: ConsoleEncounter }) {
  const w = useWords();
  const now = useNow();
  const { items } = p.encounter;
  const patient = p.encounter.summary.patient;
  const months = ageMonths(patient, new Date(now)) ?? (patient?.age === undefined ? undefined : patient.age * 12);
  const all = [...vitals(p.cart.instruments), ...handVitals(savedValues(items), handOrder)];
  return (
    <section class="vitals" data-testid="vitals">
      {all.length === 0 && <p class="muted">{w.t("vitals.empty")}</p>}
      {all.map((v) => (
        <KnownVital key={v.instrument + v.quantity} v={v} months={months} points={vitalPoints(v, items, (q) => p.hub.trend(p.cart.cart, q))} />
      ))}
      <p class="not-monitor" data-testid="not-monitor">
        {w.t("vitals.not-monitor")}
      </p>
    </section>
  );
}

function KnownVital({ v, months, points }: { v: Vital; months: number | undefined; points: Point[] }) {
  const w = useWords();
  const now = useNow();
  const b = band(v.quantity, months);
  const quantity = quantityWords(w, v.quantity);
  const how = howWords(w, v, now);
  return (
    <div class={`vital ${v.oldSince ? "old" : ""} ${isTrend(points) ? "" : "flat"}`} data-testid={`vital-${v.quantity}`} data-instrument={v.instrument} data-value={v.text}>
      <div>
        <span class="name">{quantity}</span>
        <span class="value num">
          {v.text} {v.text !== noNumber && <span class="unit">{w.code("unit.", v.unit)}</span>}
        </span>
        <span class="why">{whyWords(w, v, now)}</span>
        {v.also && <small>{alsoWords(w, v)}</small>}
        {(v.twin || how) && (
          <small>
            {v.twin && <span class="twin">{w.t("word.twin")}</span>} {how}
          </small>
        )}
      </div>
      {isTrend(points) && (
        <div class="trend-box">
          <Trend points={points} band={b} label={w.t("vitals.trend", { quantity })} />
          {b && <small class="muted">{w.t("vitals.range", { low: b.low, high: b.high, source: b.source })}</small>}
        </div>
      )}
    </div>
  );
}
