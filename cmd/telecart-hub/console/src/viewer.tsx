// Viewer: one item that has arrived, as it was captured. Beside the live picture, named "earlier" with its time.

import { useEffect, useState } from "preact/hooks";
import type { ConsoleItem } from "../../../ui/api.ts";
import { useEscape, useWords } from "../../../ui/base.tsx";
import { ClipPlayer } from "../../../ui/clip.tsx";
import { Button, StateView } from "../../../ui/components.tsx";
import { RecordedSound } from "../../../ui/sound.tsx";
import { StillWave } from "../../../ui/wave.tsx";
import type { Hub } from "./hub.ts";
import { itemWords } from "./timeline.tsx";

async function bytes(hub: Hub, id: string): Promise<ArrayBuffer> {
  const r = await hub.blob(id);
  if (!r.ok) throw new Error(`blob: ${r.status}`);
  return r.arrayBuffer();
}

export function Viewer(p: { hub: Hub; item: ConsoleItem; onClose(): void }) {
  const w = useWords();
  const i = p.item;
  useEscape(p.onClose);
  return (
    <section class="earlier" data-testid="viewer" data-item={i.id}>
      <header>
        <strong>{w.t("known.viewer", { what: itemWords(w, i), time: w.time(i.at) })}</strong>
        {i.corrected && <span>{w.t("known.corrected", { reason: w.code("correct.", i.corrected.reason) })}</span>}
        <Button testid="btn-viewer-close" onPress={p.onClose}>
          {w.t("word.close")}
        </Button>
      </header>
      {i.kind === "clip" ? (
        <ClipPlayer key={i.id} load={() => bytes(p.hub, i.id)} frameMs={i.media?.frame_ms} name={itemWords(w, i)} />
      ) : i.kind === "sound" ? (
        <>
          <RecordedSound key={i.id} load={() => bytes(p.hub, i.id)} name={itemWords(w, i)} columns={6} />
          <p class="muted">{w.t("sound.phones")}</p>
        </>
      ) : (
        <Loaded key={i.id} hub={p.hub} item={i} />
      )}
    </section>
  );
}

function Loaded(p: { hub: Hub; item: ConsoleItem }) {
  const w = useWords();
  const [got, setGot] = useState<ArrayBuffer>();
  const [url, setUrl] = useState<string>();
  const [failed, fail] = useState(false);
  const [round, setRound] = useState(0);
  useEffect(() => {
    let gone = false;
    let made: string | undefined;
    fail(false);
    bytes(p.hub, p.item.id).then(
      (b) => {
        if (gone) return;
        setGot(b);
        if (p.item.kind === "still") setUrl((made = URL.createObjectURL(new Blob([b], { type: p.item.media?.type ?? "image/jpeg" }))));
      },
      () => !gone && fail(true),
    );
    return () => {
      gone = true;
      if (made) URL.revokeObjectURL(made);
    };
  }, [p.item.id, round]);
  if (failed) {
    return (
      <StateView
        state={{ kind: "failed", why: "known.blob.failed", next: "next.reload" }}
        action={{ label: w.t("word.again"), testid: "btn-blob-again", onPress: () => setRound((n) => n + 1) }}
      />
    );
  }
  if (p.item.kind === "waveform" && got) {
    const v = new DataView(got);
    const values = Array.from({ length: Math.floor(got.byteLength / 4) }, (_, k) => v.getInt32(k * 4, true));
    return <StillWave values={values} {...(p.item.waveform && { rateHz: p.item.waveform.rate_hz })} label={itemWords(w, p.item)} />;
  }
  if (url) return <img src={url} alt={itemWords(w, p.item)} data-testid="viewer-still" />;
  return <StateView state={{ kind: "loading", what: "known.view" }} />;
}
