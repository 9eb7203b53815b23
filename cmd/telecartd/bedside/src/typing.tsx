// Typing: one field and the screen's own keyboard, in the flow of the page so that it covers nothing. A keyboard that is
// plugged in works as well.

import type { ComponentChildren } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { useEscape, useWords } from "../../../ui/base.tsx";
import { Button } from "../../../ui/components.tsx";

const letters: Record<string, string[]> = {
  en: ["qwertyuiop", "asdfghjkl", "zxcvbnm"],
  fr: ["azertyuiop", "qsdfghjklm", "wxcvbné"],
};
const symbols: Record<string, string[]> = {
  en: ["1234567890", "-/:;()&@\"", ".,?!'+%"],
  fr: ["1234567890", "-/:;()&@àè", ".,?!'çù"],
};

type Page = "letters" | "symbols";

export function Keyboard(p: { onText(s: string): void; onDelete(): void; start: Page }) {
  const w = useWords();
  const [page, setPage] = useState<Page>(p.start);
  const [upper, setUpper] = useState(false);
  const rows = (page === "letters" ? letters : symbols)[w.lang] ?? letters["en"]!;
  const press = (c: string): void => {
    p.onText(upper ? c.toLocaleUpperCase(w.lang === "fr" ? "fr" : "en") : c);
    setUpper(false);
  };
  return (
    <div class="keyboard" role="group" aria-label={w.t("key.label")} dir="ltr" data-testid="keyboard">
      {rows.map((row, i) => (
        <div class="keys" key={i}>
          {i === 2 && (
            <Button testid="key-shift" class="wide" pressed={upper} onPress={() => setUpper(!upper)}>
              {w.t("key.shift")}
            </Button>
          )}
          {[...row].map((c) => (
            <Button key={c} testid={`key-${c}`} onPress={() => press(c)}>
              {upper ? c.toLocaleUpperCase() : c}
            </Button>
          ))}
          {i === 2 && (
            <Button testid="key-delete" class="wide" onPress={p.onDelete}>
              {w.t("key.delete")}
            </Button>
          )}
        </div>
      ))}
      <div class="keys">
        <Button testid="key-page" class="wide" onPress={() => setPage(page === "letters" ? "symbols" : "letters")}>
          {w.t(page === "letters" ? "key.symbols" : "key.letters")}
        </Button>
        <Button testid="key-space" class="space" onPress={() => press(" ")}>
          {w.t("key.space")}
        </Button>
        <Button testid="key--" onPress={() => press("-")}>
          {"-"}
        </Button>
      </div>
    </div>
  );
}

export interface Field { name: string; label: string; value: string; start: Page }

/** Some fields, one keyboard. The keyboard writes into the field that was touched last. */
export function Typing(p: {
  title: string;
  fields: Field[];
  onChange(name: string, value: string): void;
  done: string;
  doneTestid: string;
  onDone(): void;
  onBack?: () => void;
  off?: boolean;
  long?: boolean;
  beside?: ComponentChildren;
  children?: ComponentChildren;
}) {
  const w = useWords();
  const [active, setActive] = useState(p.fields[0]?.name ?? "");
  const inputs = useRef(new Map<string, HTMLInputElement | HTMLTextAreaElement>());
  useEscape(p.onBack);
  useEffect(() => inputs.current.get(active)?.focus(), [active]);
  const field = p.fields.find((f) => f.name === active) ?? p.fields[0];
  const write = (change: (v: string) => string): void => {
    if (!field) return;
    p.onChange(field.name, change(field.value));
    inputs.current.get(field.name)?.focus();
  };
  return (
    <form
      class="typing"
      onSubmit={(e) => {
        e.preventDefault();
        if (!p.off) p.onDone();
      }}
    >
      <div class="typing-top">
        {p.beside}
        <div class="col grow">
          <h1>{p.title}</h1>
          <div class="fields">
            {p.fields.map((f) => {
              const common = {
                value: f.value,
                inputMode: "none" as const,
                autoComplete: "off",
                spellcheck: false,
                "data-testid": `field-${f.name}`,
                onFocus: () => setActive(f.name),
                ref: (el: HTMLInputElement | HTMLTextAreaElement | null) => void (el && inputs.current.set(f.name, el)),
              };
              return (
                <label key={f.name} class="field">
                  <span>{f.label}</span>
                  {p.long ? (
                    <textarea {...common} rows={2} onInput={(e) => p.onChange(f.name, e.currentTarget.value)} />
                  ) : (
                    <input {...common} type="text" onInput={(e) => p.onChange(f.name, e.currentTarget.value)} />
                  )}
                </label>
              );
            })}
          </div>
          {p.children}
        </div>
        <div class="col typing-do">
          {p.onBack && (
            <Button testid="btn-back" onPress={p.onBack}>
              {w.t("word.back")}
            </Button>
          )}
          <Button testid={p.doneTestid} look="primary" off={p.off ?? false} onPress={p.onDone}>
            {p.done}
          </Button>
        </div>
      </div>
      <Keyboard key={active} start={field?.start ?? "letters"} onText={(s) => write((v) => v + s)} onDelete={() => write((v) => v.slice(0, -1))} />
    </form>
  );
}
