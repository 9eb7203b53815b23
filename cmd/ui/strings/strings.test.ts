// Holds the string tables to each other, and the components to the tables.

import { readdirSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import ts from "typescript";
import { describe, expect, it } from "vitest";
import { en, type Entry } from "./en.ts";
import { fr } from "./fr.ts";
import { makeWords } from "./words.ts";

const folders = ["ui", "telecartd/bedside/src", "telecart-hub/console/src"].map((f) => resolve(import.meta.dirname, "../..", f));

function sources(ext: RegExp): string[] {
  return folders.flatMap((f) => readdirSync(f, { recursive: true, encoding: "utf8" }).map((n) => join(f, n))).filter((n) => ext.test(n) && !/\.test\.|gallery|fixtures/.test(n));
}

const forms = (e: Entry): string[] => (typeof e === "string" ? [e] : [e.one, e.other]);
const slots = (s: string): string[] => [...s.matchAll(/\{(\w+)\}/g)].map((m) => m[1]!).sort();

describe("tables", () => {
  const keys = Object.keys(en) as (keyof typeof en)[];

  it("have the same keys", () => expect(Object.keys(fr).sort()).toEqual([...keys].sort()));

  it.each(keys)("%s has the same blanks and plural forms", (k) => {
    expect(typeof fr[k]).toBe(typeof en[k]);
    const want = slots(forms(en[k]).at(-1)!);
    for (const f of [...forms(en[k]), ...forms(fr[k])]) expect(slots(f)).toEqual(want);
    if (k !== "unit.1") for (const f of [...forms(en[k]), ...forms(fr[k])]) expect(f.trim()).not.toBe("");
    if (typeof en[k] !== "string") expect(want).toContain("n");
  });

  it("hold nothing that nobody says", () => {
    const text = sources(/\.tsx?$/).filter((f) => !/strings\/(en|fr)/.test(f)).map((f) => readFileSync(f, "utf8")).join("\n");
    // Prefixes that code("...", x) and t(`...${x}`) build keys from.
    const prefixes = [...text.matchAll(/code\("([\w.-]+\.)"/g), ...text.matchAll(/[`"]([\w.-]+\.)(?:\$\{|" as Key)/g)].map((m) => m[1]!);
    const wholes = keys.filter((k) => !text.includes(`"${k}"`) && !prefixes.some((p) => k.startsWith(p)));
    const shapes = [...text.matchAll(/`([\w.-]*)\$\{[^}]+\}(\.[\w.-]+)`/g)];
    expect(wholes.filter((k) => !shapes.some((m) => k.startsWith(m[1]!) && k.endsWith(m[2]!)))).toEqual([]);
  });
});

describe("words", () => {
  it("choose the plural of each language", () => {
    expect(makeWords("en").t("held.some", { n: 0 })).toBe("0 held here");
    expect(makeWords("fr").t("held.some", { n: 0 })).toBe("0 gardé ici"); // French says 0 in the singular
    expect(makeWords("fr").t("held.some", { n: 2 })).toBe("2 gardés ici");
    expect(makeWords("en").t("age.years", { n: 1 })).toBe("1 year");
  });
  it("show an unknown code readable", () => expect(makeWords("en").code("reason.", "lens-fogged")).toBe("lens fogged"));
  it("keep a name from turning a mirrored sentence", () => expect(makeWords("pseudo").t("call.live", { name: "Dr X" })).toContain("\u2068Dr X\u2069"));
  it("round ages down", () => {
    const w = makeWords("en");
    expect([w.ago(400), w.ago(59_900), w.ago(60_000), w.span(7_300_000)]).toEqual(["now", "59 s ago", "1 min ago", "2 h"]);
  });
});

/** Every literal text that a user would see or hear in a component. */
function literals(file: string): string[] {
  const src = ts.createSourceFile(file, readFileSync(file, "utf8"), ts.ScriptTarget.Latest, true, ts.ScriptKind.TSX);
  const found: string[] = [];
  const spoken = new Set(["aria-label", "aria-description", "title", "placeholder", "alt", "label", "text", "what", "sure", "done", "name", "legend"]);
  const word = /\p{L}{2,}/u;
  const note = (n: ts.Node, text: string): void => {
    if (word.test(text)) found.push(`${file}:${src.getLineAndCharacterOfPosition(n.getStart()).line + 1}: ${text.trim()}`);
  };
  const inside = (n: ts.Node): void => {
    if (ts.isStringLiteral(n) || ts.isNoSubstitutionTemplateLiteral(n)) note(n, n.text);
    else if (ts.isTemplateExpression(n)) [n.head, ...n.templateSpans.map((s) => s.literal)].forEach((x) => note(x, x.text));
    else if (ts.isConditionalExpression(n)) [n.whenTrue, n.whenFalse].forEach(inside);
    else if (ts.isBinaryExpression(n) && n.operatorToken.kind !== ts.SyntaxKind.EqualsEqualsEqualsToken && n.operatorToken.kind !== ts.SyntaxKind.ExclamationEqualsEqualsToken) [n.left, n.right].forEach(inside);
    else if (ts.isParenthesizedExpression(n)) inside(n.expression);
  };
  const walk = (n: ts.Node): void => {
    if (ts.isJsxText(n)) note(n, n.text);
    if (ts.isJsxExpression(n) && n.expression && (ts.isJsxElement(n.parent) || ts.isJsxFragment(n.parent))) inside(n.expression);
    // "title" of <Base> is a key; keys have a dot and no space.
    if (ts.isJsxAttribute(n) && spoken.has(n.name.getText()) && n.initializer) {
      const value = ts.isJsxExpression(n.initializer) ? n.initializer.expression : n.initializer;
      if (value && !(ts.isStringLiteral(value) && Object.hasOwn(en, value.text))) inside(value);
    }
    ts.forEachChild(n, walk);
  };
  walk(src);
  return found;
}

describe("components", () => {
  it.each(sources(/\.tsx$/))("%s holds no text of its own", (f) => expect(literals(f)).toEqual([]));
});
