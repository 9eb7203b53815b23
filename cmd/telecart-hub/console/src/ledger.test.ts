import { describe, expect, it } from "vitest";
import type { LedgerPart } from "../../../ui/api.ts";
import { makeWords } from "../../../ui/strings/words.ts";
import { findings, numberWords } from "./ledger.tsx";

const w = makeWords("en");
const whole: LedgerPart = {
  practice: false, incarnation: "aa", whole: true, head: 9, forged: false, disputed: false, entries: 10, items: 9,
  missing: [], doubled: [], altered: [], refused: [], absent: [], damaged: [], gone: [], unsigned: 0,
};

describe("a ledger in words", () => {
  it("says nothing of a whole one", () => expect(findings(w, whole)).toEqual([]));
  it("names every kind of trouble, in both languages", () => {
    const bad: LedgerPart = {
      ...whole, forged: true, disputed: true, missing: [{ first: 3, last: 3 }, { first: 5, last: 9 }], altered: [1], doubled: [2], absent: [4], damaged: [6], refused: [7],
      gone: [{ number: 8, item: "x", store: "abcdef0123", sequence: 77 }], after: { known: false, incarnation: "00", number: 0 },
    };
    expect(findings(w, bad)).toHaveLength(10);
    expect(findings(w, bad)[2]).toBe("Missing: 3 and 5 to 9.");
    expect(findings(w, bad)[8]).toContain("Number 8 was here, receipt 77 of store abcdef01");
    expect(findings(makeWords("fr"), bad)[2]).toBe("Manquent : 3 et 5 à 9.");
  });
  it("counts what it does not name", () => expect(numberWords(w, Array.from({ length: 25 }, (_, i) => i))).toMatch(/ 19 and 5 more$/));
});
