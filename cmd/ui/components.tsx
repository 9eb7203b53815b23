// What both screens are made of.

import type { ComponentChildren } from "preact";
import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import type { Problem } from "./api.ts";
import { useEscape, useNow, usePage, useWords } from "./base.tsx";
import { languages } from "./strings/words.ts";
import { problemText, say, type ViewState } from "./viewstate.ts";

export interface ButtonProps {
  children: ComponentChildren;
  onPress(): void;
  testid: string;
  look?: "plain" | "primary" | "danger" | "quiet";
  pressed?: boolean; // of a choice
  off?: boolean;
  label?: string; // when the text alone does not say it
  class?: string;
}

export function Button(p: ButtonProps) {
  return (
    <button
      type="button"
      class={`btn ${p.look ?? "plain"} ${p.class ?? ""}`}
      data-testid={p.testid}
      aria-pressed={p.pressed}
      aria-label={p.label}
      disabled={p.off ?? false}
      onClick={p.onPress}
    >
      {p.children}
    </button>
  );
}

/** One of several; each a button, so that a touch is enough. `body` rows show left and right as on the patient, never mirrored. */
export function Choice<T extends string>(p: {
  label: string;
  options: { value: T; text: string }[];
  value: T | undefined;
  onChoose(v: T): void;
  testid: string;
  body?: boolean;
  columns?: number;
  class?: string;
  children?: ComponentChildren; // one button more, in the same rows
}) {
  return (
    <fieldset class={`choice ${p.class ?? ""}`} style={p.columns ? { "--columns": String(p.columns) } : undefined}>
      <legend>{p.label}</legend>
      <div class="choice-row" dir={p.body ? "ltr" : undefined}>
        {p.options.map((o) => (
          <Button key={o.value} testid={`${p.testid}-${o.value || "none"}`} pressed={o.value === p.value} onPress={() => p.onChoose(o.value)}>
            {o.text}
          </Button>
        ))}
        {p.children}
      </div>
    </fieldset>
  );
}

/** What destroys takes two different touches: the first shows the consequence in words, the second is elsewhere. */
export function Confirm(p: { text: string; what: string; sure: string; onSure(): void; testid: string; off?: boolean; look?: "danger" | "primary" | "plain" }) {
  const w = useWords();
  const [asked, ask] = useState(false);
  useEscape(asked ? () => ask(false) : undefined);
  if (!asked) {
    return (
      <Button testid={p.testid} look={p.look === "primary" ? "primary" : "plain"} off={p.off ?? false} onPress={() => ask(true)}>
        {p.text}
      </Button>
    );
  }
  return (
    <div class="confirm" role="group" aria-label={p.what}>
      <p>{p.what}</p>
      <div class="row">
        <Button testid={`${p.testid}-cancel`} onPress={() => ask(false)}>
          {w.t("word.cancel")}
        </Button>
        <Button
          testid={`${p.testid}-sure`}
          look={p.look ?? "danger"}
          off={p.off ?? false}
          onPress={() => {
            ask(false);
            p.onSure();
          }}
        >
          {p.sure}
        </Button>
      </div>
    </div>
  );
}

/** Why the last command did not work, and what to do. */
export function ProblemLine(p: { problem: Problem | undefined }) {
  const w = useWords();
  if (!p.problem) return null;
  return (
    <p class="problem" role="alert" data-testid="problem" data-code={p.problem.code}>
      {problemText(w, p.problem)}
    </p>
  );
}

export interface Action { label: string; onPress(): void; testid: string; off?: boolean }

/** A view that has nothing (yet, any more) to show says so: what, for whom, since when, what works, who can, what next. */
export function StateView(p: { state: ViewState; action?: Action; children?: ComponentChildren }) {
  const s = p.state;
  return (
    <section class={`state state-${s.kind}`} role="status" data-testid={`state-${s.kind}`}>
      <span class="mark" aria-hidden="true" />
      <StateText state={s} />
      {p.action && (
        <Button testid={p.action.testid} look="primary" off={p.action.off ?? false} onPress={p.action.onPress}>
          {p.action.label}
        </Button>
      )}
      {p.children}
    </section>
  );
}

