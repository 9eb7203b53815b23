import type { BedsideState, Instrument } from "../../../ui/api.ts";
import type { ViewState } from "../../../ui/viewstate.ts";
import type { Cart } from "./cart.ts";

export type Task = "patient" | "instruments" | "capture" | "items" | "call" | "help" | "claim";

/** What every view gets. */
export interface ViewProps {
  s: BedsideState;
  cart: Cart;
  camera: Instrument | undefined; // the one being worked with
  onCamera(name: string): void;
  go(t: Task): void;
  shutter?: string | undefined; // somebody pressed a camera's button or the pedal: of this camera
  onShutter?(): void; // it is taken care of
  forced?: ViewState | undefined; // the gallery shows every state
}
