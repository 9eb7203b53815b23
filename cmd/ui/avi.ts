// Clips are Motion JPEG in AVI (RIFF): LIST "movi" holds one chunk "00dc" for each frame, a whole JPEG each.

export interface Clip {
  frames: Uint8Array[]; // views of the file's bytes
  frameMs: number[]; // when each frame is shown, from the first
}

const headerEnd = 12;

function tag(v: DataView, at: number): string {
  return String.fromCharCode(v.getUint8(at), v.getUint8(at + 1), v.getUint8(at + 2), v.getUint8(at + 3));
}

/** Reads a clip. capturedMs are the true capture times; without them the file's even spacing is used. Throws on damage. */
export function parseClip(bytes: ArrayBuffer, capturedMs?: number[]): Clip {
  const v = new DataView(bytes);
  if (v.byteLength < headerEnd || tag(v, 0) !== "RIFF" || tag(v, 8) !== "AVI ") throw new Error("avi: not an AVI file");
  const frames: Uint8Array[] = [];
  let usPerFrame = 40_000;

  const walk = (from: number, to: number): void => {
    let at = from;
    while (at + 8 <= to) {
      const id = tag(v, at);
      const size = v.getUint32(at + 4, true);
      const body = at + 8;
      if (body + size > to) throw new Error(`avi: chunk ${JSON.stringify(id)} at ${at} is cut off`);
      if (id === "LIST" && size >= 4) {
        walk(body + 4, body + size);
      } else if (id === "avih" && size >= 4) {
        usPerFrame = v.getUint32(body, true) || usPerFrame;
      } else if ((id === "00dc" || id === "00db") && size > 0) {
        frames.push(new Uint8Array(bytes, body, size));
      }
      at = body + size + (size & 1); // chunks start at even offsets
    }
  };
  walk(headerEnd, Math.min(v.byteLength, 8 + v.getUint32(4, true)));
  if (frames.length === 0) throw new Error("avi: no frames");

  const given = capturedMs && capturedMs.length >= frames.length ? capturedMs.slice(0, frames.length) : undefined;
  return { frames, frameMs: given ?? frames.map((_, i) => (i * usPerFrame) / 1000) };
}

/** Which frame is shown at a time: the last one captured until then. */
export function frameAt(frameMs: number[], ms: number): number {
  let low = 0;
  let high = frameMs.length - 1;
  while (low < high) {
    const mid = (low + high + 1) >> 1;
    if (frameMs[mid]! <= ms) low = mid;
    else high = mid - 1;
  }
  return low;
}
