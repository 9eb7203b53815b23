// The console: strip, who is waiting, what is seen now, what is known. IT gets the fleet instead.

import { useEffect, useRef, useState } from "preact/hooks";
import type { ConsoleItem, ConsoleState } from "../../../ui/api.ts";
import { useCommand, useEscape, useNow, useWords } from "../../../ui/base.tsx";
import { Button, StateView } from "../../../ui/components.tsx";
import { aged } from "../../../ui/readings.ts";
import type { ViewState } from "../../../ui/viewstate.ts";
import { Fleet } from "./fleet.tsx";
import type { Hub, Seen } from "./hub.ts";
import { Keys } from "./keys.tsx";
import { Known } from "./known.tsx";
import { SignIn } from "./signin.tsx";
import { Stage, type StageKeys } from "./stage.tsx";
import { pageState, type Pane } from "./states.ts";
import { steerKeys } from "./steering.ts";
import { Strip } from "./strip.tsx";
import { order } from "./worklist.ts";
import { usePrimary, Worklist } from "./worklistpane.tsx";

export interface AppProps { seen: Seen; hub: Hub; forced?: { pane: Pane; state: ViewState }; start?: string }

export function App(p: AppProps) {
  const w = useWords();
  if (p.seen.phase === "signed-out") return <SignIn hub={p.hub} expired="first" />;
  if (p.seen.phase === "expired") return <SignIn hub={p.hub} expired="expired" />;
  const state = pageState(p.seen);
  if (state || !p.seen.state) {
    return (
      <main class="whole" aria-label={w.t("app.console")}>
        <StateView state={state ?? { kind: "loading", what: "view.hub" }} />
      </main>
    );
  }
  return <Desk {...p} s={p.seen.state} />;
}

function Desk(p: AppProps & { s: ConsoleState }) {
  const w = useWords();
  const { s, hub } = p;
  const me = s.me;
  const [selected, select] = useState<string | undefined>(p.start);
  const [open, setOpen] = useState<ConsoleItem>();
  const [keysShown, showKeys] = useState(false);
  const act = usePrimary(hub);
  const stageKeys = useRef<StageKeys>();
  const known = s.carts.find((c) => c.cart === selected);
  const cart = known && (p.seen.phase !== "open" || known.state === "offline") ? { ...known, instruments: aged(known.instruments) } : known;
  const inView = cart?.encounter?.id;
  const encounter = p.seen.encounter && p.seen.encounter.summary.id === inView ? p.seen.encounter : undefined;
  const shownItem = open && (encounter?.items.find((i) => i.id === open.id) ?? open);

  useEffect(() => {
    if (p.seen.phase !== "open" || me.role === "it") return;
    void hub.command(inView ? "view" : "unview", inView ? { encounter: inView } : {}).catch(() => {}); // asked again when the connection is back
  }, [hub, inView, p.seen.phase, me.role]);
  useEffect(() => setOpen(undefined), [inView]);
  useEscape(selected && !keysShown && !open ? () => select(undefined) : undefined);

  useKeys(
    me.role === "it"
      ? undefined
      : (key) => {
          const keys = stageKeys.current;
          if (key === "?") showKeys((x) => !x);
          else if (key === "j" || key === "k") {
            const all = order(s.carts);
            const at = all.findIndex((c) => c.cart === selected);
            const next = all[at < 0 ? 0 : Math.min(all.length - 1, Math.max(0, at + (key === "j" ? 1 : -1)))];
            if (next) select(next.cart);
          } else if (key === "a" && cart) act.run(cart, me);
          else if (key === "s") keys?.still();
          else if (key === "l") keys?.lease();
          else if (key === "t") document.getElementById("timeline")?.focus();
          else if (/^[1-9]$/.test(key)) keys?.source(Number(key));
          else if (key in steerKeys) return keys?.steer(key) ?? false;
          else return false;
          return true;
        },
  );

  const forced = (pane: Pane): ViewState | undefined => (p.forced?.pane === pane ? p.forced.state : undefined);
  return (
    <div class="desk">
      <a class="skip" href="#stage">
        {w.t("console.skip")}
      </a>
      <Strip seen={p.seen} hub={hub} cart={cart} encounter={encounter} onKeys={() => showKeys(!keysShown)} />
      <Bar s={s} seen={p.seen} hub={hub} />
      {me.role === "it" ? (
        <main class="whole">
          <Fleet hub={hub} me={me} carts={s.carts} forced={forced("fleet")} />
        </main>
      ) : (
        <main class="panes">
          <Worklist carts={s.carts} me={me} selected={selected} onSelect={select} act={act} forced={forced("worklist")} />
          <Stage hub={hub} cart={cart} me={me} earlier={shownItem} onCloseEarlier={() => setOpen(undefined)} forced={forced("stage")} keys={stageKeys} />
          {keysShown ? (
            <Keys onClose={() => showKeys(false)} />
          ) : (
            <Known hub={hub} cart={cart} encounter={encounter} open={open?.id} onOpen={(i) => setOpen(open?.id === i.id ? undefined : i)} forced={forced("known")} />
          )}
        </main>
      )}
    </div>
  );
}

/** What is cut off or was corrected: in the flow, one at a time. */
function Bar(p: { s: ConsoleState; seen: Seen; hub: Hub }) {
  const w = useWords();
  const now = useNow();
  const cmd = useCommand();
  if (p.seen.phase === "lost") {
    const since = p.seen.lostAt ?? p.s.now;
    return (
      <div class="bar" role="status" data-testid="banner-offline">
        <p>
          <strong>{w.t("state.offline.console")}. </strong>
          {w.t("worklist.works")} {w.t("state.offline.age", { time: w.time(since), age: w.ago(now - Date.parse(since)) })}
        </p>
      </div>
    );
  }
  const n = p.s.notices[0];
  if (!n) return <div />;
  const key = `notice.${n.code}`;
  const params = { ...n.with, ...(n.with?.["reason"] && { reason: w.code("correct.", n.with["reason"]) }) };
  return (
    <div class="bar" role="status" data-testid="notice" data-code={n.code}>
      <p class="grow">
        {p.s.notices.length > 1 && <span class="muted">{w.t("notice.count", { n: 1, of: p.s.notices.length })} </span>}
        {w.has(key) ? w.t(key, params) : w.t("notice.other", { code: w.code("", n.code) })}
      </p>
      <Button testid="btn-dismiss" off={cmd.busy} onPress={() => void cmd.run(() => p.hub.command("dismiss", { notice: n.id }))}>
        {w.t("notice.dismiss")}
      </Button>
    </div>
  );
}

function useKeys(press: ((key: string) => boolean) | undefined): void {
  const ref = useRef(press);
  ref.current = press;
  useEffect(() => {
    const down = (e: KeyboardEvent): void => {
      const t = e.target;
      if (e.ctrlKey || e.altKey || e.metaKey || t instanceof HTMLTextAreaElement || (t instanceof HTMLInputElement && t.type !== "checkbox")) return;
      const key = e.key.length === 1 ? e.key.toLowerCase() : e.key;
      if (ref.current?.(key)) e.preventDefault();
    };
    addEventListener("keydown", down);
    return () => removeEventListener("keydown", down);
  }, []);
}
