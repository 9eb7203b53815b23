// Holds the tables to the programs: every code that Go or a page can send to a screen has words, and no code has words that
// nothing sends. A new code without words fails here.

import { readdirSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { describe, expect, it } from "vitest";
import { en } from "./en.ts";
import { fr } from "./fr.ts";

const root = resolve(import.meta.dirname, "../../..");
const code = "([a-z]+(?:-[a-z]+)*)";

interface Source { files: string; prefix: Prefix; find: RegExp[]; least: number }
const prefixes = ["problem.", "reason.", "link.reason.", "notice.", "fleet.", "correct.", "event.", "strip.by.", "quantity.", "health.", "method.", "grade.", "ladder.step.", "ladder.to."] as const;
type Prefix = (typeof prefixes)[number];

// A refusal is written with its status, in a table's line or where it is made.
const refusal = [new RegExp(`http\\.Status\\w+, "${code}"`, "g")];
const named = [new RegExp(`^\\t\\w+(?: +\\w+)? += "${code}"`, "gm")]; // a constant block's line
const thrown = [new RegExp(`(?:problem|fail)\\("${code}"`, "g"), new RegExp(`\\bcode: [^;\\n]*?"${code}"[^;\\n]*`, "g")];

// "least" is how many codes the file had when this was written: an expression that finds nothing any more is noticed.
const sources: Source[] = [
  { files: "cmd/telecartd/agent/commands.go", prefix: "problem.", find: refusal, least: 19 },
  { files: "cmd/telecartd/agent/consult.go", prefix: "problem.", find: [new RegExp(`problems\\[.*\\] = "${code}"`, "g")], least: 1 },
  { files: "cmd/telecartd/bedside/*.go", prefix: "problem.", find: refusal, least: 5 },
  { files: "cmd/telecart-hub/console/*.go", prefix: "problem.", find: refusal, least: 25 },
  { files: "cmd/telecart-hub/serve/*.go", prefix: "problem.", find: refusal, least: 3 },
  { files: "uplink/hub/clinic/*.go", prefix: "problem.", find: refusal, least: 4 },
  { files: "uplink/hub/room/*.go", prefix: "problem.", find: refusal, least: 13 },
  { files: "uplink/hub/ingest/*.go", prefix: "problem.", find: refusal, least: 10 },
  { files: "provisioning/identity/problem.go", prefix: "problem.", find: [new RegExp(`\\{"${code}", http\\.Status`, "g"), new RegExp(`Code: "${code}"`, "g")], least: 10 },
  { files: "uplink/steer/lease.go", prefix: "problem.", find: named, least: 7 },
  { files: "uplink/link/client.go", prefix: "link.reason.", find: [new RegExp(`return "${code}"\\n`, "g"), new RegExp(`Reason: "${code}"`, "g"), new RegExp(`^const noAnswer = "${code}"`, "gm")], least: 4 },
  { files: "cmd/telecartd/agent/keylist.go", prefix: "link.reason.", find: refusal, least: 1 },
  { files: "device/*.go", prefix: "reason.", find: [new RegExp(`\\bReason += "${code}"`, "g")], least: 17 },
  { files: "device/*.go", prefix: "method.", find: [new RegExp(`\\bMethod += "${code}"`, "g")], least: 1 },
  { files: "device/device.go", prefix: "grade.", find: [new RegExp(`\\bGrade = "${code}"`, "g")], least: 2 },
  { files: "device/device.go", prefix: "health.", find: [new RegExp(`State += "${code}"`, "g")], least: 4 },
  { files: "cmd/telecartd/agent/*.go", prefix: "notice.", find: [new RegExp(`\\.notice\\("${code}"`, "g"), new RegExp(`^const \\w+Alert = "${code}"`, "gm")], least: 2 },
  { files: "uplink/hub/clinic/*.go", prefix: "notice.", find: [new RegExp(`\\.tell(?:Cart|All)?\\([^"\\n]*, "${code}"`, "g")], least: 4 },
  { files: "uplink/hub/clinic/*.go", prefix: "fleet.", find: [new RegExp(`, "${code}"\\},`, "g"), new RegExp(`\\.problem\\(\\w+, "${code}"`, "g")], least: 2 },
  { files: "capture/item.go", prefix: "correct.", find: [new RegExp(`^\\t(?:Wrong\\w+|EnteredInError) += "${code}"`, "gm")], least: 3 },
  { files: "capture/encounter.go", prefix: "event.", find: [new RegExp(`(?:event\\(|What: )"${code}"`, "g")], least: 2 },
  { files: "capture/encounter.go", prefix: "strip.by.", find: [new RegExp(`Source += "${code}"`, "g")], least: 3 },
  { files: "capture/quantity.go", prefix: "quantity.", find: [new RegExp(`Name: "${code}"`, "g")], least: 4 },
  { files: "uplink/ladder/shares.go", prefix: "ladder.step.", find: [new RegExp(`\\bStep = "${code}"`, "g")], least: 3 },
  { files: "uplink/ladder/shares.go", prefix: "ladder.to.", find: [new RegExp(`\\b(?:ToStills|ToPictures|Down|Up) +Code = "${code}"`, "g")], least: 4 },
  { files: "cmd/ui/readings.ts", prefix: "reason.", find: [new RegExp(`reason: [^{}\\n]*?"${code}"`, "g")], least: 3 },
  { files: "cmd/ui/socket.ts", prefix: "problem.", find: thrown, least: 4 },
  { files: "cmd/ui/base.tsx", prefix: "problem.", find: thrown, least: 1 },
  { files: "cmd/telecartd/bedside/src/app.tsx", prefix: "problem.", find: thrown, least: 1 },
  { files: "cmd/telecart-hub/console/src/hub.ts", prefix: "problem.", find: [new RegExp(`code: "${code}"`, "g")], least: 1 },
  { files: "cmd/telecart-hub/console/src/session.ts", prefix: "problem.", find: [/"(unauthorized|forbidden|failed)"/g], least: 3 },
  { files: "cmd/telecart-hub/console/src/livepicture.tsx", prefix: "problem.", find: thrown, least: 1 },
];

// Only the cart's uploader reads these: an item stays held, and the strip says how many.
const unseen = ["malformed", "stream-cut", "not-here", "cancelled", "chunk-damaged", "unknown-record-key", "foreign-cart", "foreign-receipt", "wrong-book", "wrong-hash"];

function text(files: string): string {
  const [dir, ext] = files.split("*");
  if (ext === undefined) return readFileSync(join(root, files), "utf8");
  return readdirSync(join(root, dir!), { recursive: true, encoding: "utf8" })
    .filter((n) => n.endsWith(ext) && !n.endsWith("_test.go"))
    .map((n) => readFileSync(join(root, dir!, n), "utf8"))
    .join("\n");
}

function codes(s: Source): string[] {
  const t = text(s.files);
  return [...new Set(s.find.flatMap((re) => [...t.matchAll(re)].map((m) => m[1]!)))].filter((c) => !(s.prefix === "problem." && (s.files.includes("ingest") || s.files.includes("serve") && c === "malformed") && unseen.includes(c)));
}

describe("codes", () => {
  it.each(sources)("of $files are found ($prefix)", (s) => expect(codes(s).length + (s.files.includes("ingest") ? unseen.length : 0)).toBeGreaterThanOrEqual(s.least));

  it.each(sources)("of $files have words ($prefix)", (s) => {
    expect(codes(s).filter((c) => !Object.hasOwn(en, s.prefix + c) || !Object.hasOwn(fr, s.prefix + c))).toEqual([]);
  });

  it.each(prefixes)("%s has no words for what nothing sends", (prefix) => {
    const sent = new Set(sources.filter((s) => s.prefix === prefix).flatMap(codes));
    const other = ["problem.unknown", "notice.name-alert.unnamed", "notice.dismiss", "notice.count", "notice.other"]; // the pages' own
    expect(Object.keys(en).filter((k) => k.startsWith(prefix) && !other.includes(k) && !sent.has(k.slice(prefix.length)))).toEqual([]);
  });
});
