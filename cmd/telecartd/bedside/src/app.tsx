// The bedside screen: the strip, what asks for an answer, one task, the tasks.

import { useCallback, useEffect, useState } from "preact/hooks";
import { useCommand, useEscape, useNow, useWords } from "../../../ui/base.tsx";
import { Button, ProblemLine, StateView } from "../../../ui/components.tsx";
import { aged } from "../../../ui/readings.ts";
import type { Words } from "../../../ui/strings/words.ts";
import type { ViewState } from "../../../ui/viewstate.ts";
import { problem } from "../../../ui/socket.ts";
import { listenForScans } from "../../../ui/wedge.ts";
import type { BedsideState, Input } from "../../../ui/api.ts";
import { CallBar, CallView } from "./call.tsx";
import { CaptureView } from "./capture.tsx";
import type { Cart, Seen } from "./cart.ts";
import { ClaimView } from "./claim.tsx";
import { HelpView } from "./help.tsx";
import { InstrumentsView } from "./instruments.tsx";
import { countWords, ItemsView } from "./items.tsx";
import { CuffBar } from "./measure.tsx";
import { PatientView } from "./patient.tsx";
import { pageState } from "./states.ts";
import { Stop } from "./stop.tsx";
import { Strip } from "./strip.tsx";
import type { Task, ViewProps } from "./view.ts";

const tasks = ["patient", "instruments", "capture", "items", "call", "help"] as const;

const shown: Record<Task, (p: ViewProps) => preact.JSX.Element> = {
  patient: PatientView,
  instruments: InstrumentsView,
  capture: CaptureView,
  items: ItemsView,
  call: CallView,
  help: HelpView,
  claim: ClaimView,
};

export function App(p: { seen: Seen; cart: Cart; input?: Input | undefined; start?: Task; forced?: ViewState }) {
  const w = useWords();
  const known = p.seen.state;
  const s = known && p.seen.phase !== "open" ? { ...known, instruments: aged(known.instruments) } : known;
  const [chosen, choose] = useState<Task | undefined>(p.start);
  const [camera, setCamera] = useState<string>();
  const [shutter, setShutter] = useState<string>();
  const scan = useCommand();
  const enrolled = s?.link.state !== "not-enrolled";
  const task: Task = chosen ?? (enrolled ? "patient" : "claim");
  const go = useCallback((t: Task) => choose(t), []);
  useEscape(task === "patient" ? undefined : () => choose("patient"));
  const claiming = task === "claim" && !enrolled;

  const scanned = (code: string | undefined, symbology?: string): void =>
    void scan.run(() => {
      if (code === undefined) return Promise.reject(problem("bad-code"));
      return claiming ? p.cart.command("claim", { code }, 60_000) : p.cart.command("scan", { code, ...(symbology && { symbology }) });
    });
  useEffect(() => listenForScans(({ code }) => scanned(code)), [p.cart, claiming]);
  useEffect(() => {
    if (enrolled && chosen === "claim") choose("patient");
  }, [enrolled]);

  const cameras = s?.instruments.filter((i) => i.kind === "camera") ?? [];
  const current = cameras.find((c) => c.name === camera) ?? cameras.find((c) => c.health.state === "live") ?? cameras[0];
  useEffect(() => { // a scanner on a line of its own, a pedal, a camera's button: each a new object
    if (p.input?.act === "scanned") scanned(p.input.text, p.input.symbology);
    const camera = cameras.find((c) => c.name === p.input?.instrument) ?? current;
    if (p.input?.act === "shutter" && camera && s && !s.alert) {
      setCamera(camera.name);
      choose("capture"); // which says so when no encounter is open
      if (s.encounter) setShutter(camera.name);
    }
  }, [p.input]);
  useEffect(() => setShutter(undefined), [s?.encounter?.id, s?.alert !== undefined]); // a press is of the patient who was there then
  const page = p.forced && !s ? p.forced : pageState(p.seen);
  const View = shown[task];
  return (
    <div class="screen" data-task={task}>
      <Strip seen={p.seen} />
      <div class="bars">
        {s && p.seen.phase === "open" && <CuffBar s={s} cart={p.cart} />}
        {s && p.seen.phase === "open" && <CallBar s={s} cart={p.cart} />}
        {s && !page && (!s.alert || p.seen.phase === "lost") && <Banner s={s} cart={p.cart} seen={p.seen} problem={scan.problem} onProblem={scan.clear} onClaim={task === "claim" ? undefined : () => go("claim")} />}
      </div>
      <main class="main">
        {page || !s ? (
          <StateView state={page ?? { kind: "loading", what: "view.connection" }} />
        ) : s.alert ? (
          <Stop alert={s.alert} cart={p.cart} />
        ) : (
          <View s={s} cart={p.cart} camera={current} onCamera={setCamera} go={go} forced={p.forced} shutter={shutter} onShutter={() => setShutter(undefined)} />
        )}
      </main>
      <nav class="tasks" aria-label={w.t("task.label")}>
        {tasks.map((t) => (
          <button key={t} type="button" class="btn task" data-testid={`task-${t}`} aria-current={t === task ? "page" : undefined} onClick={() => go(t)}>
            {w.t(`task.${t}`)}
          </button>
        ))}
      </nav>
    </div>
  );
}

