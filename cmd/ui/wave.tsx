// Waveforms and trends, drawn by uPlot in the page's own neutral ink.

import { useEffect, useRef, useState } from "preact/hooks";
import uPlot from "uplot";
import "uplot/dist/uPlot.min.css";
import type { Instrument } from "./api.ts";
import type { Band } from "./readings.ts";
import type { Ring } from "./ring.ts";

/** What each kind of instrument draws. */
export const drawn: Partial<Record<Instrument["kind"], string>> = { oximeter: "pleth", ecg: "ecg", stethoscope: "phonogram" };

/** Does it draw, as long as it is there? Its box stays while it settles: what comes and goes can't be read. */
export const drawsWave = (i: Instrument): boolean => i.kind in drawn && i.health.state !== "absent" && i.health.state !== "faulty";

function ink(el: Element, name: string): string {
  return getComputedStyle(el).getPropertyValue(name).trim();
}

/** Counts up when the page turns light or dark: a canvas does not follow by itself. */
function useLooks(): number {
  const [n, set] = useState(0);
  useEffect(() => {
    const turned = (): void => set((x) => x + 1);
    const device = matchMedia("(prefers-color-scheme: dark)");
    const chosen = new MutationObserver(turned);
    chosen.observe(document.documentElement, { attributeFilter: ["data-theme"] });
    device.addEventListener("change", turned);
    return () => {
      chosen.disconnect();
      device.removeEventListener("change", turned);
    };
  }, []);
  return n;
}

/** Draws what `make` gives into a box that keeps its size; returns where. */
function usePlot(make: (el: HTMLElement, width: number, height: number) => uPlot, deps: unknown[]) {
  const box = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot>();
  const looks = useLooks();
  useEffect(() => {
    const el = box.current;
    if (!el) return;
    const size = (): { width: number; height: number } => ({ width: Math.max(40, el.clientWidth), height: Math.max(30, el.clientHeight) });
    const s = size();
    const u = make(el, s.width, s.height);
    plot.current = u;
    const resized = new ResizeObserver(() => u.setSize(size()));
    resized.observe(el);
    return () => {
      resized.disconnect();
      u.destroy();
      plot.current = undefined;
    };
  }, [...deps, looks]);
  return { box, plot };
}

/** Without a new sample for this long, a wave is frozen: grey, as a picture is. */
const frozenAfterMs = 2000;

/** The live waveform; redrawn from the ring at most 20 times a second. */
export function LiveWave(p: { ring: Ring; label: string; testid: string }) {
  const [frozen, freeze] = useState(false);
  const { box, plot } = usePlot(
    (el, width, height) =>
      new uPlot(
        {
          width,
          height,
          padding: [5, 0, 5, 0],
          cursor: { show: false },
          legend: { show: false },
          scales: { x: { time: false, range: () => [0, Math.max(1, p.ring.most - 1)] } }, // the newest on the right, however few there are yet
          axes: [{ show: false }, { show: false }],
          series: [{}, { stroke: ink(el, "--ink"), width: 2, spanGaps: false, points: { show: false } }],
        },
        [[], []],
        el,
      ),
    [p.ring],
  );
  useEffect(() => {
    let newest = -1;
    let came = performance.now();
    const t = setInterval(() => {
      const v = p.ring.values;
      if (!plot.current || v.length === 0) return;
      if (newest === p.ring.pushed) {
        freeze(performance.now() - came >= frozenAfterMs);
        return;
      }
      newest = p.ring.pushed;
      came = performance.now();
      freeze(false);
      plot.current.setData([v.map((_, i) => p.ring.most - v.length + i), v.slice()]);
    }, 50);
    return () => clearInterval(t);
  }, [p.ring]);
  return <div class="wave" ref={box} role="img" aria-label={p.label} data-testid={p.testid} data-state={frozen ? "frozen" : "live"} />;
}

