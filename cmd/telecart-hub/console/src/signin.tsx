import { useState } from "preact/hooks";
import { useCommand, useWords } from "../../../ui/base.tsx";
import { Looks, ProblemLine } from "../../../ui/components.tsx";
import type { Hub } from "./hub.ts";

export function SignIn(p: { hub: Hub; expired: "expired" | "first" }) {
  const w = useWords();
  const cmd = useCommand();
  const [name, setName] = useState("");
  const [password, setPassword] = useState("");
  return (
    <main class="signin" data-testid="signin">
      <form
        class="card col"
        onSubmit={(e) => {
          e.preventDefault();
          void cmd.run(() => p.hub.signIn(name, password));
        }}
      >
        <h1>{w.t("app.console")}</h1>
        {p.expired === "expired" && (
          <p class="alert-line" role="status" data-testid="state-expired">
            {w.t("console.expired")}
          </p>
        )}
        <label class="field">
          <span>{w.t("console.name")}</span>
          <input type="text" data-testid="signin-name" autocomplete="username" value={name} onInput={(e) => setName(e.currentTarget.value)} />
        </label>
        <label class="field">
          <span>{w.t("console.password")}</span>
          <input type="password" data-testid="signin-password" autocomplete="current-password" value={password} onInput={(e) => setPassword(e.currentTarget.value)} />
        </label>
        <ProblemLine problem={cmd.problem} />
        <button type="submit" class="btn primary" data-testid="btn-signin" disabled={cmd.busy || name === "" || password === ""}>
          {w.t("console.signin")}
        </button>
      </form>
      <Looks />
    </main>
  );
}
