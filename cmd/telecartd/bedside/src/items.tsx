// Held & sent: every item with where it is. "Sent" means that the hub's receipt is here.

import { useState } from "preact/hooks";
import type { BedsideItem } from "../../../ui/api.ts";
import { useCommand, useEscape, useWords } from "../../../ui/base.tsx";
import { Button, Choice, ProblemLine, Scroller, StateView } from "../../../ui/components.tsx";
import type { Words } from "../../../ui/strings/words.ts";
import { Review } from "./review.tsx";
import { viewState } from "./states.ts";
import { heldWords } from "./strip.tsx";
import type { ViewProps } from "./view.ts";

export function itemWords(w: Words, i: BedsideItem): string {
  const parts = [i.kind === "reading" ? `${w.code("quantity.", i.quantity ?? "")} ${i.text ?? ""} ${w.code("unit.", i.unit ?? "")}` : w.t(`item.${i.kind}`)];
  if (i.instrument && i.kind !== "reading") parts.push(w.code("instrument.name.", i.instrument));
  if (i.method) parts.push(w.code("method.", i.method));
  if (i.grade) parts.push(w.t(`grade.${i.grade}`));
  if (i.twin) parts.push(w.t("word.twin"));
  if (i.side) parts.push(w.code("side.", i.side));
  if (i.site) parts.push(w.code("site.", i.site));
  return parts.join(", ");
}

function stateOf(i: BedsideItem): "sent" | "held" | "refused" {
  return i.refused ? "refused" : i.sent ? "sent" : "held";
}

/** "3 pictures, 2 readings": what is held, by kind. */
export function countWords(w: Words, byKind: ViewProps["s"]["held_by_kind"]): string {
  const parts = Object.entries(byKind).filter(([, n]) => n > 0).map(([k, n]) => w.t(`kind.${k as BedsideItem["kind"]}`, { n }));
  return parts.length > 0 ? w.list(parts) : w.t("restored.nothing");
}

/** What is held from before a restart: only its kinds can be read here. */
export function sealedBefore(s: ViewProps["s"]): [string, number][] {
  const unsent = (kind: string): number => s.items.filter((i) => i.kind === kind && !i.sent).length;
  return Object.entries(s.held_by_kind).map(([k, n]): [string, number] => [k, n - unsent(k)]).filter(([, n]) => n > 0);
}

/** What can't be read back from this cart's disk, and what the nurse can do: never to delete something. */
function Damaged({ s }: { s: ViewProps["s"] }) {
  const w = useWords();
  if (!s.damage) return null;
  const what = s.damage.items.map((i) => {
    const kind = w.code("item.", i.kind ?? "unknown");
    return i.at ? w.t("items.damaged.at", { what: kind, time: w.time(i.at) }) : kind;
  });
  if (s.damage.more > 0) what.push(w.t("ledger.more", { n: s.damage.more }));
  return (
    <div class="card damaged" role="status" data-testid="items-damaged">
      {what.length > 0 && <p>{w.t("items.damaged", { what: w.list(what) })}</p>}
      {what.length === 0 && s.damage.segments > 0 && <p>{w.t("items.damaged.file")}</p>}
    </div>
  );
}

type Reason = "wrong-patient" | "wrong-side" | "entered-in-error";

export function ItemsView(p: ViewProps) {
  const w = useWords();
  const cmd = useCommand();
  const [picked, pick] = useState<string>();
  const [correcting, correct] = useState(false);
  const [reason, setReason] = useState<Reason>();
  const [side, setSide] = useState<"left" | "right">();
  const item = p.s.items.find((i) => i.id === picked);
  const back = (): void => {
    if (correcting) correct(false);
    else pick(undefined);
    setReason(undefined);
    setSide(undefined);
  };
  useEscape(item ? back : undefined);
  const state = p.forced ?? viewState("items", p.s);
  if (state) return <StateView state={state} />;
  const before = sealedBefore(p.s);
  const ready = reason && (reason !== "wrong-side" || side);
  return (
    <div class="task-view items-view" data-testid="view-items">
      <div class="col grow">
        <h1>
          {heldWords(w, p.s)}
          {p.s.held > 0 && <span class="muted"> {countWords(w, p.s.held_by_kind)}</span>}
        </h1>
        <Damaged s={p.s} />
        {before.length > 0 && <p data-testid="items-before">{w.t("items.before", { what: countWords(w, Object.fromEntries(before)) })}</p>}
        <Scroller class="grow">
          <ul class="items">
            {p.s.items.map((i) => (
              <li key={i.id}>
                <button
                  type="button"
                  class="btn item"
                  data-testid="item"
                  data-item={i.id}
                  data-kind={i.kind}
                  data-state={stateOf(i)}
                  aria-pressed={i.id === picked}
                  onClick={() => {
                    pick(i.id);
                    correct(false);
                  }}
                >
                  <span class="num">{w.time(i.at)}</span>
                  <span class="grow what">
                    {itemWords(w, i)}
                    {i.corrected && <small>{w.t("items.corrected", { reason: w.code("correct.", i.corrected) })}</small>}
                  </span>
                  <span class={`sent sent-${stateOf(i)}`}>{w.t(`items.state.${stateOf(i)}`)}</span>
                </button>
              </li>
            ))}
          </ul>
        </Scroller>
      </div>
      <div class="col side" data-testid="item-detail">
        {!item ? (
          <StateView state={{ kind: "empty", what: "items.pick" }} />
        ) : correcting ? (
          <Scroller class="grow">
            <Choice<Reason>
              label={w.t("items.correct.why")}
              testid="reason"
              columns={3}
              value={reason}
              onChoose={setReason}
              options={(["wrong-patient", "wrong-side", "entered-in-error"] as const).map((v) => ({ value: v, text: w.t(`correct.${v}`) }))}
            />
            {reason === "wrong-side" && (
              <Choice<"left" | "right">
                label={w.t("capture.side")}
                testid="correct-side"
                body
                columns={2}
                value={side}
                onChoose={setSide}
                options={(["left", "right"] as const).map((v) => ({ value: v, text: w.t(`side.${v}`) }))}
              />
            )}
            <p class="muted">{w.t("items.correct.what")}</p>
            <ProblemLine problem={cmd.problem} />
          </Scroller>
        ) : (
          <Scroller class="grow">
            <h2>{itemWords(w, item)}</h2>
            <p>
              {w.time(item.at)}. {w.t(`items.state.${stateOf(item)}`)}.
            </p>
            {item.corrected && <p>{w.t("items.corrected", { reason: w.code("correct.", item.corrected) })}</p>}
            <Review key={item.id} cart={p.cart} item={item} />
          </Scroller>
        )}
        {item && (
          <div class="row detail-do">
            <Button testid="btn-back" onPress={back}>
              {w.t("word.back")}
            </Button>
            {correcting ? (
              <Button
                testid="btn-correct-save"
                look="primary"
                off={cmd.busy || !ready}
                onPress={() =>
                  void cmd.run(async () => {
                    await p.cart.command("correct", { item: item.id, reason, ...(reason === "wrong-side" && { side }) });
                    back();
                  })
                }
              >
                {w.t("items.correct")}
              </Button>
            ) : (
              !["correction", "event"].includes(item.kind) && (
                <Button testid="btn-correct" onPress={() => correct(true)}>
                  {w.t("items.correct")}
                </Button>
              )
            )}
          </div>
        )}
      </div>
    </div>
  );
}
