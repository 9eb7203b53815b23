// Call: a consult goes live only after a touch here. Who sees, who steers; pause, take back and end are always
// one touch away (CallBar, on every screen).

import { useState } from "preact/hooks";
import { useCommand, useWords } from "../../../ui/base.tsx";
import { Button, Confirm, ProblemLine, Scroller, StateView } from "../../../ui/components.tsx";
import type { BedsideState, Lease } from "../../../ui/api.ts";
import { ladderWords } from "../../../ui/ladder.ts";
import type { Words } from "../../../ui/strings/words.ts";
import type { Cart } from "./cart.ts";
import { Face } from "./face.tsx";
import { Picture } from "./picture.tsx";
import { viewState } from "./states.ts";
import { whoWords } from "./strip.tsx";
import { Typing } from "./typing.tsx";
import type { ViewProps } from "./view.ts";

function held(s: BedsideState): Lease[] {
  return s.leases.filter((l) => l.holder && !l.taken_back);
}

export function phaseWords(w: Words, s: BedsideState): string {
  const c = s.consult;
  if (c && c.phase !== "calling" && s.link.state !== "up") {
    const cut = w.t("call.cut", { name: c.by, time: w.time(s.link.since) });
    return c.phase === "paused" ? `${w.t("call.paused")} ${cut}` : cut;
  }
  switch (c?.phase) {
    case "offered":
      return w.t("call.offered", { name: c.by });
    case "live":
      return w.t("call.live", { name: c.by });
    case "paused":
      return w.t("call.paused");
    case "waiting-continue":
      return w.t("call.continue", { name: c.by });
    default:
      return "";
  }
}

export function CallView(p: ViewProps) {
  const w = useWords();
  const cmd = useCommand();
  const [why, setWhy] = useState<string>();
  const run = (verb: string, args: Record<string, unknown> = {}): void => void cmd.run(() => p.cart.command(verb, args));
  const state = p.forced ?? viewState("call", p.s);
  if (state) {
    const action =
      state.kind === "waiting"
        ? { label: w.t("call.cancel"), testid: "btn-cancel-call", onPress: () => run("cancel-call"), off: cmd.busy }
        : state.kind === "empty"
          ? { label: w.t("capture.need.open.go"), testid: "btn-go-patient", onPress: () => p.go("patient") }
          : undefined;
    return (
      <StateView state={state} {...(action && { action })}>
        <ProblemLine problem={cmd.problem} />
      </StateView>
    );
  }
  if (why !== undefined && !p.s.consult) {
    return (
      <Typing
        title={w.t("call.title")}
        fields={[{ name: "reason", label: w.t("call.reason"), value: why, start: "letters" }]}
        onChange={(_, v) => setWhy(v)}
        done={w.t("call.start")}
        doneTestid="btn-call"
        off={cmd.busy}
        onDone={() => run("call", why.trim() ? { reason: why.trim() } : {})}
        onBack={() => setWhy(undefined)}
      >
        <ProblemLine problem={cmd.problem} />
      </Typing>
    );
  }
  const c = p.s.consult;
  const cameras = p.s.instruments.filter((i) => i.kind === "camera");
  if (!c || c.phase === "calling") {
    return (
      <div class="task-view" data-testid="view-call">
        <div class="col grow card who-card">
          <h1 class="who-name">{w.t("call.title")}</h1>
          <p class="lead">{w.t("call.what")}</p>
          <ProblemLine problem={cmd.problem} />
        </div>
        <div class="col side-buttons">
          <Button testid="btn-call" look="primary" off={cmd.busy} onPress={() => run("call")}>
            {w.t("call.start")}
          </Button>
          <Button testid="btn-call-reason" off={cmd.busy} onPress={() => setWhy("")}>
            {w.t("call.reason")}
          </Button>
        </div>
      </div>
    );
  }
  const leases = c.phase === "offered" ? [] : p.s.leases;
  return (
    <div class="task-view" data-testid="view-call" data-phase={c.phase}>
      <div class="col grow">
        <Picture cart={p.cart} cameras={cameras} camera={p.camera} onCamera={p.onCamera} />
      </div>
      <Scroller class="side">
        <h1>
          {phaseWords(w, p.s)}
        </h1>
        {c.phase === "live" && p.s.link.state === "up" && (
          <p class="lead" data-testid="call-who">
            {whoWords(w, p.s)}
          </p>
        )}
        {c.ladder && c.ladder.step !== "full" && c.phase === "live" && p.s.link.state === "up" && (
          <p class="lead" data-testid="call-ladder" data-step={c.ladder.step}>
            {ladderWords(w, c.ladder)}
          </p>
        )}
        {c.phase === "live" && c.faces?.map((f) => <Face key={f.id} cart={p.cart} id={f.id} name={f.name} />)}
        {c.error && p.s.link.state === "up" && (
          <p class="problem" data-testid="call-error">
            {w.code("problem.", c.error)}
          </p>
        )}
        <ProblemLine problem={cmd.problem} />
        {(c.phase === "live" || c.phase === "paused") && (
          <Confirm
            testid="btn-end"
            text={w.t("call.end")}
            what={w.t("call.end.what")}
            sure={w.t("call.end.sure")}
            off={cmd.busy}
            onSure={() => run("answer", { answer: "end" })}
          />
        )}
        {leases.length > 0 && <h2>{w.t("lease.title")}</h2>}
        {leases.map((l) => {
          const instrument = w.code("instrument.name.", l.instrument);
          const taken = l.taken_back;
          return (
            <div class="lease" key={l.instrument} data-testid={`lease-${l.instrument}`} data-holder={l.holder_name ?? ""} data-taken={taken}>
              <p>{taken ? w.t("lease.taken", { instrument }) : l.holder ? w.t("lease.holder", { name: l.holder_name ?? l.holder, instrument }) : w.t("lease.none", { instrument })}</p>
              {taken ? (
                <Button testid={`btn-give-back-${l.instrument}`} off={cmd.busy} onPress={() => run("give-back", { instrument: l.instrument })}>
                  {w.t("lease.give-back")}
                </Button>
              ) : (
                <Button testid={`btn-lease-take-back-${l.instrument}`} look={l.holder ? "primary" : "plain"} off={cmd.busy} onPress={() => run("take-back", { instrument: l.instrument })}>
                  {l.holder ? w.t("lease.take-back") : w.t("lease.hold")}
                </Button>
              )}
            </div>
          );
        })}
      </Scroller>
    </div>
  );
}

