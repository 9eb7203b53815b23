// The timeline: every item of the encounter as it arrives, newest first, each with its state; what is still held at the
// cart stands above it.

import type { ConsoleCart, ConsoleEncounter, ConsoleItem } from "../../../ui/api.ts";
import { useWords } from "../../../ui/base.tsx";
import type { Words } from "../../../ui/strings/words.ts";

const opened = new Set<ConsoleItem["kind"]>(["still", "clip", "waveform", "sound"]);

export function itemWords(w: Words, i: ConsoleItem): string {
  const parts: string[] = [];
  switch (i.kind) {
    case "reading":
      parts.push(i.reading ? `${w.code("quantity.", i.reading.quantity)} ${i.reading.absent ? "---" : i.reading.text} ${w.code("unit.", i.reading.unit)}` : w.t("item.reading"));
      break;
    case "binding":
      parts.push(w.t("known.bound", { name: i.binding?.patient.name ?? i.binding?.patient.id ?? "", method: w.code("strip.by.", i.binding?.method ?? "") }));
      break;
    case "event":
      parts.push(w.code("event.", i.event ?? ""));
      break;
    default:
      parts.push(w.t(`item.${i.kind}`));
  }
  if (i.instrument && i.kind !== "reading") parts.push(w.code("instrument.name.", i.instrument));
  if (i.reading?.method) parts.push(w.code("method.", i.reading.method));
  if (i.grade) parts.push(w.t(`grade.${i.grade}`));
  if (i.model && i.reading) parts.push(i.model);
  if (i.twin) parts.push(w.t("word.twin"));
  if (i.side) parts.push(w.code("side.", i.side));
  if (i.site) parts.push(w.code("site.", i.site));
  return parts.join(", ");
}

/** "nurse" is the bedside, which has no accounts; anything else is an account's name. */
function byWhom(w: Words, by: string): string {
  const key = `console.role.${by}`;
  return w.has(key) ? w.t(key) : by;
}

export function Timeline(p: { cart: ConsoleCart; encounter: ConsoleEncounter; open: string | undefined; onOpen(i: ConsoleItem): void }) {
  const w = useWords();
  const items = [...p.encounter.items].sort((a, b) => b.number - a.number);
  const meant = (id: string): { what: string; time: string } => {
    const i = p.encounter.items.find((x) => x.id === id);
    return i ? { what: itemWords(w, i), time: w.time(i.at) } : { what: "", time: "" };
  };
  return (
    <section class="timeline" aria-label={w.t("known.timeline")} id="timeline" tabIndex={-1}>
      <h3>{w.t("known.timeline")}</h3>
      {p.cart.held > 0 && (
        <p class="held" data-testid="timeline-held">
          <strong>{w.t("state.partial")}. </strong>
          {w.t(p.cart.state === "offline" ? "known.held" : "known.arriving", { n: p.cart.held })}
        </p>
      )}
      {items.length === 0 && <p class="muted">{w.t("known.timeline.empty")}</p>}
      <ol data-testid="timeline">
        {items.map((i) => (
          <li key={i.id} data-testid="item" data-item={i.id} data-kind={i.kind} data-corrected={i.corrected !== undefined} class={i.corrected && i.corrected.reason !== "wrong-side" ? "corrected" : ""}>
            <span class="num when">{w.time(i.at)}</span>
            <div class="grow">
              <p>
                {i.urgent && <strong>{w.t("known.urgent")} </strong>}
                <span class="what">{itemWords(w, i)}</span>
              </p>
              {i.note && <p class="note">{i.note}</p>}
              {i.correction && <p>{w.t("known.corrects", { ...meant(i.correction.item), reason: w.code("correct.", i.correction.reason) })}</p>}
              {i.corrected && (
                <p class="correction">
                  {w.t("known.corrected", { reason: w.code("correct.", i.corrected.reason) })}
                  {i.corrected.reason === "wrong-side" && i.side && `, ${w.t("known.corrected.side", { side: w.code("side.", i.side) })}`}
                  {i.corrected.text && `. ${i.corrected.text}`}
                </p>
              )}
              <p class="muted">
                {w.t("known.here", { n: i.receipt.sequence })}
                {i.by && `, ${w.t("known.by", { name: byWhom(w, i.by) })}`}
              </p>
            </div>
            {opened.has(i.kind) && (
              <button type="button" class="btn" data-testid={`btn-open-${i.kind}`} aria-pressed={p.open === i.id} onClick={() => p.onOpen(i)}>
                {w.t("known.open")}
              </button>
            )}
          </li>
        ))}
      </ol>
    </section>
  );
}
