import { describe, expect, it } from "vitest";
import { frameAt, parseClip } from "./avi.ts";

function chunk(id: string, ...body: (number[] | Uint8Array)[]): Uint8Array {
  const flat = body.flatMap((b) => [...b]);
  const out = new Uint8Array(8 + flat.length + (flat.length & 1));
  out.set(ascii(id));
  new DataView(out.buffer).setUint32(4, flat.length, true);
  out.set(flat, 8);
  return out;
}
const ascii = (s: string): number[] => [...s].map((c) => c.charCodeAt(0));
const jpeg = (n: number): number[] => [0xff, 0xd8, n, 0xff, 0xd9]; // odd length: the next chunk is padded
const header = chunk("LIST", ascii("hdrl"), chunk("avih", [0x10, 0x27, 0, 0, ...Array<number>(52).fill(0)])); // 10,000 us a frame
const file = (...parts: Uint8Array[]): ArrayBuffer => chunk("RIFF", ascii("AVI "), ...parts).buffer as ArrayBuffer;
const movi = (...frames: number[]): Uint8Array => chunk("LIST", ascii("movi"), ...frames.map((n) => chunk("00dc", jpeg(n))));

describe("parseClip", () => {
  it("finds every frame, and nothing that is none", () => {
    const c = parseClip(file(header, chunk("JUNK", [1, 2, 3]), movi(1, 2, 3), chunk("idx1", Array<number>(16).fill(0))));
    expect(c.frames.map((f) => f[2])).toEqual([1, 2, 3]);
    expect(c.frameMs).toEqual([0, 10, 20]);
  });
  it("uses the true capture times", () => expect(parseClip(file(movi(1, 2, 3)), [0, 35, 90]).frameMs).toEqual([0, 35, 90]));
  it("does not trust too few times", () => expect(parseClip(file(header, movi(1, 2, 3)), [0]).frameMs).toEqual([0, 10, 20]));
  it("reads frames in rec lists", () => expect(parseClip(file(chunk("LIST", ascii("movi"), chunk("LIST", ascii("rec "), chunk("00dc", jpeg(9)))))).frames).toHaveLength(1));
  it("skips empty frames", () => expect(parseClip(file(chunk("LIST", ascii("movi"), chunk("00dc", []), chunk("00dc", jpeg(4))))).frames).toHaveLength(1));
  it.each([
    ["nothing", new ArrayBuffer(0), "not an AVI"],
    ["a JPEG", new Uint8Array(jpeg(1).concat(Array<number>(20).fill(0))).buffer as ArrayBuffer, "not an AVI"],
    ["no frames", file(header), "no frames"],
    ["a cut-off file", file(movi(1, 2)).slice(0, 40), "cut off"],
  ])("refuses %s", (_, bytes, why) => expect(() => parseClip(bytes)).toThrow(why));
});

it.each([[0, 0], [34, 0], [35, 1], [89, 1], [90, 2], [1e9, 2], [-5, 0]])("at %d ms frame %d is shown", (ms, want) => expect(frameAt([0, 35, 90], ms)).toBe(want));
