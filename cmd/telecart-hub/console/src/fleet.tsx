// IT's view: carts, what is wrong with them, claims, revocation. It shows no patients and asks for none.

import { useState } from "preact/hooks";
import type { ConsoleCart, Me } from "../../../ui/api.ts";
import { useCommand, useWords } from "../../../ui/base.tsx";
import { Button, Confirm, ProblemLine, StateView } from "../../../ui/components.tsx";
import type { ViewState } from "../../../ui/viewstate.ts";
import type { Hub } from "./hub.ts";
import { Ledger } from "./ledger.tsx";
import { fleetState } from "./states.ts";

export function Fleet(p: { hub: Hub; me: Me; carts: ConsoleCart[]; forced?: ViewState | undefined }) {
  const w = useWords();
  const cmd = useCommand();
  const [cart, setCart] = useState("");
  const [site, setSite] = useState("");
  const [claim, setClaim] = useState<{ cart: string; code: string; qr: string }>();
  const [looking, look] = useState<string>();
  const inspected = p.carts.find((c) => c.cart === looking);
  const state = p.forced ?? fleetState(p.me, p.carts);
  const ready = cart.trim() !== "" && site.trim() !== "" && !cmd.busy;
  const make = (): void =>
    void cmd.run(async () => {
      const made = (await p.hub.command("claim", { cart: cart.trim(), site: site.trim() })) as { code: string; qr: string };
      setClaim({ cart: cart.trim(), ...made });
    });
  return (
    <div class="fleet" data-testid="fleet">
      <section class="pane scroll">
        {state ? (
          <StateView state={state} />
        ) : (
          <table>
            <thead>
              <tr>
                {(["it.cart", "it.site", "it.state", "it.version", "it.held", "it.disk", "it.battery", "it.problems", "it.actions"] as const).map((k) => (
                  <th key={k} scope="col">
                    {w.t(k)}
                  </th>
                ))}
              </tr>
            </thead>
            <tbody>
              {[...p.carts].sort((a, b) => a.cart.localeCompare(b.cart)).map((c) => (
                <tr key={c.cart} data-testid={`fleet-${c.cart}`} data-state={c.state}>
                  <th scope="row">{c.cart}</th>
                  <td>{c.site}</td>
                  <td>{c.state === "offline" ? w.t("worklist.offline", { time: w.time(c.since) }) : w.t(`worklist.${c.state}`)}</td>
                  <td class="num">{c.version ?? ""}</td>
                  <td class="num">{c.held}</td>
                  <td class="num">{c.disk_percent === undefined ? "" : `${c.disk_percent} %`}</td>
                  <td class="num">{c.battery_min === undefined ? w.t("battery.unknown") : w.t("span.minutes", { n: c.battery_min })}</td>
                  <td data-testid="fleet-problems">{c.problems.length === 0 ? w.t("it.ok") : w.list(c.problems.map((x) => w.code("fleet.", x)))}</td>
                  <td class="col">
                    {p.me.role === "it" && (
                      <Button testid={`btn-ledger-${c.cart}`} pressed={looking === c.cart} onPress={() => look(c.cart)}>
                        {w.t("ledger.open")}
                      </Button>
                    )}
                    {!c.problems.includes("revoked") && (
                      <Confirm
                        testid={`btn-revoke-${c.cart}`}
                        text={w.t("it.revoke")}
                        what={w.t("it.revoke.what", { cart: c.cart })}
                        sure={w.t("it.revoke.sure", { cart: c.cart })}
                        off={cmd.busy}
                        onSure={() => void cmd.run(() => p.hub.command("revoke", { cart: c.cart }))}
                      />
                    )}
                  </td>
                </tr>
              ))}
            </tbody>
          </table>
        )}
      </section>
      {p.me.role === "it" && inspected && <Ledger hub={p.hub} cart={inspected} onClose={() => look(undefined)} />}
      {p.me.role === "it" && !inspected && (
        <section class="pane claim scroll" data-testid="claim">
          <h2>{w.t("it.claim")}</h2>
          <form
            class="col"
            onSubmit={(e) => {
              e.preventDefault();
              if (ready) make();
            }}
          >
            <label class="field">
              <span>{w.t("it.cart")}</span>
              <input type="text" data-testid="claim-cart" value={cart} autocomplete="off" onInput={(e) => setCart(e.currentTarget.value)} />
            </label>
            <label class="field">
              <span>{w.t("it.site")}</span>
              <input type="text" data-testid="claim-site" value={site} autocomplete="off" onInput={(e) => setSite(e.currentTarget.value)} />
            </label>
            <Button testid="btn-claim" look="primary" off={!ready} onPress={make}>
              {w.t("it.claim.do")}
            </Button>
          </form>
          <ProblemLine problem={cmd.problem} />
          {claim && (
            <div class="col" data-testid="claim-made">
              <h3>{w.t("it.claim.for", { cart: claim.cart })}</h3>
              <p class="muted">{w.t("it.claim.what")}</p>
              <code data-testid="claim-code">{claim.code}</code>
              <pre class="qr" data-testid="claim-qr" dir="ltr" aria-hidden="true">
                {claim.qr}
              </pre>
            </div>
          )}
        </section>
      )}
    </div>
  );
}