/** A whole waveform item; without its rate it has no time axis. */
export function StillWave(p: { values: number[]; rateHz?: number; label: string }) {
  const { box } = usePlot(
    (el, width, height) =>
      new uPlot(
        {
          width,
          height,
          cursor: { show: false },
          legend: { show: false },
          scales: { x: { time: false } },
          axes: [{ show: p.rateHz !== undefined, stroke: ink(el, "--muted"), grid: { show: false }, ticks: { show: false }, size: 28 }, { show: false }],
          series: [{}, { stroke: ink(el, "--ink"), width: 1.5, points: { show: false } }],
        },
        [p.values.map((_, i) => i / (p.rateHz ?? 1)), p.values],
        el,
      ),
    [p.values],
  );
  return <div class="wave tall" ref={box} role="img" aria-label={p.label} data-testid="item-wave" />;
}

/** series: what a line may join. Values of another instrument, method or place on the body are another line. */
export interface Point { at: number; value: number; series: string; hand?: boolean } // hand: a person measured it

/** What a value's line is, from all that makes it another measurement. */
export function seriesOf(instrument: string | undefined, r: { method?: string; site?: string; side?: string }): string {
  return [instrument ?? "", r.method ?? "", r.site ?? "", r.side ?? ""].join("\n");
}

/** Are there two moments to join? */
export const isTrend = (points: Point[]): boolean => points.some((x) => x.at !== points[0]!.at);

/** A trend over the grey reference band. It has no thresholds and judges nothing. */
export function Trend(p: { points: Point[]; band: Band | undefined; label: string }) {
  const last = p.points.at(-1)?.at ?? 0;
  const lines = [...new Set(p.points.map((x) => x.series))];
  const times = [...new Set(p.points.map((x) => x.at))];
  const at = new Map(p.points.map((x) => [`${x.at} ${x.series}`, x.value]));
  const dot = (el: Element, line: string) => ({ show: true, size: 5, fill: ink(el, p.points.some((x) => x.series === line && x.hand) ? "--panel" : "--ink") });
  const { box } = usePlot(
    (el, width, height) =>
      new uPlot(
        {
          width,
          height,
          cursor: { show: false },
          legend: { show: false },
          padding: [8, 18, 0, 0],
          scales: { y: { range: (_, min, max) => padded(Math.min(min, p.band?.low ?? min), Math.max(max, p.band?.high ?? max)) } },
          axes: [
            { stroke: ink(el, "--muted"), grid: { show: false }, ticks: { show: false }, size: 20, space: 70, values: (_, at) => at.map(clock) },
            { stroke: ink(el, "--muted"), grid: { stroke: ink(el, "--line"), width: 1 }, ticks: { show: false }, size: 36, space: 14, incrs: [1, 2, 5, 10, 20, 50] },
          ],
          series: [{}, ...lines.map((l) => ({ stroke: ink(el, "--ink"), width: 1.5, spanGaps: true, points: dot(el, l) }))],
          hooks: { drawClear: [(u) => p.band && grey(u, p.band, ink(el, "--band"))] },
        },
        [times.map((t) => t / 1000), ...lines.map((l) => times.map((t) => at.get(`${t} ${l}`) ?? null))],
        el,
      ),
    [p.points.length, last, p.band?.low],
  );
  return <div class="trend" ref={box} role="img" aria-label={p.label} />;
}

function clock(s: number): string {
  const d = new Date(s * 1000);
  return `${String(d.getHours()).padStart(2, "0")}:${String(d.getMinutes()).padStart(2, "0")}`;
}

function padded(low: number, high: number): [number, number] {
  const pad = Math.max(1, (high - low) * 0.15);
  return [low - pad, high + pad];
}

function grey(u: uPlot, b: Band, colour: string): void {
  const top = u.valToPos(b.high, "y", true);
  const bottom = u.valToPos(b.low, "y", true);
  u.ctx.save();
  u.ctx.fillStyle = colour;
  u.ctx.fillRect(u.bbox.left, top, u.bbox.width, bottom - top);
  u.ctx.restore();
}
