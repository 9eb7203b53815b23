// Help: there before anything else is, without link, without patient.

import { useWords } from "../../../ui/base.tsx";
import { Looks } from "../../../ui/components.tsx";
import type { ViewProps } from "./view.ts";

export function HelpView(p: ViewProps) {
  const w = useWords();
  return (
    <div class="task-view" data-testid="view-help">
      <div class="col grow card scroll">
        <h1>{w.t("help.title")}</h1>
        <ol class="help">
          {(["help.1", "help.2", "help.3", "help.4", "help.5"] as const).map((k) => (
            <li key={k}>{w.t(k)}</li>
          ))}
        </ol>
        <p class="not-monitor">{w.t("vitals.not-monitor")}</p>
      </div>
      <div class="col side">
        <Looks />
        <p class="muted">
          {w.t("help.cart", { cart: p.s.cart })}. {p.s.hub && `${w.t("help.hub", { hub: p.s.hub })}. `}
          {w.t("word.version", { version: p.s.version })}
        </p>
      </div>
    </div>
  );
}
