// The keys, listed under `?`: in the flow of the right pane, covering neither strip nor picture.

import { useEscape, useWords } from "../../../ui/base.tsx";
import { Button } from "../../../ui/components.tsx";

const list = [
  ["J K", "keys.next"],
  ["A", "keys.primary"],
  ["S", "keys.still"],
  ["L", "keys.lease"],
  ["← → ↑ ↓", "keys.pan"],
  ["+ −", "keys.zoom"],
  ["[ ] F", "keys.focus"],
  [", . E", "keys.exposure"],
  ["1 … 9", "keys.source"],
  ["T", "keys.timeline"],
  ["?", "keys.help"],
  ["Esc", "keys.escape"],
] as const;

export function Keys(p: { onClose(): void }) {
  const w = useWords();
  useEscape(p.onClose);
  return (
    <section class="pane keys-list scroll" data-testid="keys">
      <h2>{w.t("keys.title")}</h2>
      <dl>
        {list.map(([key, what]) => (
          <div key={key}>
            <dt>
              <kbd dir="ltr">{key}</kbd>
            </dt>
            <dd>{w.t(what)}</dd>
          </div>
        ))}
      </dl>
      <Button testid="btn-keys-close" onPress={p.onClose}>
        {w.t("word.close")}
      </Button>
    </section>
  );
}
