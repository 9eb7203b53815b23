// The console's strip: always there, never covered. Whose encounter is in view, the cart's link and what it holds, who
// sees, this page's own connection, who is signed in.

import type { ConsoleCart, ConsoleEncounter } from "../../../ui/api.ts";
import { usePage } from "../../../ui/base.tsx";
import { Button } from "../../../ui/components.tsx";
import { ageMonths, charge } from "../../../ui/readings.ts";
import { languages, type Words } from "../../../ui/strings/words.ts";
import type { Hub, Seen } from "./hub.ts";

export function Strip(p: { seen: Seen; hub: Hub; cart: ConsoleCart | undefined; encounter: ConsoleEncounter | undefined; onKeys(): void }) {
  const { words: w, settings, change } = usePage();
  const s = p.seen.state;
  const me = p.seen.me;
  const lost = p.seen.phase === "lost";
  const next = languages[(languages.findIndex((l) => l.lang === settings.lang) + 1) % languages.length]!;
  const themes = ["auto", "light", "dark"] as const;
  const theme = themes[(themes.indexOf(settings.theme) + 1) % themes.length]!;
  const watchers = p.cart?.consult && ["live", "paused"].includes(p.cart.consult.phase) ? p.cart.consult.watchers : [];
  return (
    <header class="strip" aria-label={w.t("strip.label")} data-testid="strip">
      {me?.role === "it" ? <div class="cell patient"><strong class="name">{w.t("it.title", { tenant: me.tenant })}</strong><span>{w.t("it.nopatients")}</span></div> : <PatientCell cart={p.cart} encounter={p.encounter} />}
      {me?.role !== "it" && p.cart && (
        <>
          <div class="cell" data-testid="strip-link" data-state={p.cart.state}>
            <strong>{p.cart.cart}</strong>
            <span>{p.cart.state === "offline" ? w.t("worklist.offline", { time: w.time(p.cart.since) }) : w.t("link.up")}</span>
          </div>
          {(p.cart.state !== "offline" || p.cart.held > 0) && (
            <div class="cell" data-testid="strip-held" data-held={p.cart.held}>
              <span>{p.cart.held > 0 ? w.t("worklist.held", { n: p.cart.held }) : w.t("held.nothing")}</span>
              {p.cart.state !== "offline" && <span>{batteryWords(w, p.cart)}</span>}
            </div>
          )}
          <div class="cell" data-testid="strip-who">
            <span>
              {lost
                ? w.t("who.unknown")
                : p.cart.consult?.phase === "paused"
                ? w.t("who.paused")
                : watchers.length === 0
                  ? w.t("who.none")
                  : w.t(watchers.length === 1 ? "who.one" : "who.some", { names: w.list(watchers) })}
            </span>
          </div>
        </>
      )}
      <div class="cell end" data-testid="strip-hub" data-state={p.seen.phase}>
        <span>{lost ? w.t("console.hub.down", { time: w.time(p.seen.lostAt ?? "") }) : w.t("console.hub.up")}</span>
        {s && <span class="muted">{w.t("console.updated", { time: w.time(s.now) })}</span>}
      </div>
      <div class="cell me">
        <span>
          <strong data-testid="me">{me?.name}</strong> {me && w.t(`console.role.${me.role}`)}
        </span>
        <span class="row">
          <Button testid="btn-keys" onPress={p.onKeys} label={w.t("console.keys")}>
            {"?"}
          </Button>
          <Button testid={`lang-${next.lang}`} onPress={() => change({ lang: next.lang })}>
            {next.name}
          </Button>
          <Button testid="theme-next" onPress={() => change({ theme })} label={`${w.t("word.theme")}: ${w.t(`theme.${theme}`)}`}>
            {w.t(`theme.${theme}`)}
          </Button>
          <Button testid="btn-signout" onPress={() => void p.hub.signOut()}>
            {w.t("console.signout")}
          </Button>
        </span>
      </div>
    </header>
  );
}

function batteryWords(w: Words, c: ConsoleCart): string {
  if (c.battery_min !== undefined) return w.t("battery.left", { n: c.battery_min });
  const full = charge(c.instruments);
  return full === undefined ? w.t("battery.unknown") : w.t("battery.mains", { n: full });
}

function PatientCell(p: { cart: ConsoleCart | undefined; encounter: ConsoleEncounter | undefined }) {
  const { words: w } = usePage();
  const e = p.encounter?.summary ?? p.cart?.encounter;
  const x = e?.patient;
  const practice = e?.practice ?? false;
  const months = ageMonths(x, new Date());
  const years = months === undefined ? x?.age : Math.floor(months / 12);
  const parts = [
    x?.birth_date && w.t("strip.born", { date: w.date(x.birth_date) }),
    months !== undefined && months < 24 ? w.t("age.months", { n: months }) : years !== undefined && w.t("age.years", { n: years }),
    x && w.t("strip.id", { id: x.id }),
  ].filter(Boolean);
  return (
    <div
      class={`cell patient ${practice ? "pattern-practice" : e && !x ? "pattern-unidentified" : ""}`}
      data-testid="strip-patient"
      data-who={x ? "bound" : e ? "unidentified" : "nobody"}
      data-practice={practice}
    >
      <div>
        {practice && <strong class="practice">{w.t("strip.practice")}</strong>}
        <strong class="name">{x ? (x.name ?? w.t("strip.id", { id: x.id })) : e ? w.t("strip.unidentified") : w.t("strip.nobody")}</strong>
        <span>{practice && !x ? w.t("known.practice") : parts.join(", ")}</span>
      </div>
    </div>
  );
}
