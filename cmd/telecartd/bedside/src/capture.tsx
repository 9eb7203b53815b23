// Capture: one touch takes a picture. Side and site are "not stated" until touched and go back to that after each
// capture: they are never remembered for the next one.

import { useEffect, useRef, useState } from "preact/hooks";
import type { Instrument } from "../../../ui/api.ts";
import { useCommand, useEscape, useWords } from "../../../ui/base.tsx";
import { Button, Choice, ProblemLine, Scroller, StateView } from "../../../ui/components.tsx";
import type { Key } from "../../../ui/strings/words.ts";
import { Measure } from "./measure.tsx";
import { Picture } from "./picture.tsx";
import { Still } from "./review.tsx";
import { listenedAt, Sounds } from "./sounds.tsx";
import { viewState } from "./states.ts";
import { Typing } from "./typing.tsx";
import type { ViewProps } from "./view.ts";

export const sites = {
  camera: ["ear", "eye", "nose", "throat", "face", "chest", "back", "arm", "hand", "leg", "foot", ""],
  thermometer: ["axilla", "ear", "oral", "forehead", ""],
  oximeter: ["finger", "toe", "earlobe", ""],
  cuff: ["arm", "leg", ""],
  stethoscope: listenedAt,
} as const;

/** Kinds whose values are a patient's. */
const measuring: Instrument["kind"][] = ["oximeter", "thermometer", "cuff", "ecg", "scale"];

const isSited = (kind: string): kind is keyof typeof sites => kind in sites;

type Side = "" | "left" | "right";
type Panel = "where" | "clip" | "measure" | "waveform" | "sound" | "note";
interface Taken { item: string; at: string; side: Side; site: string }

