// What both daemons say to their screens. The Go side: uplink/link/message.go (shared shapes), cmd/telecartd/bedside
// and cmd/telecart-hub/console. Times are RFC 3339 strings, durations are milliseconds, ids and hashes hexadecimal.

export type Kind = "reading" | "waveform" | "still" | "clip" | "sound" | "note" | "binding" | "correction" | "event";

export interface Patient { id: string; name?: string; birth_date?: string }

export interface Health { state: "absent" | "settling" | "live" | "faulty"; reason?: string }

export interface Reading {
  quantity: string; // body-temperature, oxygen-saturation, pulse-rate
  value: number; // draw `text` of it as sent: see decimals in readings.ts
  text: string; // the value with its precision, "37.0"; "" when absent
  unit: string; // UCUM
  absent?: string;
  site?: string;
  side?: string;
  method?: string;
  quality?: string;
  at: string;
  stale: boolean;
  once?: boolean; // measured once, not one of a stream
}

export interface Axis { name: string; unit: string; min: number; max: number; step: number; default: number; value: number; locked?: boolean }

export interface Instrument {
  name: string;
  kind: "camera" | "thermometer" | "oximeter" | "cuff" | "ecg" | "stethoscope" | "scale" | "scanner" | "pedal" | "light" | "power" | "clock" | "room" | "voice";
  health: Health;
  since: string;
  twin: boolean;
  grade?: "consumer" | "uncalibrated";
  modes?: string[]; // one must be chosen before it measures: patient sizes
  readings: Reading[];
  axes?: Axis[];
}

export interface Lease { instrument: string; holder?: string; holder_name?: string; epoch: number; until: string; taken_back: boolean }

export interface Notice { id: string; code: string; with?: Record<string, string> }

export interface Problem { code: string; title: string; detail?: string; status: number }

/** A piece of a waveform, as it comes. */
export interface Samples { instrument: string; quantity: string; rate_hz: number; values: number[]; at: string }

/** What a cart found damaged on its own disk. */
export interface Damage { segments: number; items: DamagedItem[]; more: number }
export interface DamagedItem { number: number; kind?: Kind; at?: string } // without a kind its entry itself is lost

/** Where the cart's ladder stands: what its link carries, and what became of the moving picture. */
export interface Ladder {
  step: "full" | "smaller" | "stills"; // stills: the moving picture is paused
  kbps: number; // that the link carries
  used_kbps: number;
  log: { at: string; code: "stills" | "pictures" | "smaller" | "larger"; kbps: number }[]; // the latest steps, the oldest first
}

/** Every command carries an id; exactly one reply carries it back. */
export interface Command { id: number; verb: string; [arg: string]: unknown }
export interface Reply { reply: number; ok: boolean; problem?: Problem; result?: unknown }

// ---------------------------------------------------------------- bedside

export interface BedsideItem {
  id: string; // the item's hash
  kind: Kind;
  at: string;
  instrument?: string;
  twin?: boolean; // by a simulated instrument
  grade?: "consumer" | "uncalibrated";
  method?: string; // of a reading
  quantity?: string;
  text?: string; // of a reading
  unit?: string;
  site?: string;
  side?: string;
  sent: boolean; // the hub's receipt is here
  refused?: boolean;
  review: boolean; // GET /api/review/{id} still has it (this encounter, this run of the agent, capped memory)
  corrected?: string; // reason
}

export interface BedsideState {
  now: string;
  cart: string;
  hub: string;
  version: string;
  practice: boolean;
  encounter?: { id: string; opened: string; bound: boolean; restored: boolean }; // restored: continued after a restart
  patient?: Patient & { age?: number; source: "wristband" | "two-identifiers" | "hub" };
  alert?: { code: "different-wristband"; current: Patient; scanned: Patient };
  link: { state: "up" | "down" | "not-enrolled"; since: string; reason?: string };
  held: number;
  held_by_kind: Partial<Record<Kind, number>>;
  sent: number;
  last_sent?: string;
  refused: number;
  damaged: number; // items on this cart's disk that can't be read back
  damage?: Damage; // and more about them
  disk_percent: number;
  battery_min?: number; // absent on mains
  battery_percent?: number;
  instruments: Instrument[];
  items: BedsideItem[]; // of this encounter in this run, newest first
  consult?: {
    id: string;
    by: string;
    phase: "calling" | "offered" | "live" | "paused" | "waiting-continue";
    since: string;
    watchers: string[];
    voice?: { muted: boolean; sent: boolean; heard: string[] }; // while it is live; absent: this cart has no microphone
    faces?: { id: string; name: string }[]; // specialists who can be seen, while it is live
    error?: string;
    ladder?: Ladder; // while pictures are sent
  };
  leases: Lease[];
  notices: Notice[];
}