/** Who hears and who is heard, in words. */
export function soundWords(w: Words, s: BedsideState): string[] {
  const v = s.consult?.phase === "live" && s.link.state === "up" ? s.consult.voice : undefined;
  if (!v) return [];
  const heard = v.heard.length > 0 ? [w.t("call.heard", { names: w.list(v.heard) })] : [];
  return [w.t(v.muted ? "call.muted" : v.sent ? "call.hear-you" : "call.sound.wait"), ...heard];
}

// What only the link can carry out; pausing and ending count at once, here.
const needsLink = ["accept", "resume"];

/** On every screen while somebody asks, sees or steers: one touch answers, pauses or takes back. */
export function CallBar(p: { s: BedsideState; cart: Cart }) {
  const w = useWords();
  const cmd = useCommand();
  const c = p.s.consult;
  const steering = held(p.s);
  if ((!c || c.phase === "calling") && steering.length === 0) return null;
  const run = (verb: string, args: Record<string, unknown>): void => void cmd.run(() => p.cart.command(verb, args));
  const answer = (verb: "accept" | "refuse" | "pause" | "resume" | "end", text: string, look: "primary" | "plain") => (
    <Button key={verb} testid={`btn-${verb}`} look={look} off={cmd.busy || (needsLink.includes(verb) && p.s.link.state !== "up")} onPress={() => run("answer", { answer: verb })}>
      {text}
    </Button>
  );
  return (
    <div class="bar call-bar" data-testid="call-bar" data-phase={c?.phase ?? ""}>
      <p class="grow">
        {[phaseWords(w, p.s), ...soundWords(w, p.s), ...steering.map((l) => w.t("lease.holder", { name: l.holder_name ?? l.holder ?? "", instrument: w.code("instrument.name.", l.instrument) }))]
          .filter(Boolean)
          .join(" · ")}
      </p>
      <ProblemLine problem={cmd.problem} />
      {steering.map((l) => (
        <Button key={l.instrument} testid={`btn-take-back-${l.instrument}`} look="primary" off={cmd.busy} onPress={() => run("take-back", { instrument: l.instrument })}>
          {steering.length > 1 ? w.t("lease.take-back.one", { instrument: w.code("instrument.name.", l.instrument) }) : w.t("lease.take-back")}
        </Button>
      ))}
      {c?.phase === "offered" && [answer("accept", w.t("call.accept"), "primary"), answer("refuse", w.t("call.refuse"), "plain")]}
      {c?.phase === "live" && c.voice && (
        <Button testid="btn-mute" pressed={c.voice.muted} off={cmd.busy} onPress={() => run(c.voice!.muted ? "unmute" : "mute", {})}>
          {w.t(c.voice.muted ? "call.unmute" : "call.mute")}
        </Button>
      )}
      {c?.phase === "live" && answer("pause", w.t("call.pause"), "plain")}
      {(c?.phase === "paused" || c?.phase === "waiting-continue") && answer("resume", w.t("call.resume"), "primary")}
      {c?.phase === "waiting-continue" && answer("end", w.t("call.end"), "plain")}
    </div>
  );
}
