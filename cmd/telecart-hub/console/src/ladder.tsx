// The ladder's graph: what the cart's link carries and what of it is used, the last five minutes, with the steps marked. The
// points are gathered here, from the states as they come.

import { useRef } from "preact/hooks";
import type { Ladder } from "../../../ui/api.ts";
import { useNow, useWords } from "../../../ui/base.tsx";
import { ladderWords } from "../../../ui/ladder.ts";

export interface Point { at: number; kbps: number; used: number }

const span = 5 * 60_000;
const most = 600; // points: two a second for five minutes
const wide = 300;
const high = 40;

/** With one more point, and without those that are too old. The last one before the span stays: the line begins at its edge. */
export function gather(points: Point[], p: Point): Point[] {
  const all = [...points.filter((x) => x.at < p.at), p].slice(-most);
  const first = all.findIndex((x) => x.at >= p.at - span);
  return all.slice(Math.max(0, first - 1));
}

/** A line through the points in a box of 300 by 40: each figure holds until the next is known. */
export function line(points: Point[], now: number, top: number, pick: (p: Point) => number): string {
  const x = (at: number): number => Math.max(0, wide - ((now - at) / span) * wide);
  const y = (v: number): number => high - (v / top) * high;
  return points
    .map((p, i) => `${i === 0 ? "M" : "H"}${x(p.at).toFixed(1)}${i === 0 ? "," : "V"}${y(pick(p)).toFixed(1)}`)
    .concat(points.length > 0 ? `H${wide}` : "")
    .join("");
}

export function LadderLine(p: { ladder: Ladder }) {
  const w = useWords();
  const now = useNow();
  const points = useRef<Point[]>([]);
  const l = p.ladder;
  points.current = gather(points.current, { at: now, kbps: l.kbps, used: l.used_kbps });
  const top = Math.max(500, ...points.current.map((x) => Math.max(x.kbps, x.used)));
  return (
    <div class="ladder" data-testid="ladder" data-step={l.step} data-kbps={l.kbps}>
      <p role="status">{l.step !== "full" && ladderWords(w, l)}</p>
      <svg viewBox={`0 0 ${wide} ${high}`} preserveAspectRatio="none" role="img" aria-label={w.t("ladder.graph")}>
        <title>{w.t("ladder.graph")}</title>
        {l.log
          .map((c) => ({ ...c, ago: now - Date.parse(c.at) }))
          .filter((c) => c.ago >= 0 && c.ago < span)
          .map((c) => (
            <line key={`${c.at}${c.code}`} class="ladder-mark" x1={wide - (c.ago / span) * wide} x2={wide - (c.ago / span) * wide} y1={0} y2={high}>
              <title>{`${w.time(c.at)} ${w.code("ladder.to.", c.code)}`}</title>
            </line>
          ))}
        <path class="ladder-carries" d={line(points.current, now, top, (x) => x.kbps)} />
        <path class="ladder-used" d={line(points.current, now, top, (x) => x.used)} />
      </svg>
      <p class="ladder-legend">
        <span class="ladder-carries-key">{w.t("ladder.carries", { kbps: l.kbps })}</span> <span class="ladder-used-key">{w.t("ladder.used", { kbps: l.used_kbps })}</span>
      </p>
    </div>
  );
}
