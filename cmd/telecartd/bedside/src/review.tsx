// Review: what was captured in this run of the agent, from its memory. Always called "earlier", with its time.

import { useEffect, useState } from "preact/hooks";
import type { BedsideItem } from "../../../ui/api.ts";
import { useWords } from "../../../ui/base.tsx";
import { StateView } from "../../../ui/components.tsx";
import { ClipPlayer } from "../../../ui/clip.tsx";
import { RecordedSound } from "../../../ui/sound.tsx";
import { StillWave } from "../../../ui/wave.tsx";
import type { Cart } from "./cart.ts";

async function bytes(cart: Cart, item: string): Promise<ArrayBuffer> {
  const r = await cart.review(item);
  if (!r.ok) throw new Error(`review: ${r.status}`);
  return r.arrayBuffer();
}

export function Still(p: { cart: Cart; item: string; at: string }) {
  const w = useWords();
  const [url, setUrl] = useState<string>();
  const [failed, fail] = useState(false);
  useEffect(() => {
    let made: string | undefined;
    let gone = false;
    bytes(p.cart, p.item).then(
      (b) => {
        if (!gone) setUrl((made = URL.createObjectURL(new Blob([b], { type: "image/jpeg" }))));
      },
      () => !gone && fail(true),
    );
    return () => {
      gone = true;
      if (made) URL.revokeObjectURL(made);
    };
  }, [p.item]);
  if (failed) return <StateView state={{ kind: "empty", what: "items.no-review" }} />;
  if (!url) return <StateView state={{ kind: "loading", what: "item.still" }} />;
  return (
    <figure class="earlier">
      <img src={url} alt={w.t("picture.earlier", { time: w.time(p.at) })} data-testid="review-still" />
      <figcaption>{w.t("picture.earlier", { time: w.time(p.at) })}</figcaption>
    </figure>
  );
}

function Wave(p: { cart: Cart; item: BedsideItem }) {
  const w = useWords();
  const [values, setValues] = useState<number[]>();
  const [failed, fail] = useState(false);
  useEffect(() => {
    let gone = false;
    bytes(p.cart, p.item.id).then(
      (b) => !gone && setValues(samples(b)),
      () => !gone && fail(true),
    );
    return () => void (gone = true);
  }, [p.item.id]);
  if (failed) return <StateView state={{ kind: "empty", what: "items.no-review" }} />;
  if (!values) return <StateView state={{ kind: "loading", what: "item.waveform" }} />;
  return <StillWave values={values} label={w.t("item.waveform")} />;
}

/** The samples of a waveform: 32-bit little-endian integers. */
export function samples(b: ArrayBuffer): number[] {
  const v = new DataView(b);
  return Array.from({ length: Math.floor(b.byteLength / 4) }, (_, i) => v.getInt32(i * 4, true));
}

export function Review(p: { cart: Cart; item: BedsideItem }) {
  const w = useWords();
  const i = p.item;
  if (i.kind === "reading") {
    return (
      <p class="big num">
        {i.text} {w.code("unit.", i.unit ?? "")}
      </p>
    );
  }
  if (i.kind === "note" && i.text) return <p class="lead">{i.text}</p>;
  if (i.kind !== "still" && i.kind !== "clip" && i.kind !== "waveform" && i.kind !== "sound") return null;
  if (!i.review) return <p class="muted">{w.t("items.no-review")}</p>;
  if (i.kind === "still") return <Still cart={p.cart} item={i.id} at={i.at} />;
  if (i.kind === "clip") return <ClipPlayer load={() => bytes(p.cart, i.id)} name={w.t("picture.earlier", { time: w.time(i.at) })} />;
  if (i.kind === "sound") return <RecordedSound key={i.id} load={() => bytes(p.cart, i.id)} name={w.t("item.sound")} columns={3} />;
  return <Wave cart={p.cart} item={i} />;
}
