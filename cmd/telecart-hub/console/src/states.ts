// Which state a pane is in, besides its normal one: pure, so that each is tested.

import type { ConsoleCart, ConsoleEncounter, Me } from "../../../ui/api.ts";
import type { Key } from "../../../ui/strings/words.ts";
import type { ViewState } from "../../../ui/viewstate.ts";
import type { Seen } from "./hub.ts";

export type Pane = "worklist" | "stage" | "known" | "fleet";
export const panes: Pane[] = ["worklist", "stage", "known", "fleet"];

export const about: Record<Pane, { what: Key; works: Key; empty: Key; next: Key }> = {
  worklist: { what: "worklist.view", works: "worklist.works", empty: "worklist.empty", next: "worklist.empty.next" },
  stage: { what: "stage.view", works: "stage.works", empty: "stage.pick", next: "stage.pick.next" },
  known: { what: "known.view", works: "known.works", empty: "known.empty", next: "known.empty.next" },
  fleet: { what: "it.view", works: "it.works", empty: "it.empty", next: "it.empty.next" },
};

/** The state before anything has come. */
export function pageState(seen: Seen): ViewState | undefined {
  if (seen.state) return undefined;
  if (seen.phase === "lost") return { kind: "offline", title: "state.offline.console", works: "next.reload", since: seen.lostAt, shows: "nothing" };
  return { kind: "loading", what: "view.hub" };
}

export function worklistState(carts: ConsoleCart[]): ViewState | undefined {
  return carts.length === 0 ? { kind: "empty", what: "worklist.empty", next: "worklist.empty.next" } : undefined;
}

/** What the stage says in place of a picture. undefined: a consult of mine is live. */
export function stageState(c: ConsoleCart | undefined, me: Me): ViewState | undefined {
  if (me.role === "it") return { kind: "refused", why: "stage.refused.role", who: "stage.refused.role.who" };
  if (!c) return { kind: "empty", what: "stage.pick", next: "stage.pick.next" };
  const k = c.consult;
  if (c.state === "offline") return { kind: "offline", title: "stage.offline", works: "stage.works", since: c.since, shows: "nothing" };
  if (!k || k.phase === "ended") return { kind: "empty", what: c.encounter ? "stage.ready" : "known.empty", next: c.encounter ? "stage.offer.next" : "known.empty.next" };
  if (k.phase === "refused") return { kind: "refused", why: "stage.refused", who: "stage.refused.who" };
  if (!k.mine && k.phase === "calling") return { kind: "empty", what: "stage.calling", next: "stage.calling.next" };
  if (!k.mine) return { kind: "empty", what: "stage.other", next: "stage.other.next" };
  switch (k.phase) {
    case "offered":
    case "calling":
      return { kind: "waiting", whom: ["stage.whom", { cart: c.cart }], since: k.since, next: "stage.offer.next" };
    case "link-lost":
      return { kind: "waiting", whom: ["stage.whom.link", { cart: c.cart }], since: k.since, next: "stage.works" };
    case "waiting-continue":
      return { kind: "waiting", whom: ["stage.whom.continue", { cart: c.cart }], since: k.since };
    case "paused":
      return { kind: "waiting", whom: ["stage.whom.continue", { cart: c.cart }], since: k.since, next: "stage.paused" };
    default:
      return undefined;
  }
}

export function knownState(c: ConsoleCart | undefined, e: ConsoleEncounter | undefined): ViewState | undefined {
  if (!c) return { kind: "empty", what: "known.pick" };
  if (!c.encounter) return { kind: "empty", what: "known.empty", next: "known.empty.next" };
  if (!e || e.summary.id !== c.encounter.id) return { kind: "loading", what: "known.view" };
  return undefined;
}

export function fleetState(me: Me, carts: ConsoleCart[]): ViewState | undefined {
  if (me.role !== "it") return { kind: "refused", why: "it.refused", who: "it.refused.who" };
  return carts.length === 0 ? { kind: "empty", what: "it.empty", next: "it.empty.next" } : undefined;
}
