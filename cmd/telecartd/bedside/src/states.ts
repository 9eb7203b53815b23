// Which state a bedside view is in, besides its normal one: pure, so that each is tested.

import type { BedsideState } from "../../../ui/api.ts";
import type { ViewState } from "../../../ui/viewstate.ts";
import type { Key } from "../../../ui/strings/words.ts";
import type { Seen } from "./cart.ts";

export type View = "patient" | "instruments" | "capture" | "items" | "call" | "claim";
export const views: View[] = ["patient", "instruments", "capture", "items", "call", "claim"];

/** What each view says of itself in the states that all views share. */
export const about: Record<View, { what: Key; works: Key }> = {
  patient: { what: "patient.view", works: "patient.works" },
  instruments: { what: "instruments.view", works: "instruments.works" },
  capture: { what: "capture.view", works: "capture.works" },
  items: { what: "items.view", works: "items.works" },
  call: { what: "call.view", works: "call.works" },
  claim: { what: "claim.view", works: "claim.works" },
};

/** The state before anything has come, or when the agent no longer lets this page in. */
export function pageState(seen: Seen): ViewState | undefined {
  if (seen.phase === "expired") return { kind: "expired", why: "link.page.why", next: "next.restart" };
  if (seen.state) return undefined;
  if (seen.phase === "lost") return { kind: "failed", why: "link.page.why", next: "next.reload" };
  return { kind: "loading", what: "view.connection" };
}

/** The state of a view of a cart that is known. undefined: the view shows itself. */
export function viewState(view: View, s: BedsideState): ViewState | undefined {
  switch (view) {
    case "instruments":
      return s.instruments.length === 0 ? { kind: "empty", what: "instruments.empty", next: "instruments.empty.next" } : undefined;
    case "items":
      return s.items.length === 0 && !held(s) && !s.damage ? { kind: "empty", what: s.encounter?.restored ? "items.empty.restored" : "items.empty", next: "items.empty.next" } : undefined;
    case "capture":
      return s.encounter ? undefined : { kind: "empty", what: "capture.need.open" };
    case "call":
      return callState(s);
    default:
      return undefined;
  }
}

function held(s: BedsideState): boolean {
  return Object.values(s.held_by_kind).some((n) => n > 0);
}

function callState(s: BedsideState): ViewState | undefined {
  if (s.link.state === "not-enrolled") return { kind: "refused", why: "claim.title", who: "who.it" };
  if (s.consult && s.consult.phase !== "calling") return undefined; // a consult survives the link; pause and end stay in reach
  if (s.link.state === "down") return { kind: "offline", works: "call.works", since: s.link.since, shows: "nothing" };
  if (!s.encounter) return { kind: "empty", what: "call.need.open" };
  if (s.consult) return { kind: "waiting", whom: "call.calling.whom", since: s.consult.since };
  return undefined;
}
