// Capture: one touch takes a picture. Side and site are "not stated" until touched and go back to that after each
// capture: they are never remembered for the next one.

import { useEffect, useRef, useState } from "preact/hooks";
import { useCommand, useEscape, useWords } from "../../../ui/base.tsx";
import { Button, ProblemLine, Scroller, StateView } from "../../../ui/components.tsx";
import type { Key } from "../../../ui/strings/words.ts";
import { Lights } from "./lights.tsx";
import { Measure, metersOf } from "./measure.tsx";
import { Picture } from "./picture.tsx";
import { Lengths, useRecorder } from "./record.tsx";
import { Still } from "./review.tsx";
import { Sounds } from "./sounds.tsx";
import { viewState } from "./states.ts";
import { Typing } from "./typing.tsx";
import type { ViewProps } from "./view.ts";
import { drawers, Waves } from "./waves.tsx";
import { type Side, useWhere, WhereChoice } from "./work.tsx";

type Panel = "where" | "clip" | "measure" | "waveform" | "sound" | "note";
interface Taken { item: string; at: string; side: Side; site: string }

export function CaptureView(p: ViewProps) {
  const w = useWords();
  const cmd = useCommand();
  const recorder = useRecorder(p.cart);
  const where = useWhere();
  const [panel, setPanel] = useState<Panel>("where");
  const [note, setNote] = useState("");
  const [taken, setTaken] = useState<Taken>();
  const [savedAt, setSavedAt] = useState<string>();
  const back = (): void => {
    setPanel("where");
    setTaken(undefined);
    where.clear();
    recorder.forget();
  };
  useEscape(panel === "clip" || taken ? back : undefined);
  useEffect(() => {
    if (!savedAt) return;
    const t = setTimeout(() => setSavedAt(undefined), 4000);
    return () => clearTimeout(t);
  }, [savedAt]);

  useEffect(() => {
    if (panel !== "clip" || !recorder.savedAt) return; // one clip, and back to pictures
    setSavedAt(recorder.savedAt);
    setPanel("where");
  }, [recorder.savedAt]);

  const take = useRef<(camera: string) => void>();
  useEffect(() => {
    if (!p.shutter) return;
    p.onShutter?.();
    take.current?.(p.shutter);
  }, [p.shutter]);

  const state = p.forced ?? viewState("capture", p.s);
  if (state) {
    const action = { label: w.t("capture.need.open.go"), testid: "btn-go-patient", onPress: () => p.go("patient") };
    return <StateView state={state} {...(!p.s.encounter && { action })} />;
  }
  const cameras = p.s.instruments.filter((i) => i.kind === "camera");
  const waves = drawers(p.s.instruments);
  const stethoscope = p.s.instruments.find((i) => i.kind === "stethoscope");

  const still = (side: Side, site: string, camera = p.camera?.name): void =>
    void cmd.run(async () => {
      const r = (await p.cart.command("still", { instrument: camera, ...(side && { side }), ...(site && { site }) })) as { item: string };
      setTaken({ item: r.item, at: new Date().toISOString(), side, site });
      setPanel("where");
      where.clear();
    });
  take.current = (camera) => {
    if (!cmd.busy && (panel === "where" || panel === "clip")) still(where.side, where.site, camera);
  };
  const retake = async (): Promise<void> => {
    const old = taken;
    if (!old) return;
    const ok = await cmd.run(async () => {
      await p.cart.command("correct", { item: old.item, reason: "entered-in-error" });
      return true;
    });
    if (!ok) return;
    setTaken(undefined);
    still(old.side, old.site);
  };
  const saveNote = (): void =>
    void cmd.run(async () => {
      await p.cart.command("note", { text: note.trim() });
      setSavedAt(new Date().toISOString());
      setNote("");
      back();
    });

  switch (panel) {
    case "measure":
      return <Measure cart={p.cart} items={p.s.items} meters={metersOf(p.s.instruments)} practice={p.s.practice} onBack={back} />;
    case "sound":
      if (stethoscope) return <Sounds cart={p.cart} stethoscope={stethoscope} recorder={recorder} onBack={back} />;
      break;
    case "waveform":
      if (waves.length > 0) return <Waves cart={p.cart} instruments={waves} recorder={recorder} onBack={back} />;
      break;
    case "note":
      return (
        <Typing
          title={w.t("capture.note")}
          fields={[{ name: "note", label: w.t("capture.note.label"), value: note, start: "letters" }]}
          onChange={(_, v) => setNote(v)}
          done={w.t("capture.note.save")}
          doneTestid="btn-note-save"
          off={cmd.busy || note.trim() === ""}
          onDone={saveNote}
          onBack={back}
          long
          beside={<Picture cart={p.cart} cameras={[]} camera={p.camera} onCamera={p.onCamera} />}
        >
          <ProblemLine problem={cmd.problem} />
        </Typing>
      );
  }

  const busy = cmd.busy || recorder.busy;
  const open = (x: Panel): void => {
    setTaken(undefined);
    recorder.forget();
    where.clear();
    setPanel(panel === x ? "where" : x);
  };
  return (
    <div class="task-view" data-testid="view-capture">
      <div class="col grow">
        <Picture cart={p.cart} cameras={cameras} camera={p.camera} onCamera={p.onCamera} />
        <div class="capture-bar">
          <Button testid="btn-still" look="primary" off={busy || !p.camera} onPress={() => still(where.side, where.site)}>
            {w.t("capture.still")}
          </Button>
          <Button testid="btn-clip" pressed={panel === "clip"} off={busy || !p.camera} onPress={() => open("clip")}>
            {w.t("capture.clip")}
          </Button>
          <Button testid="btn-measure" off={busy} onPress={() => open("measure")}>
            {w.t("capture.measure")}
          </Button>
          <Button testid="btn-waveform" off={busy || waves.length === 0} onPress={() => open("waveform")}>
            {w.t("capture.waveform")}
          </Button>
          <Button testid="btn-sound" off={busy || !stethoscope} onPress={() => open("sound")}>
            {w.t("capture.sound")}
          </Button>
          <Button testid="btn-note" off={busy} onPress={() => open("note")}>
            {w.t("capture.note")}
          </Button>
        </div>
      </div>
      <Scroller class="side">
        <ProblemLine problem={cmd.problem} />
        {savedAt && (
          <p class="done" role="status" data-testid="saved">
            {w.t("capture.saved", { time: w.time(savedAt) })}
          </p>
        )}
        <ProblemLine problem={recorder.problem} />
        {taken ? (
          <div class="col" data-testid="taken" data-item={taken.item}>
            <h2>{w.t("capture.saved", { time: w.time(taken.at) })}</h2>
            <div class="row">
              <Button testid="btn-keep" class="grow" onPress={back}>
                {w.t("capture.keep")}
              </Button>
              <Button testid="btn-retake" class="grow" off={cmd.busy} onPress={() => void retake()}>
                {w.t("capture.retake")}
              </Button>
            </div>
            <Still cart={p.cart} item={taken.item} at={taken.at} />
            <p>{[taken.side && w.t(`side.${taken.side}`), taken.site && w.t(`site.${taken.site}` as Key)].filter(Boolean).join(", ") || w.t("side.")}</p>
            <p class="muted">{w.t("capture.retake.what")}</p>
          </div>
        ) : (
          <>
            {(panel === "clip" || recorder.until !== undefined) && (
              <Lengths verb="clip" seconds={[3, 5, 10]} recorder={recorder} off={!p.camera} onRecord={(n) => p.camera && recorder.record("clip", p.camera.name, n, where)} />
            )}
            <WhereChoice where={where} place="camera" columns={4} />
            {panel === "where" && <Lights cart={p.cart} instruments={p.s.instruments} />}
          </>
        )}
      </Scroller>
    </div>
  );
}
