// Words turns a key into the user's words: language, plural, direction, times and ages. Components hold no text of their
// own (strings.test.ts holds them to that).

import { en, type Entry, type Key, type Table } from "./en.ts";
import { fr } from "./fr.ts";

export type { Key } from "./en.ts";
export type Params = Record<string, string | number>;
export type Language = "en" | "fr" | "pseudo";

export interface Words {
  lang: Language;
  dir: "ltr" | "rtl";
  t(key: Key, params?: Params): string;
  /** The words for a code that came from outside ("reason.", "no-finger"); an unknown one is shown readable, never hidden. */
  code(prefix: string, code: string): string;
  has(key: string): key is Key;
  time(iso: string): string; // hour and minute; with the day when it is another one
  date(iso: string): string;
  ago(ms: number): string;
  span(ms: number): string;
  list(parts: string[]): string;
}

/** Languages a user can choose, in their own words: names of languages are not translated. */
export const languages: { lang: Language; name: string }[] = [
  { lang: "en", name: "English" },
  { lang: "fr", name: "Français" },
];

const tables: Record<Exclude<Language, "pseudo">, Table> = { en, fr };

const accents: Record<string, string> = { a: "å", e: "é", i: "ï", o: "ö", u: "ü", A: "Å", E: "É", I: "Ï", O: "Ö", U: "Û" };

/** Pseudo-language: longer, accented, mirrored; finds text that is not in a table and layout that does not mirror. */
function pseudo(s: string): string {
  return s.split(/(\{\w+\})/).map((p) => (p.startsWith("{") ? p : p.replace(/[aeiouAEIOU]/g, (c) => accents[c] ?? c))).join("") + "~";
}

function pick(entry: Entry, n: unknown, rules: Intl.PluralRules): string {
  if (typeof entry === "string") return entry;
  return rules.select(typeof n === "number" ? n : Number(n ?? 0)) === "one" ? entry.one : entry.other;
}

export function makeWords(lang: Language, dir?: "ltr" | "rtl"): Words {
  const table = lang === "pseudo" ? en : tables[lang];
  const locale = lang === "fr" ? "fr" : "en-GB"; // day before month: what a birth date can be read as only one way
  const rules = new Intl.PluralRules(locale);
  const clock = new Intl.DateTimeFormat(locale, { hour: "2-digit", minute: "2-digit", hour12: false });
  const day = new Intl.DateTimeFormat(locale, { day: "numeric", month: "short", year: "numeric", timeZone: "UTC" });
  const dayClock = new Intl.DateTimeFormat(locale, { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit", hour12: false });
  const and = new Intl.ListFormat(locale, { type: "conjunction" });
  const direction = dir ?? (lang === "pseudo" ? "rtl" : "ltr");

  const t = (key: Key, params: Params = {}): string => {
    const raw = pick(table[key], params["n"], rules);
    const text = lang === "pseudo" ? pseudo(raw) : raw;
    return text.replace(/\{(\w+)\}/g, (_, name: string) => {
      const v = String(params[name] ?? "");
      return direction === "rtl" ? `\u2068${v}\u2069` : v; // isolate: a Latin name must not turn the sentence around it
    });
  };
  const has = (key: string): key is Key => Object.hasOwn(table, key);
  const part = (ms: number, unit: "time" | "span"): string => {
    const s = Math.max(0, Math.floor(ms / 1000));
    if (s < 60) return t(`${unit}.seconds`, { n: s });
    if (s < 3600) return t(`${unit}.minutes`, { n: Math.floor(s / 60) });
    return t(`${unit}.hours`, { n: Math.floor(s / 3600) });
  };
  return {
    lang,
    dir: direction,
    t,
    has,
    code: (prefix, code) => {
      const key = prefix + code;
      return has(key) ? t(key) : code.replaceAll("-", " ");
    },
    time: (iso) => {
      const d = new Date(iso);
      if (Number.isNaN(d.getTime())) return iso;
      return Math.abs(Date.now() - d.getTime()) > 20 * 3600e3 ? dayClock.format(d) : clock.format(d);
    },
    date: (iso) => {
      const d = new Date(iso);
      return Number.isNaN(d.getTime()) ? iso : day.format(d);
    },
    ago: (ms) => (ms < 1000 ? t("time.now") : part(ms, "time")),
    span: (ms) => part(ms, "span"),
    list: (parts) => and.format(parts),
  };
}
