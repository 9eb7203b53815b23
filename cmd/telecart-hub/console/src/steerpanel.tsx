// Steering: whose hand it is, for how long, and every axis by buttons, keys, drag or wheel.

import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import type { Axis, ConsoleCart, Instrument, Lease, Me } from "../../../ui/api.ts";
import { useCommand, useNow, useWords } from "../../../ui/base.tsx";
import { Coalescer } from "../../../ui/coalesce.ts";
import { Button, ProblemLine } from "../../../ui/components.tsx";
import type { Hub } from "./hub.ts";
import { byHand, nudge, type Set } from "./steering.ts";

const ownForMs = 1500; // how long our own order is shown before the cart's report counts again

export interface Steering {
  axes: Axis[];
  lease: Lease | undefined;
  mine: boolean;
  values: Set;
  set(s: Set): void;
}

export function useSteering(hub: Hub, cart: ConsoleCart | undefined, instrument: Instrument | undefined, me: Me): Steering {
  const now = useNow();
  const lease = cart?.leases.find((l) => l.instrument === instrument?.name);
  const mine = lease !== undefined && lease.holder === me.id && !lease.taken_back && Date.parse(lease.until) > now;
  const [own, setOwn] = useState<{ values: Set; at: number }>({ values: {}, at: 0 });
  const seq = useRef({ epoch: -1, next: 1 });
  const target = useRef({ cart: "", instrument: "", epoch: 0 });
  target.current = { cart: cart?.cart ?? "", instrument: instrument?.name ?? "", epoch: lease?.epoch ?? 0 };
  const coalescer = useMemo(
    () =>
      new Coalescer((set) => {
        const t = target.current;
        if (seq.current.epoch !== t.epoch) seq.current = { epoch: t.epoch, next: 1 };
        hub.tell("steer", { ...t, seq: seq.current.next++, set });
      }),
    [hub, cart?.cart, instrument?.name],
  );
  useEffect(() => {
    setOwn({ values: {}, at: 0 });
    return () => coalescer.stop();
  }, [coalescer]);
  const axes = instrument?.axes ?? [];
  const reported = Object.fromEntries(axes.map((a) => [a.name, a.value]));
  const values = Date.now() - own.at < ownForMs ? { ...reported, ...own.values } : reported;
  return {
    axes,
    lease,
    mine,
    values,
    set: (s) => {
      if (!mine || Object.keys(s).length === 0) return;
      setOwn((o) => ({ values: { ...o.values, ...s }, at: Date.now() }));
      coalescer.set(s);
    },
  };
}

const around = ["pan", "tilt", "zoom"];

export function SteerPanel(p: { hub: Hub; cart: ConsoleCart; instrument: Instrument; steering: Steering }) {
  const w = useWords();
  const now = useNow();
  const cmd = useCommand();
  const { axes, lease, mine, values, set } = p.steering;
  if (axes.length === 0) return <p class="muted steer-none">{w.t("steer.none")}</p>;
  const ask = (verb: "lease" | "release"): void => void cmd.run(() => p.hub.command(verb, { cart: p.cart.cart, instrument: p.instrument.name }));
  const held = lease?.holder && Date.parse(lease.until) > now;
  const state = lease?.taken_back
    ? w.t("steer.taken")
    : mine
      ? w.t("steer.mine", { age: w.span(Date.parse(lease!.until) - now) })
      : held
        ? w.t("steer.other", { name: lease.holder_name ?? lease.holder ?? "" })
        : w.t("steer.free");
  const axis = (name: string): Axis | undefined => axes.find((a) => a.name === name);
  const step = (name: string, times: number, testid: string, text: string, label: string) => {
    const a = axis(name);
    if (!a) return null;
    return (
      <Button testid={testid} label={label} off={!mine} onPress={() => set(byHand(axes, name, nudge(a, values[name] ?? a.value, times)))}>
        {text}
      </Button>
    );
  };
  const sliders = axes.filter((a) => !around.includes(a.name) && !a.name.endsWith("-auto"));
  return (
    <section class="steer" aria-label={w.t("steer.title")} data-testid="steer">
      <div class="steer-head">
        <p data-testid="lease-state" data-mine={mine}>
          {state}
        </p>
        <Button testid="btn-lease" look={mine ? "plain" : "primary"} off={cmd.busy || lease?.taken_back === true} onPress={() => ask("lease")}>
          {cmd.busy ? w.t("steer.asking") : mine ? w.t("steer.more") : w.t("steer.ask")}
        </Button>
        {mine && (
          <Button testid="btn-release" off={cmd.busy} onPress={() => ask("release")}>
            {w.t("steer.release")}
          </Button>
        )}
      </div>
      <ProblemLine problem={cmd.problem} />
      <div class="steer-axes">
        <div class="pad" dir="ltr">
          {step("pan", -1, "axis-pan-minus", "◀", w.t("steer.left"))}
          {step("pan", 1, "axis-pan-plus", "▶", w.t("steer.right"))}
          {step("tilt", 1, "axis-tilt-plus", "▲", w.t("steer.up"))}
          {step("tilt", -1, "axis-tilt-minus", "▼", w.t("steer.down"))}
          {step("zoom", -1, "axis-zoom-minus", "−", w.t("steer.out"))}
          {step("zoom", 1, "axis-zoom-plus", "+", w.t("steer.in"))}
          <Button
            testid="axis-home"
            off={!mine}
            onPress={() => set(Object.fromEntries(axes.filter((a) => around.includes(a.name)).map((a) => [a.name, a.default])))}
          >
            {w.t("steer.home")}
          </Button>
        </div>
        {sliders.map((a) => {
          const auto = axis(`${a.name}-auto`);
          const isAuto = auto ? (values[auto.name] ?? auto.value) > 0 : false;
          return (
            <div class="axis" key={a.name}>
              <label>
                <span>{w.code("axis.", a.name)}</span>
                <input
                  type="range"
                  min={a.min}
                  max={a.max}
                  step={a.step}
                  value={values[a.name] ?? a.value}
                  disabled={!mine || isAuto}
                  data-testid={`axis-${a.name}`}
                  onInput={(e) => set(byHand(axes, a.name, Number(e.currentTarget.value)))}
                />
                <span class="num">{values[a.name] ?? a.value}</span>
              </label>
              {auto && (
                <Button testid={`axis-${auto.name}`} pressed={isAuto} off={!mine} label={w.code("axis.", auto.name)} onPress={() => set({ [auto.name]: isAuto ? 0 : 1 })}>
                  {w.t("word.auto")}
                </Button>
              )}
            </div>
          );
        })}
      </div>
    </section>
  );
}