/** Server -> page on /api/ws: exactly one of these. */
export type BedsideMessage = { state: BedsideState } | { samples: Samples } | { input: Input } | Reply;

/** What somebody did with a scanner, a pedal or a camera's button. */
export interface Input { instrument: string; act: "scanned" | "shutter"; text?: string; symbology?: string }

/*
Commands on /api/ws (verb: arguments -> result):
  open: {practice}                                    -> opens an encounter
  close: {}                                           -> closes it
  scan: {code, symbology?}                            -> a wristband: binds; a different one raises alert; opens an encounter when none is open
  bind: {patient: Patient}                            -> by two identifiers (name and birth date)
  resolve-alert: {action: "keep" | "close"}           -> keep the current patient, or close and open anew for the scanned one
  still: {instrument, site?, side?}                   -> {item}
  clip: {instrument, seconds, site?, side?}           -> {item}   (2..10 s)
  reading: {instrument, site?, side?}                 -> {items}  every present value of that instrument; refused with
                                                         code "nothing-to-save" when there is none
  waveform: {instrument, seconds, site?, side?}       -> {item}   (5..30 s, from what was already measured or from now on)
  sound: {instrument, seconds, site?, side?}          -> {item}   (2..60 s from now on)
  measure: {instrument, mode}                         -> starts a cuff; the result comes as readings. codes: choose-mode, measuring, too-soon
  stop-measure: {instrument}                          -> lets the air out, at any time
  by-hand: {values: [{quantity, value: "36.6"}], device?, site?, side?} -> {items}; codes: out-of-range, bad-argument
  adjust: {instrument, set: {brightness: 40}}         -> a light
  note: {text}                                        -> {item}
  correct: {item, reason, side?, text?}               -> {item}
  call: {reason?} / cancel-call: {}
  answer: {answer: "accept"|"refuse"|"pause"|"resume"|"end"}
  mute: {} / unmute: {}                               -> the cart's microphone in this consult
  take-back: {instrument} / give-back: {instrument}
  dismiss: {notice}
  claim: {code}                                       -> enrols the cart with a claim code
Pictures: WebSocket /api/picture/{instrument}: binary frames, 8 bytes big-endian capture time (microseconds since 1970),
then a JPEG. The page answers each drawn frame with a text message: the same number of microseconds and when it was drawn
("1700000000000000 1700000000012345"); the next frame, always the newest, is sent after that.
Review: GET /api/review/{item} -> the still's JPEG, a clip's AVI, a waveform's samples (32-bit little endian).
*/

// ---------------------------------------------------------------- console

export interface Me { id: string; name: string; role: "nurse" | "specialist" | "it"; tenant: string }

export interface ConsoleCart {
  cart: string;
  site: string;
  state: "ready" | "busy" | "offline"; // busy: in a consult
  since: string;
  version?: string;
  held: number;
  battery_min?: number;
  disk_percent?: number;
  practice: boolean;
  encounter?: EncounterSummary;
  calling?: { reason: string; since: string };
  consult?: ConsoleConsult;
  instruments: Instrument[];
  leases: Lease[];
  damage?: Damage; // what the cart reports of its own disk
  problems: string[]; // codes for IT: ledger-fork, items-lost, certificate-expiring, revoked ...
}

export interface EncounterSummary {
  id: string;
  opened: string;
  closed?: string;
  practice: boolean;
  patient?: Patient & { age?: number }; // absent: unidentified. Never sent to IT.
  items: number;
}

export interface ConsoleConsult {
  id: string;
  encounter: string;
  by: string;
  phase: "calling" | "offered" | "live" | "paused" | "waiting-continue" | "link-lost" | "refused" | "ended";
  since: string;
  watchers: string[];
  streams: { instrument: string; stream: string; publishing: boolean }[];
  sounds?: { instrument: string; stream: string; publishing: boolean }[]; // the cart's microphones
  muted?: boolean; // the nurse turned the microphone off
  voices?: { source: string; name: string; muted: boolean; seen?: boolean; mine: boolean }[]; // members whose microphone is on, seen: and camera; watch takes source
  mine: boolean; // I take part
  ladder?: Ladder; // while pictures are sent
}

