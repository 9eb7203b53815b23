// The stage: what is seen now, large; steering below it; what was seen earlier beside it, never over it.

import { useEffect, useRef, useState } from "preact/hooks";
import type { ConsoleCart, ConsoleItem, Me } from "../../../ui/api.ts";
import { useCommand, useWords } from "../../../ui/base.tsx";
import { Button, Confirm, ProblemLine, StateView } from "../../../ui/components.tsx";
import { problemText, type ViewState } from "../../../ui/viewstate.ts";
import type { Hub } from "./hub.ts";
import { LadderLine } from "./ladder.tsx";
import { useLivePicture } from "./livepicture.tsx";
import { stageState } from "./states.ts";
import { SteerPanel, useSteering } from "./steerpanel.tsx";
import { byKey, drag, type Set, wheel } from "./steering.ts";
import { Viewer } from "./viewer.tsx";
import { voiced, Voices } from "./voice.tsx";
import { LiveWaves } from "./waves.tsx";

export interface StageProps {
  hub: Hub;
  cart: ConsoleCart | undefined;
  me: Me;
  earlier: ConsoleItem | undefined;
  onCloseEarlier(): void;
  forced?: ViewState | undefined;
}

/** What the page's keys need of the stage. */
export interface StageKeys { still(): void; lease(): void; source(n: number): void; steer(key: string): boolean }

const stillWaitMs = 20_000;

// A microphone that was turned on comes back by itself after a pause and after an outage.

export function Stage(p: StageProps & { keys: { current: StageKeys | undefined } }) {
  const w = useWords();
  const cmd = useCommand();
  const c = p.cart;
  const consult = c?.consult?.mine && (c.consult.phase === "live" || c.consult.phase === "paused") ? c.consult : undefined;
  const streams = consult?.streams ?? [];
  const [chosen, choose] = useState<string>();
  const source = streams.find((s) => s.instrument === chosen) ?? streams.find((s) => s.publishing) ?? streams[0];
  const instrument = c?.instruments.find((i) => i.name === source?.instrument);
  const state = p.forced ?? stageState(c, p.me);
  const live = useLivePicture(p.hub, state ? undefined : consult?.id, state ? undefined : source?.instrument, source?.publishing ?? false);
  const steering = useSteering(p.hub, c, instrument, p.me);
  const [stillTaken, setStill] = useState(false);
  useEffect(() => {
    if (!stillTaken) return;
    const t = setTimeout(() => setStill(false), 4000);
    return () => clearTimeout(t);
  }, [stillTaken]);

  const still = (): void => {
    if (!c || !instrument || !steering.mine) return;
    void cmd.run(async () => {
      await p.hub.command("act", { cart: c.cart, instrument: instrument.name, epoch: steering.lease!.epoch, kind: "still" }, stillWaitMs);
      setStill(true);
    });
  };
  p.keys.current = {
    still,
    lease: () => {
      if (c && instrument?.axes) void cmd.run(() => p.hub.command(steering.mine ? "release" : "lease", { cart: c.cart, instrument: instrument.name }));
    },
    source: (n) => streams[n - 1] && choose(streams[n - 1]!.instrument),
    steer: (key) => {
      const set = byKey(steering.axes, steering.values, key);
      if (!steering.mine || Object.keys(set).length === 0) return false;
      steering.set(set);
      return true;
    },
  };

  const earlier = p.earlier && <Viewer hub={p.hub} item={p.earlier} onClose={p.onCloseEarlier} />;
  const name = instrument ? w.code("instrument.name.", instrument.name) : "";
  return (
    <section class={`pane stage ${p.earlier ? "with-earlier" : ""}`} aria-label={w.t("console.stage")} data-testid="stage" data-phase={c?.consult?.phase ?? ""} tabIndex={-1} id="stage">
      {earlier}
      {state ? (
        <StateView state={state} />
      ) : (
        <>
          <figure class="live" data-state={live.motion}>
            <PictureSurface steering={steering}>
              <video ref={live.video} muted playsInline autoplay data-testid="stage-video" data-state={live.motion} data-frames={live.frames} data-first-ms={live.firstMs === undefined ? "" : Math.round(live.firstMs)} />
            </PictureSurface>
            <figcaption>
              <strong>{name}</strong>
              <span data-testid="stage-age">
                {live.motion === "live" ? w.t("picture.live") : live.motion === "frozen" ? w.t("picture.frozen", { age: w.ago(live.ageMs) }) : source ? w.t("picture.wait", { instrument: name }) : w.t("stage.no-stream")}
              </span>
              {instrument?.twin && <span class="twin">{w.t("word.twin")}</span>}
              {live.problem && live.ageMs >= 0 && live.motion !== "live" && (
                <span class="stage-problem" data-testid="stage-problem">
                  {problemText(w, live.problem)}
                  <Button testid="btn-watch-again" onPress={live.again}>
                    {w.t("word.again")}
                  </Button>
                </span>
              )}
            </figcaption>
          </figure>
          {consult?.ladder && <LadderLine key={consult.id} ladder={consult.ladder} />}
          {c && <LiveWaves hub={p.hub} cart={c} />}
          <div class="stage-bar">
            <span class="row" role="group" aria-label={w.t("stage.sources")}>
              {streams.map((s, i) => (
                <Button key={s.instrument} testid={`source-${s.instrument}`} pressed={s === source} onPress={() => choose(s.instrument)}>
                  {`${i + 1}  ${w.code("instrument.name.", s.instrument)}`}
                </Button>
              ))}
            </span>
            <Button testid="btn-still" look={steering.mine ? "primary" : "plain"} off={cmd.busy || !steering.mine} onPress={still}>
              {w.t("stage.still")}
            </Button>
            {stillTaken && <span role="status">{w.t("stage.still.done")}</span>}
            <ProblemLine problem={cmd.problem} />
          </div>
          {c && instrument && <SteerPanel hub={p.hub} cart={c} instrument={instrument} steering={steering} />}
        </>
      )}
      {c?.consult?.mine && voiced.includes(c.consult.phase) && <Voices key={c.consult.id} hub={p.hub} consult={c.consult} />}
      {c?.consult?.mine && c.consult.phase !== "ended" && c.consult.phase !== "refused" && (
        <div class="stage-bar leave">
          <Button testid="btn-leave" off={cmd.busy} onPress={() => void cmd.run(() => p.hub.command("leave", { consult: c.consult!.id }))}>
            {w.t("stage.leave")}
          </Button>
          <Confirm
            testid="btn-end"
            text={w.t("stage.end")}
            what={w.t("stage.end.what")}
            sure={w.t("stage.end.sure")}
            off={cmd.busy}
            onSure={() => void cmd.run(() => p.hub.command("end", { consult: c.consult!.id }))}
          />
        </div>
      )}
    </section>
  );
}