export function CaptureView(p: ViewProps) {
  const w = useWords();
  const cmd = useCommand();
  const [panel, setPanel] = useState<Panel>("where");
  const [side, setSide] = useState<Side>("");
  const [site, setSite] = useState("");
  const [note, setNote] = useState("");
  const [taken, setTaken] = useState<Taken>();
  const [done, setDone] = useState<{ text: string }>(); // a new one each time: the same words said again stay as long again
  const [recording, setRecording] = useState(0);
  const back = (): void => {
    setPanel("where");
    setTaken(undefined);
    setSide("");
    setSite("");
  };
  useEscape(panel !== "where" || taken ? back : undefined);
  useEffect(() => {
    if (!done) return;
    const t = setTimeout(() => setDone(undefined), 4000);
    return () => clearTimeout(t);
  }, [done]);

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
  const meters = p.s.instruments.filter((i) => measuring.includes(i.kind));
  const oximeter = p.s.instruments.find((i) => i.kind === "oximeter");
  const stethoscope = p.s.instruments.find((i) => i.kind === "stethoscope");
  const where = { ...(side && { side }), ...(site && { site }) };
  const said = (): void => setDone({ text: w.t("capture.saved", { time: w.time(new Date().toISOString()) }) });

  const still = (s: Side, at: string, camera = p.camera?.name): void =>
    void cmd.run(async () => {
      const r = (await p.cart.command("still", { instrument: camera, ...(s && { side: s }), ...(at && { site: at }) })) as { item: string };
      setTaken({ item: r.item, at: new Date().toISOString(), side: s, site: at });
      setPanel("where");
      setSide("");
      setSite("");
    });
  take.current = (camera) => {
    if (!cmd.busy) still(side, site, camera);
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
  const record = (verb: "clip" | "waveform" | "sound", instrument: string | undefined, seconds: number): void =>
    void cmd.run(async () => {
      setRecording(seconds);
      try {
        await p.cart.command(verb, { instrument, seconds, ...where }, (seconds + 20) * 1000);
        said();
        back();
      } finally {
        setRecording(0);
      }
    });
  const save = (verb: string, args: Record<string, unknown>): void =>
    void cmd.run(async () => {
      await p.cart.command(verb, args);
      said();
      setNote("");
      back();
    });

  const picture = <Picture cart={p.cart} cameras={panel === "note" ? [] : cameras} camera={p.camera} onCamera={p.onCamera} />;
  if (panel === "note") {
    return (
      <Typing
        title={w.t("capture.note")}
        fields={[{ name: "note", label: w.t("capture.note.label"), value: note, start: "letters" }]}
        onChange={(_, v) => setNote(v)}
        done={w.t("capture.note.save")}
        doneTestid="btn-note-save"
        off={cmd.busy || note.trim() === ""}
        onDone={() => save("note", { text: note.trim() })}
        onBack={back}
        long
        beside={picture}
      >
        <ProblemLine problem={cmd.problem} />
      </Typing>
    );
  }

  const sideChoice = (
    <Choice<Side>
      label={w.t("capture.side")}
      testid="side"
      body
      columns={3}
      value={side}
      onChoose={setSide}
      options={(["left", "", "right"] as const).map((v) => ({ value: v, text: w.t(`side.${v}`) }))}
    />
  );
  const siteChoice = (kind: keyof typeof sites) => (
    <Choice
      label={w.t("capture.site")}
      testid="site"
      columns={3}
      value={site}
      onChoose={setSite}
      options={sites[kind].map((v) => ({ value: v as string, text: w.t(`site.${v}` as Key) }))}
    />
  );
  const lengths = (verb: "clip" | "waveform" | "sound", instrument: string | undefined, seconds: number[]) => (
    <>
      <h2>{w.t(`capture.${verb}.how`)}</h2>
      <div class="row">
        {seconds.map((n) => (
          <Button key={n} testid={`btn-${verb}-${n}`} look="primary" class="grow" off={cmd.busy} onPress={() => record(verb, instrument, n)}>
            {w.t("span.seconds", { n })}
          </Button>
        ))}
      </div>
      {recording > 0 && (
        <p class="lead" role="status" data-testid="recording">
          {w.t("capture.recording", { n: recording })}
        </p>
      )}
    </>
  );
  const open = (x: Panel): void => {
    setTaken(undefined);
    setPanel(panel === x ? "where" : x);
    setSite("");
  };

  return (
    <div class="task-view" data-testid="view-capture">
      <div class="col grow">
        {picture}
        <div class="capture-bar">
          <Button testid="btn-still" look="primary" off={cmd.busy || !p.camera} onPress={() => still(side, site)}>
            {w.t("capture.still")}
          </Button>
          <Button testid="btn-clip" pressed={panel === "clip"} off={cmd.busy || !p.camera} onPress={() => open("clip")}>
            {w.t("capture.clip")}
          </Button>
          <Button testid="btn-measure" pressed={panel === "measure"} off={cmd.busy} onPress={() => open("measure")}>
            {w.t("capture.measure")}
          </Button>
          <Button testid="btn-waveform" pressed={panel === "waveform"} off={cmd.busy || !oximeter} onPress={() => open("waveform")}>
            {w.t("capture.waveform")}
          </Button>
          <Button testid="btn-sound" pressed={panel === "sound"} off={cmd.busy || !stethoscope} onPress={() => open("sound")}>
            {w.t("capture.sound")}
          </Button>
          <Button testid="btn-note" off={cmd.busy} onPress={() => open("note")}>
            {w.t("capture.note")}
          </Button>
        </div>
      </div>
      <Scroller class="side">
        <ProblemLine problem={cmd.problem} />
        {done && (
          <p class="done" role="status" data-testid="saved">
            {done.text}
          </p>
        )}
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
        ) : panel === "clip" ? (
          <>
            {lengths("clip", p.camera?.name, [3, 5, 10])}
            {sideChoice}
            {siteChoice("camera")}
          </>
        ) : panel === "waveform" ? (
          <>
            {lengths("waveform", oximeter?.name, [10, 20, 30])}
            {sideChoice}
            {siteChoice("oximeter")}
          </>
        ) : panel === "sound" && stethoscope ? (
          <Sounds cart={p.cart} stethoscope={stethoscope}>
            {lengths("sound", stethoscope.name, [10, 20, 30])}
            {siteChoice("stethoscope")}
          </Sounds>
        ) : panel === "measure" ? (
          <Measure
            cart={p.cart}
            meters={meters}
            busy={cmd.busy}
            save={(verb, args) => save(verb, { ...args, ...where })}
            where={(kind) => (
              <>
                {sideChoice}
                {isSited(kind) && siteChoice(kind)}
              </>
            )}
          />
        ) : (
          <>
            {sideChoice}
            {siteChoice("camera")}
          </>
        )}
      </Scroller>
    </div>
  );
}
