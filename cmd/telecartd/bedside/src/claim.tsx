// Claim: how a new cart comes to its hub. Capture does not wait for it.

import { useState } from "preact/hooks";
import { useCommand, useWords } from "../../../ui/base.tsx";
import { ProblemLine, StateView } from "../../../ui/components.tsx";
import { Typing } from "./typing.tsx";
import type { ViewProps } from "./view.ts";

const claimWaitMs = 60_000; // a key is made, a certificate fetched

export function ClaimView(p: ViewProps) {
  const w = useWords();
  const cmd = useCommand();
  const [code, setCode] = useState("");
  if (p.forced) return <StateView state={p.forced} />;
  return (
    <div class="fill" data-testid="view-claim">
      <Typing
        title={w.t("claim.title")}
        fields={[{ name: "claim", label: w.t("claim.what"), value: code, start: "letters" }]}
        onChange={(_, v) => setCode(v)}
        done={cmd.busy ? w.t("claim.doing") : w.t("claim.do")}
        doneTestid="btn-claim"
        off={cmd.busy || code.trim() === ""}
        onDone={() => void cmd.run(() => p.cart.command("claim", { code: code.trim() }, claimWaitMs))}
        onBack={() => p.go("patient")}
      >
        <p class="muted">{w.t("claim.works")}</p>
        <ProblemLine problem={cmd.problem} />
      </Typing>
    </div>
  );
}
