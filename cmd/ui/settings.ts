// What a person chose for this screen: language, light or dark, what the clinic's own devices are called. Kept in the
// browser when it lets us.

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

const devicesKey = "telecart.devices";

/** What the clinic measures each quantity with, as it was named last. */
export function loadDevices(): Record<string, string> {
  try {
    const saved: unknown = JSON.parse(localStorage.getItem(devicesKey) ?? "{}");
    return Object.fromEntries(Object.entries(saved as object).filter((e): e is [string, string] => typeof e[1] === "string"));
  } catch {
    return {}; // no storage, or not ours
  }
}

export function saveDevice(quantity: string, name: string): void {
  try {
    localStorage.setItem(devicesKey, JSON.stringify({ ...loadDevices(), [quantity]: name }));
  } catch {
    // kept for this value only
  }
}
