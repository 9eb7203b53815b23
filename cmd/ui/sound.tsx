// Sound of a stethoscope, to be heard in the modes of a stethoscope. The recording itself is never filtered.

import type { ComponentChildren } from "preact";
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { useWords } from "./base.tsx";
import { Button, Choice, StateView } from "./components.tsx";
import { StillWave } from "./wave.tsx";

/** The modes, as in device/stethoscope/filter: a test holds them to it. "" is all that was heard. */
export const bands = [
  { name: "", low: 0, high: 0 },
  { name: "bell", low: 20, high: 200 },
  { name: "diaphragm", low: 100, high: 500 },
  { name: "extended", low: 20, high: 1000 },
  { name: "lung", low: 100, high: 2000 },
] as const;

export type BandName = (typeof bands)[number]["name"];

/** A 4th order Butterworth is two second-order sections of these Q; a browser takes Q in decibels. */
export const butterworthQ = [1 / (2 * Math.cos(Math.PI / 8)), 1 / (2 * Math.cos((3 * Math.PI) / 8))];

/** Puts the mode's filters between a source and its destination. */
function connect(ctx: AudioContext, from: AudioNode, band: BandName): void {
  const b = bands.find((x) => x.name === band);
  let at = from;
  for (const [type, frequency] of [["highpass", b?.low ?? 0], ["lowpass", b?.high ?? 0]] as const) {
    for (const q of frequency > 0 ? butterworthQ : []) {
      const node = new BiquadFilterNode(ctx, { type, frequency, Q: 20 * Math.log10(q) });
      at.connect(node);
      at = node;
    }
  }
  at.connect(ctx.destination);
}

const quietestDb = -60;

/** How long the bar of a level is, 0 to 1: hearing goes by ratios. */
export function loudness(peak: number): number {
  return peak <= 0 ? 0 : Math.min(1, Math.max(0, 1 - (20 * Math.log10(peak)) / quietestDb));
}

/** The outline of a sound: the lowest and the highest value of each of so many stretches, in order of time. */
export function outline(values: ArrayLike<number>, stretches: number): number[] {
  const n = Math.min(stretches, values.length);
  return Array.from({ length: n }, (_, k) => {
    let [low, high] = [Infinity, -Infinity];
    for (let i = Math.floor((k * values.length) / n); i < Math.floor(((k + 1) * values.length) / n); i++) {
      low = Math.min(low, values[i]!);
      high = Math.max(high, values[i]!);
    }
    return [low, high];
  }).flat();
}

export function BandChoice(p: { value: BandName; onChoose(b: BandName): void; columns: number; children?: ComponentChildren }) {
  const w = useWords();
  return (
    <Choice<BandName>
      label={w.t("sound.mode")}
      testid="band"
      columns={p.columns}
      value={p.value}
      onChoose={p.onChoose}
      options={bands.map((b) => ({ value: b.name, text: w.t(`sound.mode.${b.name}`) }))}
    >
      {p.children}
    </Choice>
  );
}

const stretches = 1200; // of the outline

/** Plays a recorded sound. */
export function RecordedSound(p: { load(): Promise<ArrayBuffer>; name: string; columns: number }) {
  const w = useWords();
  const [band, setBand] = useState<BandName>("");
  const [sound, setSound] = useState<AudioBuffer>();
  const [failed, fail] = useState(false);
  const [playing, setPlaying] = useState(false);
  const ctx = useRef<AudioContext>();
  const source = useRef<AudioBufferSourceNode>();
  const drawn = useMemo(() => (sound ? outline(sound.getChannelData(0), stretches) : []), [sound]);
  const stop = (): void => {
    source.current?.stop();
    source.current = undefined;
    setPlaying(false);
  };
  useEffect(() => {
    const c = (ctx.current = new AudioContext());
    let gone = false;
    p.load().then((b) => c.decodeAudioData(b)).then((s) => !gone && setSound(s), () => !gone && fail(true));
    return () => {
      gone = true;
      void c.close();
    };
  }, []);
  useEffect(() => {
    if (!playing || !sound || !ctx.current) return;
    const c = ctx.current;
    const s = new AudioBufferSourceNode(c, { buffer: sound });
    connect(c, s, band);
    s.onended = () => source.current === s && stop();
    source.current = s;
    void c.resume();
    s.start();
    return () => s.stop();
  }, [playing, band, sound]);
  if (failed) return <StateView state={{ kind: "empty", what: "items.no-review" }} />;
  if (!sound) return <StateView state={{ kind: "loading", what: "item.sound" }} />;
  return (
    <div class="col sound" data-testid="sound" data-seconds={sound.duration.toFixed(1)} data-playing={playing}>
      <StillWave values={drawn} rateHz={drawn.length / sound.duration} label={p.name} />
      <BandChoice value={band} onChoose={setBand} columns={p.columns}>
        <Button testid="btn-sound-play" look="primary" onPress={() => (playing ? stop() : setPlaying(true))}>
          {playing ? w.t("sound.stop") : w.t("sound.play", { n: Math.round(sound.duration) })}
        </Button>
      </BandChoice>
    </div>
  );
}
