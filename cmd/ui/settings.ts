// What a person chose for this screen: language, light or dark. Kept in the browser when it lets us.

import type { Language } from "./strings/words.ts";

export interface Settings { lang: Language; theme: "auto" | "light" | "dark" }

const key = "telecart.settings";

export function loadSettings(): Settings {
  const s: Settings = { lang: navigator.language.startsWith("fr") ? "fr" : "en", theme: "auto" };
  try {
    const saved = JSON.parse(localStorage.getItem(key) ?? "{}") as Partial<Settings>;
    if (saved.lang === "en" || saved.lang === "fr") s.lang = saved.lang;
    if (saved.theme === "light" || saved.theme === "dark") s.theme = saved.theme;
  } catch {
    // no storage, or not ours: the defaults do
  }
  return s;
}

export function saveSettings(s: Settings): void {
  try {
    localStorage.setItem(key, JSON.stringify(s));
  } catch {
    // kept for this page only
  }
}
