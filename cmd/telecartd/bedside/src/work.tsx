// Work: the full width for one thing to do. What to choose from on one side, what it is in the middle, what to do on the
// other: Back first, always in the same place.

import type { ComponentChildren } from "preact";
import { useState } from "preact/hooks";
import { useEscape, useWords } from "../../../ui/base.tsx";
import { Button, Choice, Scroller } from "../../../ui/components.tsx";
import type { Key } from "../../../ui/strings/words.ts";

export function Work(p: { testid: string; class?: string; choose: ComponentChildren; children: ComponentChildren; actions: ComponentChildren; onBack(): void }) {
  const w = useWords();
  useEscape(p.onBack);
  return (
    <div class={`work ${p.class ?? ""}`} data-testid={p.testid}>
      <Scroller class="work-choose">{p.choose}</Scroller>
      <Scroller class="work-what">{p.children}</Scroller>
      <div class="col work-do">
        <Button testid="btn-back" onPress={p.onBack}>
          {w.t("word.back")}
        </Button>
        {p.actions}
      </div>
    </div>
  );
}

/** Where on the body each kind of instrument is used. */
export const sites = {
  camera: ["ear", "eye", "nose", "throat", "face", "chest", "back", "arm", "hand", "leg", "foot", ""],
  thermometer: ["axilla", "ear", "oral", "forehead", "rectal", ""],
  oximeter: ["finger", "toe", "earlobe", ""],
  cuff: ["arm", "leg", ""],
  stethoscope: ["aortic", "pulmonary", "tricuspid", "mitral", "lung-front", "lung-back", ""], // where one listens
} as const;

/** What may be said of a place: these have a left and a right one too. */
export type Place = keyof typeof sites;

export function isPlace(kind: string): kind is Place {
  return kind in sites;
}

export type Side = "" | "left" | "right";

export interface Where {
  side: Side;
  site: string;
  args: { side?: string; site?: string };
  set(side: Side, site: string): void;
  clear(): void;
}

/** Side and site are "not stated" until touched; who uses them clears them after each capture. */
export function useWhere(): Where {
  const [{ side, site }, set] = useState<{ side: Side; site: string }>({ side: "", site: "" });
  return { side, site, args: { ...(side && { side }), ...(site && { site }) }, set: (side, site) => set({ side, site }), clear: () => set({ side: "", site: "" }) };
}

export function WhereChoice(p: { where: Where; place: Place; columns: number }) {
  const w = useWords();
  const { side, site, set } = p.where;
  return (
    <>
      <Choice<Side>
        label={w.t("capture.side")}
        testid="side"
        body
        columns={3}
        value={side}
        onChoose={(v) => set(v, site)}
        options={(["left", "", "right"] as const).map((v) => ({ value: v, text: w.t(`side.${v}`) }))}
      />
      <Choice
        label={w.t("capture.site")}
        testid="site"
        columns={p.columns}
        value={site}
        onChoose={(v) => set(side, v)}
        options={sites[p.place].map((v) => ({ value: v as string, text: w.t(`site.${v}` as Key) }))}
      />
    </>
  );
}