export interface ConsoleItem {
  id: string;
  number: number; // in the cart's ledger
  kind: Kind;
  at: string;
  arrived: string;
  by?: string;
  instrument?: string;
  twin?: boolean; // by a simulated instrument
  grade?: "consumer" | "uncalibrated";
  model?: string; // as the instrument says, or as the nurse named the clinic's own device
  reading?: Reading;
  waveform?: { quantity: string; unit: string; rate_hz: number; count: number };
  media?: { type: string; width?: number; height?: number; duration_ms?: number; frame_ms?: number[] };
  note?: string;
  binding?: { patient: Patient; method: string };
  correction?: { item: string; reason: string; side?: string; text?: string };
  event?: string;
  site?: string;
  side?: string; // as corrected
  corrected?: { by_item: string; reason: string; text?: string }; // a later item corrects this one
  urgent?: boolean;
  receipt: { sequence: number; key: number };
}

export interface ConsoleEncounter { summary: EncounterSummary; cart: string; items: ConsoleItem[]; name_alert?: Patient[] }

/** What the hub has of a cart's ledgers, for IT: numbers and times, never a patient. */
export interface ConsoleLedger {
  cart: string;
  at: string; // of this check
  every: boolean; // every byte was read
  stores: LedgerStore[]; // lives of the hub's store; the last is the present one
  receipts: number; // given by the present store
  backup: number; // up to this receipt a backup holds everything
  unseen: boolean; // there is something that IT has not confirmed to have seen
  parts: LedgerPart[];
}
export interface LedgerStore { store: string; since?: string }
export interface LedgerRange { first: number; last: number }
export interface LedgerLost { number: number; item: string; store: string; sequence: number }
export interface LedgerOrigin { known: boolean; incarnation: string; number: number }
export interface LedgerPart {
  practice: boolean;
  incarnation: string;
  whole: boolean;
  head?: number; // the number that the cart's newest signature covers; absent: none came
  head_at?: string;
  forged: boolean; // that signature does not check
  disputed: boolean; // the cart has signed another head too
  after?: LedgerOrigin; // it took over from a disputed one
  first?: string;
  last?: string;
  entries: number;
  items: number;
  missing: LedgerRange[];
  doubled: number[];
  altered: number[];
  refused: number[];
  absent: number[]; // entered, but the item is not here
  damaged: number[]; // received, but the file is not what it was
  gone: LedgerLost[]; // received in an earlier life of the store, and not here
  unsigned: number; // entries above the head
}

export interface ConsoleState {
  now: string;
  hub: string;
  version: string;
  me: Me;
  carts: ConsoleCart[];
  notices: Notice[]; // corrected items that I saw, splits, forks
}

/** Server -> page on /v1/ws: exactly one of these. */
export type ConsoleMessage =
  | { state: ConsoleState }
  | { encounter: ConsoleEncounter } // whole, whenever the encounter in view changes
  | { samples: Samples & { cart: string } }
  | Reply;

/*
POST /v1/session {name, password} -> Me, sets the session cookie; GET /v1/session -> Me; DELETE /v1/session.
Commands on /v1/ws:
  view: {encounter} / unview: {}                      -> which encounter's timeline is sent
  offer: {cart}                                       -> {consult}   asks the nurse; or answers her call (then live at once)
  join: {consult} / leave: {consult} / end: {consult}
  watch: {consult, instrument}                        -> {endpoint, token}   for a WHEP session (RFC 9725's sister)
  show:  {consult}                                    the own picture goes with the voice, until the next speak
  speak: {consult}                                    -> {endpoint, token}   for a WHIP session (RFC 9725): the own microphone
  mute: {consult} / unmute: {consult} / hush: {consult}     said of it, so that both screens name who can be heard
  lease: {cart, instrument} / release: {cart, instrument}   the cart grants: see leases in the state
  steer: {cart, instrument, epoch, seq, set}          -> no need to wait for the reply
  act: {cart, instrument, epoch, kind: "still"}       -> {item}
  dismiss: {notice}
  claim: {cart, site}                                 -> {code, qr}   (IT)
  revoke: {cart}                                      (IT)
  ledger: {cart, every?}                              -> ConsoleLedger   (IT); every: reads every byte
  ledger-seen: {cart}                                 (IT) what is wrong with its ledgers was seen
Items: GET /v1/items/{id}/blob -> the bytes (JPEG, AVI, samples) with their media type.
*/
