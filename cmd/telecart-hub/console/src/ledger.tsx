// IT's look at one cart's ledgers: is all of it here, and if not, what is missing. Numbers and times, never a patient.

import { useEffect, useState } from "preact/hooks";
import type { ConsoleCart, ConsoleLedger, LedgerPart } from "../../../ui/api.ts";
import { useCommand, useWords } from "../../../ui/base.tsx";
import { Button, ProblemLine, StateView } from "../../../ui/components.tsx";
import type { Words } from "../../../ui/strings/words.ts";
import type { Hub } from "./hub.ts";

const shown = 20; // numbers of one list; the rest is counted
const auditMs = 130_000; // the hub gives up after two minutes
const short = (id: string): string => id.slice(0, 8);

/** "3, 5, 9 to 12 and 4 more". */
export function numberWords(w: Words, list: (number | { first: number; last: number })[]): string {
  const parts = list.slice(0, shown).map((x) => (typeof x === "number" ? String(x) : x.first === x.last ? String(x.first) : w.t("ledger.range", { first: x.first, last: x.last })));
  if (list.length > shown) parts.push(w.t("ledger.more", { n: list.length - shown }));
  return w.list(parts);
}

/** What is to be said of one incarnation, worst first; empty when it is whole. */
export function findings(w: Words, p: LedgerPart): string[] {
  const out: string[] = [];
  if (p.forged) out.push(w.t("ledger.forged"));
  if (p.disputed) out.push(w.t("ledger.disputed"));
  for (const kind of ["missing", "altered", "doubled", "absent", "damaged", "refused"] as const) {
    if (p[kind].length > 0) out.push(w.t(`ledger.${kind}`, { list: numberWords(w, p[kind]) }));
  }
  for (const g of p.gone.slice(0, shown)) out.push(w.t("ledger.gone", { number: g.number, sequence: g.sequence, store: short(g.store) }));
  if (p.gone.length > shown) out.push(w.t("ledger.gone.more", { n: p.gone.length - shown }));
  if (p.after && !p.after.known) out.push(w.t("ledger.after.unknown"));
  return out;
}

export function Ledger(p: { hub: Hub; cart: ConsoleCart; onClose(): void }) {
  const w = useWords();
  const cmd = useCommand();
  const [found, show] = useState<ConsoleLedger>();
  const check = (every: boolean): void =>
    void cmd.run(async () => show((await p.hub.command("ledger", { cart: p.cart.cart, every }, auditMs)) as ConsoleLedger));
  useEffect(() => {
    show(undefined);
    check(false);
  }, [p.cart.cart]);
  const store = found?.stores.at(-1);
  return (
    <section class="pane ledger scroll" data-testid="ledger" data-cart={p.cart.cart}>
      <h2>{w.t("ledger.title", { cart: p.cart.cart })}</h2>
      <ProblemLine problem={cmd.problem} />
      <CartDamage cart={p.cart} />
      {!found && !cmd.problem && <StateView state={{ kind: "loading", what: "ledger.view" }} />}
      {found?.parts.length === 0 && <p>{w.t("ledger.none")}</p>}
      {found?.parts.map((part) => <Part key={part.incarnation} p={part} />)}
      {found && (
        <div class="col" data-testid="ledger-hub">
          <h3>{w.t("ledger.hub")}</h3>
          {store && <p>{store.since ? w.t("ledger.store.since", { id: short(store.store), time: w.time(store.since) }) : w.t("ledger.store", { id: short(store.store) })}</p>}
          {found.stores.length > 1 && <p>{w.t("ledger.restored", { n: found.stores.length - 1 })}</p>}
          <p data-testid="ledger-backup">{found.backup > 0 ? w.t("ledger.backup", { done: found.backup, of: found.receipts }) : w.t("ledger.backup.none")}</p>
          <p class="muted">{w.t(found.every ? "ledger.checked.every" : "ledger.checked", { time: w.time(found.at) })}</p>
        </div>
      )}
      <div class="row">
        {found?.unseen && (
          <Button testid="btn-ledger-seen" look="primary" off={cmd.busy} onPress={() => void cmd.run(() => p.hub.command("ledger-seen", { cart: p.cart.cart }).then(() => show({ ...found, unseen: false })))}>
            {w.t("ledger.seen")}
          </Button>
        )}
        <Button testid="btn-ledger-every" off={cmd.busy} onPress={() => check(true)}>
          {w.t("ledger.every")}
        </Button>
        <Button testid="btn-ledger-close" onPress={p.onClose}>
          {w.t("word.close")}
        </Button>
      </div>
    </section>
  );
}

function Part({ p }: { p: LedgerPart }) {
  const w = useWords();
  const said = findings(w, p);
  return (
    <div class="col part" data-testid="ledger-part" data-whole={p.whole}>
      <h3>
        {w.t(p.practice ? "ledger.practice" : "ledger.care")} <small class="num">{short(p.incarnation)}</small>
      </h3>
      {p.whole ? <p data-testid="ledger-whole">{w.t("ledger.whole", { n: p.head ?? 0 })}</p> : <strong data-testid="ledger-broken">{w.t("ledger.broken")}</strong>}
      {said.length > 0 && <ul>{said.map((s) => <li key={s}>{s}</li>)}</ul>}
      {p.after?.known && <p data-testid="ledger-after">{w.t("ledger.after", { n: p.after.number, id: short(p.after.incarnation) })}</p>}
      <p>{p.head === undefined ? w.t("ledger.head.none") : w.t("ledger.head", { n: p.head, time: p.head_at ? w.time(p.head_at) : "" })}</p>
      {p.unsigned > 0 && <p>{w.t("ledger.unsigned", { n: p.unsigned })}</p>}
      <p class="muted">{w.t("ledger.counts", { n: p.entries, items: p.items })}</p>
    </div>
  );
}

/** What the cart itself reports of its disk. */
function CartDamage({ cart }: { cart: ConsoleCart }) {
  const w = useWords();
  const d = cart.damage;
  if (!d) return null;
  return (
    <div class="col part" data-testid="ledger-damage">
      <h3>{w.t("ledger.cart")}</h3>
      {d.segments > 0 && <p>{w.t("ledger.segments", { n: d.segments })}</p>}
      <ul>
        {d.items.map((i) => (
          <li key={i.number}>{w.t("ledger.damaged-item", { number: i.number, what: w.code("item.", i.kind ?? "unknown") })}</li>
        ))}
        {d.more > 0 && <li>{w.t("ledger.more", { n: d.more })}</li>}
      </ul>
      <p>{w.t("ledger.damage.next")}</p>
    </div>
  );
}
