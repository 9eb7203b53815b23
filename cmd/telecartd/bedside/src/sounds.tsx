// Sound: the stethoscope, listened to in a mode of one's choice and recorded as it is.

import { useEffect, useState } from "preact/hooks";
import type { Instrument } from "../../../ui/api.ts";
import { useWords } from "../../../ui/base.tsx";
import { Button } from "../../../ui/components.tsx";
import { BandChoice, type BandName } from "../../../ui/sound.tsx";
import { LiveWave } from "../../../ui/wave.tsx";
import type { Cart } from "./cart.ts";

/** Sites of auscultation: the four of the heart, and the lungs in front and behind. */
export const listenedAt = ["aortic", "pulmonary", "tricuspid", "mitral", "lung-front", "lung-back", ""] as const;

export function Sounds(p: { cart: Cart; stethoscope: Instrument; children: preact.ComponentChildren }) {
  const w = useWords();
  const [on, setOn] = useState(false);
  const [band, setBand] = useState<BandName>("");
  const [level, setLevel] = useState(0);
  const [heard, setHeard] = useState(false);
  const name = p.stethoscope.name;
  useEffect(() => (on ? p.cart.listen(name, band, setLevel, setHeard) : undefined), [p.cart, name, band, on]);
  const reason = p.stethoscope.health.reason;
  return (
    <>
      <Button testid="btn-listen" look={on ? "plain" : "primary"} pressed={on} onPress={() => setOn(!on)}>
        {on ? w.t("sound.quiet") : w.t("sound.listen")}
      </Button>
      {on && (
        <>
          <div class="wave-box">
            <LiveWave testid="wave-phonogram" ring={p.cart.ring(name, "phonogram")} label={w.t("quantity.phonogram")} />
          </div>
          <meter class="level" min={0} max={1} value={heard ? level : 0} data-testid="level" data-heard={heard} aria-label={w.t("sound.level")} />
        </>
      )}
      {reason && <p role="status">{w.code("reason.", reason)}</p>}
      {p.children}
      <BandChoice value={band} onChoose={setBand} />
      <p class="muted">{w.t("sound.phones")}</p>
    </>
  );
}
