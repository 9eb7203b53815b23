// Base wraps a whole page: its words, its clock, its looks. The hooks that every component uses live here.

import { createContext, type ComponentChildren } from "preact";
import { useCallback, useContext, useEffect, useLayoutEffect, useMemo, useRef, useState } from "preact/hooks";
import type { Problem } from "./api.ts";
import { loadSettings, saveSettings, type Settings } from "./settings.ts";
import { ProblemError } from "./socket.ts";
import { makeWords, type Words } from "./strings/words.ts";

interface Page {
  words: Words;
  settings: Settings;
  change(s: Partial<Settings>): void;
  skew: number; // the daemon's clock minus ours, ms
  escapes: { current: (() => void) | undefined }[]; // ways back, the innermost last
}

const PageContext = createContext<Page | undefined>(undefined);

export function Base(p: { children: ComponentChildren; title: "app.bedside" | "app.console"; skew?: number; fixed?: Settings; dir?: "ltr" | "rtl" }) {
  const [settings, set] = useState<Settings>(() => p.fixed ?? loadSettings());
  const words = useMemo(() => makeWords(settings.lang, p.dir), [settings.lang, p.dir]);
  useLayoutEffect(() => {
    const root = document.documentElement;
    root.lang = words.lang === "pseudo" ? "en" : words.lang;
    root.dir = words.dir;
    root.dataset["theme"] = settings.theme;
    document.title = words.t(p.title);
  }, [words, settings.theme, p.title]);
  const change = useCallback(
    (s: Partial<Settings>) =>
      set((old) => {
        const next = { ...old, ...s };
        saveSettings(next);
        return next;
      }),
    [],
  );
  const escapes = useRef<Page["escapes"]>([]).current;
  useEffect(() => {
    const down = (e: KeyboardEvent): void => {
      const back = escapes.at(-1)?.current;
      if (e.key !== "Escape" || !back) return;
      e.preventDefault();
      back();
    };
    addEventListener("keydown", down);
    return () => removeEventListener("keydown", down);
  }, [escapes]);
  const page = useMemo(() => ({ words, settings, change, skew: p.skew ?? 0, escapes }), [words, settings, change, p.skew, escapes]);
  return <PageContext.Provider value={page}>{p.children}</PageContext.Provider>;
}

export function usePage(): Page {
  const page = useContext(PageContext);
  if (!page) throw new Error("ui: no <Base> around this component");
  return page;
}

export const useWords = (): Words => usePage().words;

/** The daemon's time in ms, renewed every so often. */
export function useNow(everyMs = 1000): number {
  const { skew } = usePage();
  const [now, set] = useState(() => Date.now());
  useEffect(() => {
    const t = setInterval(() => set(Date.now()), everyMs);
    return () => clearInterval(t);
  }, [everyMs]);
  return now + skew;
}

/** Runs one command at a time; keeps its problem until the next one. */
export function useCommand(): { busy: boolean; problem: Problem | undefined; run<T>(work: () => Promise<T>): Promise<T | undefined>; clear(): void } {
  const [busy, setBusy] = useState(false);
  const [problem, setProblem] = useState<Problem>();
  const running = useRef(false);
  const run = useCallback(async <T,>(work: () => Promise<T>): Promise<T | undefined> => {
    if (running.current) return undefined;
    running.current = true;
    setBusy(true);
    setProblem(undefined);
    try {
      return await work();
    } catch (e) {
      setProblem(e instanceof ProblemError ? e.problem : { code: "failed", title: String(e), status: 0 });
      return undefined;
    } finally {
      running.current = false;
      setBusy(false);
    }
  }, []);
  return { busy, problem, run, clear: useCallback(() => setProblem(undefined), []) };
}

/** Escape goes back one step: the innermost thing that is open takes it. */
export function useEscape(back: (() => void) | undefined): void {
  const { escapes } = usePage();
  const ref = useRef(back);
  ref.current = back;
  const active = back !== undefined;
  // Before the paint: a key that comes right after a screen is drawn belongs to that screen, not to the one it replaced.
  useLayoutEffect(() => {
    if (!active) return;
    escapes.push(ref);
    return () => void escapes.splice(escapes.indexOf(ref), 1);
  }, [active, escapes]);
}
