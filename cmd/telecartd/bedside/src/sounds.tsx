// Sound: the stethoscope, listened to in a mode of one's choice and recorded as it is.

import { useEffect, useState } from "preact/hooks";
import type { Instrument } from "../../../ui/api.ts";
import { useWords } from "../../../ui/base.tsx";
import { Button, ProblemLine } from "../../../ui/components.tsx";
import { BandChoice, type BandName, loudness } from "../../../ui/sound.tsx";
import type { Cart } from "./cart.ts";
import { Lengths, type Recorder } from "./record.tsx";
import { WaveBox } from "./waves.tsx";
import { useWhere, WhereChoice, Work } from "./work.tsx";

export function Sounds(p: { cart: Cart; stethoscope: Instrument; recorder: Recorder; onBack(): void }) {
  const w = useWords();
  const where = useWhere();
  const [on, setOn] = useState(false);
  const [band, setBand] = useState<BandName>("");
  const [peak, setPeak] = useState(0);
  const [heard, setHeard] = useState(false);
  const name = p.stethoscope.name;
  useEffect(() => (on ? p.cart.listen(name, band, setPeak, setHeard) : setHeard(false)), [p.cart, name, band, on]);
  const level = heard ? loudness(peak) : 0;
  const reason = p.stethoscope.health.reason;
  return (
    <Work
      testid="view-sound"
      onBack={p.onBack}
      choose={<BandChoice value={band} onChoose={setBand} columns={1} />}
      actions={
        <>
          <Button testid="btn-listen" look={on ? "plain" : "primary"} pressed={on} onPress={() => setOn(!on)}>
            {on ? w.t("sound.quiet") : w.t("sound.listen")}
          </Button>
          <Lengths verb="sound" seconds={[10, 20, 30]} recorder={p.recorder} look={on ? "primary" : "plain"} onRecord={(n) => p.recorder.record("sound", name, n, where)} />
        </>
      }
    >
      <WaveBox cart={p.cart} instrument={p.stethoscope} class="grow-wave" />
      {on ? (
        <meter class="level" min={0} max={1} value={level} data-testid="level" data-heard={heard} aria-label={w.t("sound.level")} />
      ) : (
        <p class="phones muted">{w.t("sound.phones")}</p>
      )}
      <ProblemLine problem={p.recorder.problem} />
      {reason && (
        <p class="problem" role="status">
          {w.code("reason.", reason)}
        </p>
      )}
      <WhereChoice where={where} place="stethoscope" columns={4} />
    </Work>
  );
}
