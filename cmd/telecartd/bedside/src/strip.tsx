// The strip: always there, always in the same place, never covered. Who the patient is, the link, what is held, the
// battery, who sees; each in words.

import type { BedsideState } from "../../../ui/api.ts";
import { useWords } from "../../../ui/base.tsx";
import { ageMonths, batteryLow } from "../../../ui/readings.ts";
import type { Words } from "../../../ui/strings/words.ts";
import type { Seen } from "./cart.ts";

// From here on the nurse is told to bring the cart to a link; from the second on there are no clips (cmd/telecartd/agent).
const diskFilling = 80;
const diskNearlyFull = 90;

export function Strip({ seen }: { seen: Seen }) {
  const w = useWords();
  const s = seen.state;
  const cut = seen.phase === "lost" || seen.phase === "expired";
  return (
    <header class="strip" aria-label={w.t("strip.label")} data-testid="strip">
      <PatientCell s={s} />
      <div class="cell" data-testid="strip-link" data-state={cut ? "page" : (s?.link.state ?? "")}>
        <LinkCell s={s} cut={cut} />
      </div>
      <div class="cell" data-testid="strip-held" data-held={s?.held ?? ""}>
        <strong>{s ? heldWords(w, s) : ""}</strong>
        {s?.damage && s.damage.items.length > 0 && (
          <span class="low" data-testid="strip-damaged">
            {w.t("held.damaged", { n: s.damage.items.length + s.damage.more })}
          </span>
        )}
        {s && s.refused > 0 && <span>{w.t("held.refused", { n: s.refused })}</span>}
      </div>
      <div class="cell" data-testid="strip-battery">
        <span class={s && batteryLow(s.instruments) ? "low" : ""}>{s ? batteryWords(w, s) : ""}</span>
        {s && s.disk_percent >= diskFilling && (
          <span class={s.disk_percent >= diskNearlyFull ? "low" : ""} data-testid="strip-disk">
            {w.t(s.disk_percent >= diskNearlyFull ? "disk.nearly-full" : "disk.filling", { n: s.disk_percent })}
          </span>
        )}
      </div>
      <div class="cell who" data-testid="strip-who">
        <span>{!s ? "" : cut ? w.t("who.unknown") : whoWords(w, s)}</span>
      </div>
    </header>
  );
}

function PatientCell({ s }: { s: BedsideState | undefined }) {
  const w = useWords();
  const pattern = s?.practice ? "pattern-practice" : s?.encounter && !s.patient ? "pattern-unidentified" : "";
  const who = s?.patient ? "bound" : s?.encounter ? "unidentified" : "nobody";
  return (
    <div class={`cell patient ${pattern}`} data-testid="strip-patient" data-who={who} data-practice={s?.practice ?? false}>
      <div>
        {s?.practice && <strong class="practice">{w.t("strip.practice")}</strong>}
        {s?.patient ? (
          <>
            <strong class="name">{s.patient.name ?? w.t("strip.id", { id: s.patient.id })}</strong>
            <span>{patientWords(w, s.patient)}</span>
          </>
        ) : s?.encounter ? (
          <>
            <strong class="name">{w.t("strip.unidentified")}</strong>
            <span>{w.t("strip.unidentified.how")}</span>
          </>
        ) : s ? (
          <>
            <strong class="name">{w.t("strip.nobody")}</strong>
            <span>{w.t("strip.nobody.how")}</span>
          </>
        ) : null}
      </div>
    </div>
  );
}

function LinkCell({ s, cut }: { s: BedsideState | undefined; cut: boolean }) {
  const w = useWords();
  if (cut) {
    return (
      <>
        <strong>{w.t("link.page")}</strong>
        <span>{w.t("link.page.why")}</span>
      </>
    );
  }
  if (!s) return null;
  return (
    <>
      <strong>{w.t(`link.${s.link.state}`)}</strong>
      <span>{w.t(`link.${s.link.state}.why`, { time: w.time(s.link.since) })}</span>
    </>
  );
}

export function batteryWords(w: Words, s: BedsideState): string {
  if (s.battery_min !== undefined) return w.t(batteryLow(s.instruments) ? "battery.low" : "battery.left", { n: s.battery_min });
  return s.battery_percent === undefined ? w.t("battery.unknown") : w.t("battery.mains", { n: s.battery_percent });
}

export function heldWords(w: Words, s: BedsideState): string {
  if (s.held > 0) return w.t("held.some", { n: s.held });
  return s.last_sent ? w.t("held.none", { time: w.time(s.last_sent) }) : w.t("held.nothing");
}

export function whoWords(w: Words, s: BedsideState): string {
  if (s.consult?.phase === "paused") return w.t("who.paused");
  const watchers = s.consult?.phase === "live" ? s.consult.watchers : [];
  if (watchers.length === 0) return w.t("who.none");
  // Control and pictures may break apart: without a link the cart can't know that nobody sees, nor that somebody does.
  if (s.link.state !== "up") return w.t("who.cut", { names: w.list(watchers) });
  return w.t(watchers.length === 1 ? "who.one" : "who.some", { names: w.list(watchers) });
}

/** Birth date, age and number. */
export function patientWords(w: Words, p: NonNullable<BedsideState["patient"]>): string {
  const months = ageMonths(p, new Date());
  const age = months === undefined ? p.age : Math.floor(months / 12);
  const parts: string[] = [];
  if (p.birth_date) parts.push(w.t("strip.born", { date: w.date(p.birth_date) }));
  if (months !== undefined && months < 24) parts.push(w.t("age.months", { n: months }));
  else if (age !== undefined) parts.push(w.t("age.years", { n: age }));
  if (p.name) parts.push(w.t("strip.id", { id: p.id }));
  return parts.join(", ");
}
