// What a drag, a wheel, a key or a button means for a camera's axes: pure, so that it is tested. Every value is in the
// axis's own unit, within its limits and on its steps.

import type { Axis } from "../../../ui/api.ts";

export type Set = Record<string, number>;

// How much of the scene the picture's width shows at the widest zoom. Cameras don't say; a usual one sees about 60 degrees.
const viewArcsec = 60 * 3600;
const nudges = 40; // one press moves a fortieth of the range
const wheelPerNudge = 100; // pixels of wheel for one step of zoom

export function clamp(a: Axis, v: number): number {
  const step = a.step > 0 ? a.step : 1;
  const bounded = Math.min(a.max, Math.max(a.min, v));
  return Math.min(a.max, a.min + Math.round((bounded - a.min) / step) * step);
}

export function nudge(a: Axis, value: number, times: number): number {
  const step = a.step > 0 ? a.step : 1;
  return clamp(a, value + times * step * Math.max(1, Math.round((a.max - a.min) / nudges / step)));
}

/** How many times closer than at its widest the camera sees now. */
function magnification(zoom: Axis | undefined, value: number | undefined): number {
  if (!zoom || zoom.min <= 0) return 1;
  return Math.max(1, (value ?? zoom.value) / zoom.min);
}

/** A drag by parts of the picture's width and height: the scene follows the hand. */
export function drag(axes: Axis[], from: Set, dx: number, dy: number): Set {
  const find = (n: string): Axis | undefined => axes.find((a) => a.name === n);
  const view = viewArcsec / magnification(find("zoom"), from["zoom"]);
  const set: Set = {};
  const pan = find("pan");
  const tilt = find("tilt");
  if (pan) set["pan"] = clamp(pan, (from["pan"] ?? pan.value) - dx * view);
  if (tilt) set["tilt"] = clamp(tilt, (from["tilt"] ?? tilt.value) + dy * view * (9 / 16));
  return set;
}

export function wheel(axes: Axis[], from: Set, deltaY: number): Set {
  const zoom = axes.find((a) => a.name === "zoom");
  return zoom ? { zoom: nudge(zoom, from["zoom"] ?? zoom.value, -deltaY / wheelPerNudge) } : {};
}

/** Sets an axis by hand; its automatic control, where it has one, is switched off in the same order. */
export function byHand(axes: Axis[], name: string, value: number): Set {
  const axis = axes.find((a) => a.name === name);
  if (!axis) return {};
  const auto = axes.find((a) => a.name === `${name}-auto`);
  return { ...(auto && { [auto.name]: 0 }), [name]: clamp(axis, value) };
}

/** Keys that steer, and what each does. */
export const steerKeys: Record<string, { axis: string; times: number } | { toggle: string }> = {
  ArrowLeft: { axis: "pan", times: -1 },
  ArrowRight: { axis: "pan", times: 1 },
  ArrowUp: { axis: "tilt", times: 1 },
  ArrowDown: { axis: "tilt", times: -1 },
  "+": { axis: "zoom", times: 1 },
  "=": { axis: "zoom", times: 1 },
  "-": { axis: "zoom", times: -1 },
  "[": { axis: "focus", times: -1 },
  "]": { axis: "focus", times: 1 },
  ",": { axis: "exposure", times: -1 },
  ".": { axis: "exposure", times: 1 },
  f: { toggle: "focus-auto" },
  e: { toggle: "exposure-auto" },
};

export function byKey(axes: Axis[], from: Set, key: string): Set {
  const k = steerKeys[key];
  if (!k) return {};
  if ("toggle" in k) {
    const a = axes.find((x) => x.name === k.toggle);
    return a ? { [a.name]: (from[a.name] ?? a.value) > 0 ? 0 : 1 } : {};
  }
  const a = axes.find((x) => x.name === k.axis);
  return a ? byHand(axes, a.name, nudge(a, from[a.name] ?? a.value, k.times)) : {};
}