/** Takes drags and the wheel on the picture. Everything they do, buttons and keys do too. */
function PictureSurface(p: { steering: ReturnType<typeof useSteering>; children: preact.ComponentChildren }) {
  const w = useWords();
  const box = useRef<HTMLDivElement>(null);
  const from = useRef<{ x: number; y: number; values: Set }>();
  const latest = useRef(p.steering);
  latest.current = p.steering;
  useEffect(() => {
    const el = box.current;
    if (!el) return;
    // Not through JSX: it must be able to keep the page from scrolling.
    const turn = (e: WheelEvent): void => {
      const s = latest.current;
      if (!s.mine) return;
      e.preventDefault();
      s.set(wheel(s.axes, s.values, e.deltaY));
    };
    el.addEventListener("wheel", turn, { passive: false });
    return () => el.removeEventListener("wheel", turn);
  }, []);
  return (
    <div
      ref={box}
      class={`surface ${p.steering.mine ? "mine" : ""}`}
      data-testid="stage-surface"
      title={p.steering.mine ? w.t("steer.hint") : undefined}
      onPointerDown={(e) => {
        if (!p.steering.mine) return;
        e.currentTarget.setPointerCapture(e.pointerId);
        from.current = { x: e.clientX, y: e.clientY, values: p.steering.values };
      }}
      onPointerMove={(e) => {
        const f = from.current;
        if (!f) return;
        const r = e.currentTarget.getBoundingClientRect();
        p.steering.set(drag(p.steering.axes, f.values, (e.clientX - f.x) / r.width, (e.clientY - f.y) / r.height));
      }}
      onPointerUp={() => (from.current = undefined)}
      onPointerCancel={() => (from.current = undefined)}
    >
      {p.children}
    </div>
  );
}

