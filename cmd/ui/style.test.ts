// Contrast of every pair of colours that text is drawn in: WCAG 2.2, 1.4.3 and 1.4.6; relative luminance as defined there.

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";

const css = readFileSync(join(import.meta.dirname, "style.css"), "utf8");

function colours(block: string): Record<string, string> {
  return Object.fromEntries([...block.matchAll(/--([\w-]+): (#[0-9a-f]{6});/g)].map((m) => [m[1]!, m[2]!]));
}

function luminance(hex: string): number {
  const [r, g, b] = [1, 3, 5].map((i) => {
    const c = Number.parseInt(hex.slice(i, i + 2), 16) / 255;
    return c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
  }) as [number, number, number];
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
}

function contrast(a: string, b: string): number {
  const [hi, lo] = [luminance(a), luminance(b)].sort((x, y) => y - x) as [number, number];
  return (hi + 0.05) / (lo + 0.05);
}

const light = colours(css.slice(css.indexOf(":root {"), css.indexOf("@media")));
const dark = colours(css.slice(css.indexOf(':root[data-theme="dark"]'), css.indexOf("* {")));

describe.each([["light", light], ["dark", dark]] as const)("%s", (_, c) => {
  it.each([
    ["ink", "panel", 7],
    ["ink", "ground", 7],
    ["ink", "chosen", 7],
    ["ink", "stripe", 7],
    ["muted", "panel", 4.5],
    ["muted", "ground", 4.5],
    ["muted", "chosen", 4.5],
    ["on-accent", "accent", 4.5],
    ["on-danger", "danger", 4.5],
    ["edge", "panel", 3],
    ["edge", "ground", 3],
    ["focus", "ground", 3],
  ] as const)("%s on %s is at least %d:1", (text, ground, least) => expect(contrast(c[text]!, c[ground]!)).toBeGreaterThanOrEqual(least));
});

it("says dark the same way in both places", () => {
  expect(colours(css.slice(css.indexOf("@media (prefers-color-scheme: dark)"), css.indexOf(':root[data-theme="dark"]')))).toEqual(dark);
});

it("mirrors: no left or right in a rule, but in drawn charts", () => {
  for (const f of ["style.css", "../telecartd/bedside/src/bedside.css", "../telecart-hub/console/src/console.css"]) {
    const rules = readFileSync(join(import.meta.dirname, f), "utf8");
    expect(rules.match(/(margin|padding|border)-(left|right)|\b(left|right):|text-align: (left|right)|float:/g)).toBeNull();
  }
});
