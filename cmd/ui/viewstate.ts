// The states that every view has besides its normal one. They say what is missing, for whom or what one waits, what works
// meanwhile, who can, and what to do next: in keys, so that they can be tested without a screen.

import type { Problem } from "./api.ts";
import type { Key, Params, Words } from "./strings/words.ts";

/** Something to say: a key, or a key and what to fill in. */
export type Say = Key | [Key, Params];

export type ViewState =
  | { kind: "empty"; what: Say; next?: Say }
  | { kind: "loading"; what: Say }
  | { kind: "waiting"; whom: Say; since?: string; next?: Say }
  | { kind: "offline"; title?: Say; works: Say; since?: string; shows: "data" | "nothing" } // data: what is shown is from then
  | { kind: "refused"; why: Say; who: Say }
  | { kind: "failed"; why: Say; next: Say }
  | { kind: "expired"; why: Say; next?: Say };

export const kinds = ["empty", "loading", "waiting", "offline", "refused", "failed", "expired"] as const satisfies readonly ViewState["kind"][];

export function say(w: Words, s: Say): string {
  return typeof s === "string" ? w.t(s) : w.t(s[0], s[1]);
}

/** A problem in the user's words; an unknown code shows the title that was sent, with its code. */
export function problemText(w: Words, p: Problem): string {
  const key = `problem.${p.code}`;
  const text = w.has(key) ? w.t(key) : w.t("problem.unknown", { title: p.title, code: p.code });
  return p.detail && !w.has(key) ? `${text}: ${p.detail}` : text;
}
