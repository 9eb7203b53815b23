import { expect, it } from "vitest";
import { thrifty } from "./sound.ts";
import { whyNoMic } from "./voice.tsx";

const answer = ["v=0", "m=audio 9 UDP/TLS/RTP/SAVPF 111", "a=rtpmap:111 opus/48000/2", "a=fmtp:111 minptime=10;useinbandfec=1", "a=ptime:20", "a=recvonly", ""].join("\r\n");

it("asks the browser for long packets and few bits", () => {
  const out = thrifty(answer).split("\r\n");
  expect(out).toContain("a=fmtp:111 minptime=10;useinbandfec=1;maxaveragebitrate=11500;usedtx=1;stereo=0");
  expect(out.filter((l) => l.startsWith("a=ptime"))).toEqual(["a=ptime:60"]);
  expect(thrifty(answer.replace(/a=fmtp.*\r\n/, ""))).toContain("a=fmtp:111 maxaveragebitrate=11500;usedtx=1;stereo=0\r\na=ptime:60");
  expect(thrifty("v=0\r\nm=video 9\r\n")).toBe("v=0\r\nm=video 9\r\n");
});

it("tells a refused microphone from one that is not there", () => {
  expect(whyNoMic(new DOMException("", "NotAllowedError"))).toBe("refused");
  expect(whyNoMic(new DOMException("", "NotFoundError"))).toBe("missing");
});