// A link that is only cut needs nobody: the strip says it, and it comes back by itself.
const alone = ["no-answer", "never-connected", "busy"];

/** Why there is no link: the link's own words, or those of what the hub refused. */
function linkReason(w: Words, code: string): string {
  const key = `link.reason.${code}`;
  return w.has(key) ? w.t(key) : w.code("problem.", code);
}

/** At most one thing at a time, in words; it pushes the task down and covers nothing. */
function Banner(p: { s: BedsideState; cart: Cart; seen: Seen; problem: ReturnType<typeof useCommand>["problem"]; onProblem(): void; onClaim: (() => void) | undefined }) {
  const w = useWords();
  const cmd = useCommand();
  const now = useNow();
  if (p.seen.phase === "lost") {
    const since = p.seen.lostAt ?? p.s.now;
    return (
      <div class="bar" role="status" data-testid="banner-offline">
        <p>
          <strong>{w.t("state.offline.page")}. </strong>
          {w.t("state.offline.age", { time: w.time(since), age: w.ago(now - Date.parse(since)) })}
        </p>
      </div>
    );
  }
  if (p.problem) {
    return (
      <div class="bar">
        <ProblemLine problem={p.problem} />
        <Button testid="btn-problem-ok" onPress={p.onProblem}>
          {w.t("notice.dismiss")}
        </Button>
      </div>
    );
  }
  const notice = p.s.notices[0];
  if (notice) {
    const key = `notice.${notice.code}${notice.code === "name-alert" && !notice.with?.["name"] ? ".unnamed" : ""}`;
    const born = notice.with?.["birth_date"];
    const kind = notice.with?.["kind"];
    const params = { cart: p.s.cart, ...notice.with, ...(kind && { what: w.code("item.", kind) }), ...(born && { birth_date: w.date(born) }) };
    return (
      <div class="bar" role="status" data-testid="notice" data-code={notice.code}>
        <p class="grow">
          {p.s.notices.length > 1 && <span class="muted">{w.t("notice.count", { n: 1, of: p.s.notices.length })} </span>}
          {notice.code === "name-alert" && <strong>{w.t("name-alert.title")}. </strong>}
          {w.has(key) ? w.t(key, params) : w.t("notice.other", { code: w.code("", notice.code) })}
        </p>
        <Button testid="btn-dismiss" off={cmd.busy} onPress={() => void cmd.run(() => p.cart.command("dismiss", { notice: notice.id }))}>
          {w.t("notice.dismiss")}
        </Button>
      </div>
    );
  }
  if (p.s.encounter?.restored && !p.s.patient) {
    return (
      <div class="bar" role="status" data-testid="banner-restored">
        <p>
          <strong>{w.t("restored.title")} </strong>
          {w.t("restored.what", { counts: countWords(w, p.s.held_by_kind) })}
        </p>
      </div>
    );
  }
  if (p.s.link.state === "down" && p.s.link.reason && !alone.includes(p.s.link.reason)) {
    return (
      <div class="bar" role="status" data-testid="banner-link" data-code={p.s.link.reason}>
        <p>
          <strong>{w.t("link.down")} </strong>
          {linkReason(w, p.s.link.reason)}
        </p>
      </div>
    );
  }
  if (p.s.link.state === "not-enrolled" && p.onClaim) {
    return (
      <div class="bar" role="status" data-testid="banner-claim">
        <p class="grow">
          {w.t("claim.title")}. {w.t("claim.works")}
        </p>
        <Button testid="btn-go-claim" onPress={p.onClaim}>
          {w.t("claim.do")}
        </Button>
      </div>
    );
  }
  return null;
}
