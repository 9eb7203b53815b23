// Record: clips, waveforms and sounds take some seconds. How long it is to be, how long it still takes, what came of it: all in
// one place, so that nothing moves under a finger.

import { useRef, useState } from "preact/hooks";
import type { Problem } from "../../../ui/api.ts";
import { useCommand, useNow, useWords } from "../../../ui/base.tsx";
import { Button } from "../../../ui/components.tsx";
import type { Cart } from "./cart.ts";
import type { Where } from "./work.tsx";

export type Recorded = "clip" | "waveform" | "sound";

export interface Recorder {
  busy: boolean;
  until: number | undefined; // of the page's clock, ms
  savedAt: string | undefined;
  problem: Problem | undefined;
  record(verb: Recorded, instrument: string, seconds: number, where: Where): void;
  forget(): void; // what came of the last one
}

const longer = 20; // seconds that saving may take

export function useRecorder(cart: Cart): Recorder {
  const cmd = useCommand();
  const [until, setUntil] = useState<number>();
  const [savedAt, setSavedAt] = useState<string>();
  const latest = useRef(cart);
  latest.current = cart;
  return {
    busy: cmd.busy,
    until,
    savedAt,
    problem: cmd.problem,
    record: (verb, instrument, seconds, where) => {
      setSavedAt(undefined);
      void cmd.run(async () => {
        setUntil(Date.now() + seconds * 1000);
        try {
          await latest.current.command(verb, { instrument, seconds, ...where.args }, (seconds + longer) * 1000);
          setSavedAt(new Date().toISOString());
          where.clear();
        } finally {
          setUntil(undefined);
        }
      });
    },
    forget: () => {
      setSavedAt(undefined);
      cmd.clear();
    },
  };
}

export function Lengths(p: { verb: Recorded; seconds: number[]; recorder: Recorder; onRecord(seconds: number): void; off?: boolean; look?: "primary" | "plain" }) {
  const w = useWords();
  useNow(250);
  const { until, savedAt } = p.recorder;
  if (until !== undefined) {
    const left = Math.ceil((until - Date.now()) / 1000);
    return (
      <p class="done num recording" role="status" data-testid="recording">
        {left > 0 ? w.t("capture.recording", { n: left }) : w.t("capture.saving")}
      </p>
    );
  }
  return (
    <fieldset class="choice">
      <legend role="status">{savedAt ? <strong data-testid="saved">{w.t("capture.saved", { time: w.time(savedAt) })}</strong> : w.t(`capture.${p.verb}.how`)}</legend>
      <div class="lengths">
        {p.seconds.map((n) => (
          <Button key={n} testid={`btn-${p.verb}-${n}`} look={p.look ?? "primary"} off={p.recorder.busy || (p.off ?? false)} onPress={() => p.onRecord(n)}>
            {w.t("span.seconds", { n })}
          </Button>
        ))}
      </div>
    </fieldset>
  );
}
