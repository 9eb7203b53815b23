// Stop: a wristband of somebody else was scanned. Both names; nothing changes until somebody has looked and chosen.

import type { BedsideState, Patient } from "../../../ui/api.ts";
import { useCommand, useWords } from "../../../ui/base.tsx";
import { Button, Confirm, ProblemLine } from "../../../ui/components.tsx";
import type { Cart } from "./cart.ts";
import { patientWords } from "./strip.tsx";

export function Stop(p: { alert: NonNullable<BedsideState["alert"]>; cart: Cart }) {
  const w = useWords();
  const cmd = useCommand();
  const name = (x: Patient): string => x.name ?? w.t("strip.id", { id: x.id });
  const resolve = (action: "keep" | "close"): void => void cmd.run(() => p.cart.command("resolve-alert", { action }));
  const who = (title: string, x: Patient, testid: string) => (
    <div class="card col grow" data-testid={testid}>
      <p class="muted">{title}</p>
      <p class="who-name">{name(x)}</p>
      <p class="lead">{patientWords(w, { ...x, source: "wristband" })}</p>
    </div>
  );
  return (
    <section class="stop" role="alertdialog" aria-label={w.t("alert.title")} data-testid="stop">
      <h1>{w.t("alert.title")}</h1>
      <p class="lead">{w.t("alert.what")}</p>
      <div class="row stop-names">
        {who(w.t("alert.current"), p.alert.current, "stop-current")}
        {who(w.t("alert.scanned"), p.alert.scanned, "stop-scanned")}
      </div>
      <ProblemLine problem={cmd.problem} />
      <div class="row stop-choices">
        <Button testid="btn-alert-keep" off={cmd.busy} onPress={() => resolve("keep")}>
          {w.t("alert.keep", { name: name(p.alert.current) })}
        </Button>
        <Confirm
          testid="btn-alert-close"
          text={w.t("alert.close", { name: name(p.alert.scanned) })}
          what={w.t("alert.close.what", { name: name(p.alert.current) })}
          sure={w.t("alert.close.sure")}
          off={cmd.busy}
          onSure={() => resolve("close")}
        />
      </div>
    </section>
  );
}