function StateText({ state: s }: { state: ViewState }) {
  const w = useWords();
  const now = useNow();
  const age = (iso: string): string => w.ago(now - Date.parse(iso));
  switch (s.kind) {
    case "empty":
      return (
        <div>
          <h2>{say(w, s.what)}</h2>
          {s.next && <p>{say(w, s.next)}</p>}
        </div>
      );
    case "loading":
      return (
        <div>
          <h2>{w.t("state.loading", { what: say(w, s.what) })}</h2>
        </div>
      );
    case "waiting":
      return (
        <div>
          <h2>{w.t("state.waiting", { whom: say(w, s.whom) })}</h2>
          {s.since && <p>{w.t("state.waiting.since", { time: w.time(s.since), age: age(s.since) })}</p>}
          {s.next && <p>{say(w, s.next)}</p>}
        </div>
      );
    case "offline":
      return (
        <div>
          <h2>{say(w, s.title ?? "state.offline")}</h2>
          <p>{say(w, s.works)}</p>
          {s.since && <p>{w.t(s.shows === "data" ? "state.offline.age" : "state.waiting.since", { time: w.time(s.since), age: age(s.since) })}</p>}
        </div>
      );
    case "refused":
      return (
        <div>
          <h2>{w.t("state.refused")}</h2>
          <p>{say(w, s.why)}</p>
          <p>{w.t("state.refused.who", { who: say(w, s.who) })}</p>
        </div>
      );
    case "failed":
      return (
        <div>
          <h2>{w.t("state.failed")}</h2>
          <p>{say(w, s.why)}</p>
          <p>{w.t("state.failed.next", { next: say(w, s.next) })}</p>
        </div>
      );
    case "expired":
      return (
        <div>
          <h2>{w.t("state.expired")}</h2>
          <p>{say(w, s.why)}</p>
          {s.next && <p>{w.t("state.failed.next", { next: say(w, s.next) })}</p>}
        </div>
      );
  }
}

/** Language and light or dark. */
export function Looks() {
  const { words: w, settings, change } = usePage();
  return (
    <div class="looks">
      <Choice
        label={w.t("word.language")}
        testid="lang"
        value={settings.lang}
        options={languages.map((l) => ({ value: l.lang, text: l.name }))}
        onChoose={(lang) => change({ lang })}
      />
      <Choice
        label={w.t("word.theme")}
        testid="theme"
        value={settings.theme}
        options={(["auto", "light", "dark"] as const).map((v) => ({ value: v, text: w.t(`theme.${v}`) }))}
        onChoose={(theme) => change({ theme })}
      />
    </div>
  );
}

/** A part that may be longer than its place. Two buttons go through it: swiping is never the only way. */
export function Scroller(p: { children: ComponentChildren; class?: string; testid?: string }) {
  const w = useWords();
  const outer = useRef<HTMLDivElement>(null);
  const inner = useRef<HTMLDivElement>(null);
  const [more, setMore] = useState({ over: false, up: false, down: false });
  const look = (): void => {
    const o = outer.current;
    const i = inner.current;
    if (!o || !i) return;
    const next = { over: i.scrollHeight > o.clientHeight + 8, up: i.scrollTop > 1, down: i.scrollTop + i.clientHeight < i.scrollHeight - 1 };
    setMore((m) => (m.over === next.over && m.up === next.up && m.down === next.down ? m : next));
  };
  useLayoutEffect(look);
  useEffect(() => {
    // What is inside may grow later: a picture that has come.
    const resized = new ResizeObserver(look);
    const watch = (): void => {
      resized.disconnect();
      for (const el of [outer.current!, ...inner.current!.children]) resized.observe(el);
    };
    const changed = new MutationObserver(watch);
    changed.observe(inner.current!, { childList: true });
    watch();
    return () => {
      resized.disconnect();
      changed.disconnect();
    };
  }, []);
  const page = (by: number): void => inner.current?.scrollBy({ top: by * inner.current.clientHeight * 0.8 });
  return (
    <div ref={outer} class={`scroller ${p.class ?? ""}`} data-testid={p.testid}>
      <div ref={inner} class="scroll col" onScroll={look}>
        {p.children}
      </div>
      {more.over && (
        <div class="scroll-do">
          <Button testid="btn-scroll-up" off={!more.up} onPress={() => page(-1)}>
            {w.t("word.up")}
          </Button>
          <Button testid="btn-scroll-down" off={!more.down} onPress={() => page(1)}>
            {w.t("word.down")}
          </Button>
        </div>
      )}
    </div>
  );
}
