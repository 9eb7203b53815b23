// A hand scanner acts as a keyboard: it "types" the code within milliseconds and ends with Enter. Wedge tells that burst
// from a person's typing, so that a wristband can be scanned on every screen, whatever has the focus.

/** Longest pause between two keys that only a scanner makes, ms. Scanners send every 1-30 ms, people every 80 ms or more. */
export const fastGap = 60;
/** Longest pause within a code, ms: a busy computer may stall a scanner once. */
export const stallGap = 250;
const shortest = 4;
const longest = 4096; // claim codes are long

export interface Scan {
  /** What was scanned; undefined when the burst had holes: half a code must never name a patient. */
  code: string | undefined;
}

export class Wedge {
  private text = "";
  private fastGaps = 0;
  private stalls = 0;
  private last = -Infinity;
  fast = false; // the last key came as only a scanner's does

  /** Takes one key and when it was pressed (ms). Returns a scan when this key ended one. */
  key(key: string, at: number): Scan | undefined {
    if (key.length !== 1 && key !== "Enter") return undefined; // Shift and the like are part of a scanner's burst
    const gap = at - this.last;
    this.last = at;
    this.fast = gap <= fastGap;
    if (gap > stallGap) this.begin();
    else if (this.fast) this.fastGaps++;
    else this.stalls++;
    if (key !== "Enter") {
      if (this.text.length < longest) this.text += key;
      return undefined;
    }
    const burst = this.fastGaps >= shortest - 1 && this.text.length >= shortest && this.fastGaps > this.stalls;
    const whole = this.stalls <= Math.max(1, Math.floor((this.fastGaps + this.stalls) / 10));
    const scan = burst ? { code: whole ? this.text : undefined } : undefined;
    this.begin();
    return scan;
  }

  /** How many keys the present burst has. */
  get length(): number {
    return this.text.length;
  }

  private begin(): void {
    this.text = "";
    this.fastGaps = 0;
    this.stalls = 0;
  }
}

type Field = HTMLInputElement | HTMLTextAreaElement;

function fieldOf(t: EventTarget | null): Field | undefined {
  return t instanceof HTMLInputElement || t instanceof HTMLTextAreaElement ? t : undefined;
}

/** Listens on the whole page until the returned function is called. What a burst wrote into a field is taken out again. */
export function listenForScans(onScan: (scan: Scan) => void): () => void {
  const wedge = new Wedge();
  let field: Field | undefined;
  let before = "";
  const down = (e: KeyboardEvent): void => {
    if (e.ctrlKey || e.altKey || e.metaKey || e.repeat) return;
    const length = wedge.length;
    const target = fieldOf(e.target);
    const value = target?.value ?? "";
    const scan = wedge.key(e.key, e.timeStamp);
    if (scan) {
      e.preventDefault();
      e.stopPropagation();
      if (scan.code !== undefined && field && field === target) {
        field.value = before;
        field.dispatchEvent(new Event("input", { bubbles: true }));
      }
      onScan(scan);
    } else if (wedge.length === 1 && e.key.length === 1) {
      field = target;
      before = value;
    } else if (length > 1 && wedge.length > length && wedge.fast && !target) {
      e.preventDefault(); // a space in the burst must not press the button that has the focus
      e.stopPropagation();
    }
  };
  addEventListener("keydown", down, true);
  return () => removeEventListener("keydown", down, true);
}
