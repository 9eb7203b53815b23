// The ladder in words, the same on both screens.

import type { Ladder } from "./api.ts";
import type { Words } from "./strings/words.ts";

export function ladderWords(w: Words, l: Ladder): string {
  return w.t(`ladder.step.${l.step}`, { kbps: l.kbps });
}
