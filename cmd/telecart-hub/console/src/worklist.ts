// What the worklist says and in which order: pure, so that it is tested.

import type { ConsoleCart, Me } from "../../../ui/api.ts";

function rank(c: ConsoleCart): number {
  if (c.calling) return 0;
  if (c.consult?.mine) return 1;
  if (c.state === "ready") return c.encounter ? 2 : 3;
  if (c.state === "busy") return 4;
  return 5;
}

/** Who calls comes first, the longest waiting on top; then mine, open encounters, ready, busy, offline; then by name. */
export function order(carts: ConsoleCart[]): ConsoleCart[] {
  return [...carts].sort(
    (a, b) => rank(a) - rank(b) || (a.calling && b.calling ? Date.parse(a.calling.since) - Date.parse(b.calling.since) : 0) || a.cart.localeCompare(b.cart),
  );
}

const over = ["refused", "ended"];

/** The one thing to do next with a cart. */
export function primary(c: ConsoleCart, me: Me): "answer" | "offer" | "join" | undefined {
  if (me.role === "it" || c.state === "offline" || !c.encounter) return undefined;
  if (c.consult && !over.includes(c.consult.phase)) {
    if (c.calling && !c.consult.mine) return "answer";
    return c.consult.mine ? undefined : "join";
  }
  return c.calling ? "answer" : "offer";
}
