// The worklist: who calls or waits comes first. From here it is two presses to a moving picture.

import type { ConsoleCart, Me } from "../../../ui/api.ts";
import { useCommand, useNow, useWords } from "../../../ui/base.tsx";
import { Button, ProblemLine, StateView } from "../../../ui/components.tsx";
import type { ViewState } from "../../../ui/viewstate.ts";
import type { Hub } from "./hub.ts";
import { worklistState } from "./states.ts";
import { order, primary } from "./worklist.ts";

const testids = { answer: "btn-answer", offer: "btn-offer", join: "btn-join" } as const;

export function usePrimary(hub: Hub): { busy: boolean; problem: ReturnType<typeof useCommand>["problem"]; run(c: ConsoleCart, me: Me): void } {
  const cmd = useCommand();
  return {
    busy: cmd.busy,
    problem: cmd.problem,
    run: (c, me) => {
      const what = primary(c, me);
      if (!what) return;
      void cmd.run(() => (what === "join" ? hub.command("join", { consult: c.consult!.id }) : hub.command("offer", { cart: c.cart })));
    },
  };
}

export function Worklist(p: { carts: ConsoleCart[]; me: Me; selected: string | undefined; onSelect(cart: string): void; act: ReturnType<typeof usePrimary>; forced?: ViewState | undefined }) {
  const w = useWords();
  const state = p.forced ?? worklistState(p.carts);
  return (
    <section class="pane worklist scroll" aria-label={w.t("console.worklist")} data-testid="worklist">
      {state ? (
        <StateView state={state} />
      ) : (
        <ul>
          {order(p.carts).map((c) => (
            <Row key={c.cart} c={c} {...p} />
          ))}
        </ul>
      )}
    </section>
  );
}

function Row(p: { c: ConsoleCart; me: Me; selected: string | undefined; onSelect(cart: string): void; act: ReturnType<typeof usePrimary> }) {
  const w = useWords();
  const now = useNow();
  const c = p.c;
  const selected = c.cart === p.selected;
  const next = primary(c, p.me);
  const e = c.encounter;
  const who = !e ? w.t("worklist.no-encounter") : (e.patient?.name ?? (e.patient ? w.t("strip.id", { id: e.patient.id }) : w.t("worklist.unidentified")));
  return (
    <li class={`cart ${selected ? "selected" : ""}`} data-testid={`cart-${c.cart}`} data-state={c.state} data-calling={c.calling !== undefined}>
      <button type="button" class="cart-main" data-testid={`select-${c.cart}`} aria-pressed={selected} onClick={() => p.onSelect(c.cart)}>
        <span class="line">
          <strong>{c.cart}</strong>
          <span class="muted">{c.site}</span>
          <span class={`tag tag-${c.state}`}>{c.state === "offline" ? w.t("worklist.offline", { time: w.time(c.since) }) : w.t(`worklist.${c.state}`)}</span>
        </span>
        <span class="line">
          {c.practice && <strong class="practice">{w.t("strip.practice")}</strong>}
          <span>{who}</span>
        </span>
        {c.calling && (
          <span class="line calling">
            <strong>{w.t("worklist.calling")}</strong>
            <span class="num">{w.t("worklist.waiting", { age: w.span(now - Date.parse(c.calling.since)) })}</span>
            {c.calling.reason && <span>{c.calling.reason}</span>}
          </span>
        )}
        {c.consult?.mine && c.consult.phase !== "ended" && c.consult.phase !== "refused" && <span class="line">{w.t("worklist.mine")}</span>}
        {c.held > 0 && <span class="line muted">{w.t("worklist.held", { n: c.held })}</span>}
      </button>
      {next && (selected || c.calling) && (
        <Button
          testid={testids[next]}
          look="primary"
          off={p.act.busy}
          onPress={() => {
            p.onSelect(c.cart);
            p.act.run(c, p.me);
          }}
        >
          {w.t(`worklist.${next}`)}
        </Button>
      )}
      {selected && <ProblemLine problem={p.act.problem} />}
    </li>
  );
}
