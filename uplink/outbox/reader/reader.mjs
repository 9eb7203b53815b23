// Reads a cart's book folder, from FORMAT.md alone: it shares no line with the product, and needs nothing but Node.
//   node reader.mjs BOOKFOLDER [--record HEX (private X25519 record key)] [--root HEX (offline root)] [--device HEX (SPKI DER)] [--keys FILE]
import { createDecipheriv, createHash, createHmac, createPrivateKey, createPublicKey, diffieHellman, verify } from "node:crypto";
import { existsSync, readFileSync, readdirSync } from "node:fs";
import { join, basename } from "node:path";

const [dir, ...rest] = process.argv.slice(2), opt = {};
for (let i = 0; i < rest.length; i += 2) opt[rest[i].replace(/^--/, "")] = rest[i + 1];
const cat = (...p) => Buffer.concat(p.map((x) => (typeof x === "string" ? Buffer.from(x, "latin1") : Buffer.from(x))));
const u = (n, size) => { const b = Buffer.alloc(size); size === 8 ? b.writeBigUInt64BE(BigInt(n)) : b.writeUIntBE(n, 0, size); return b; };
const sha = (...p) => createHash("sha256").update(cat(...p)).digest(), hex = (b) => Buffer.from(b).toString("hex");
const named = (s) => cat(u(s.length, 1), s), problems = [], bad = (s) => void problems.push(s);
const table = Int32Array.from({ length: 256 }, (_, n) => { for (let k = 0; k < 8; k++) n = n & 1 ? (n >>> 1) ^ 0x82f63b78 : n >>> 1; return n; });
const crc = (b) => { let c = -1; for (const x of b) c = table[(c ^ x) & 255] ^ (c >>> 8); return (c ^ -1) >>> 0; };
const zero = (b) => b.every((x) => x === 0);

class Cut { // takes fields off the front
  constructor(b) { this.b = b; this.at = 0; }
  take(n) { if (this.at + n > this.b.length) throw Error("cut short"); return this.b.subarray(this.at, (this.at += n)); }
  n(size) { return size === 8 ? Number(this.take(8).readBigUInt64BE()) : this.take(size).readUIntBE(0, size); }
  name() { return this.take(this.n(1)).toString("latin1"); }
  field() { return this.take(this.n(2)); }
  magic(m) { if (!this.take(m.length).equals(Buffer.from(m, "latin1"))) throw Error("not " + m); return this; }
}
// Records: from bbolt's committed tree, from a log's whole batches, or by their marks in what is damaged.
const MARK = Buffer.from("8d5443524543310a", "hex");
function record(b, at) {
  const len = b.length - at >= 30 ? b.readUInt32BE(at + 22) : Infinity, end = at + 26 + len;
  if (end + 4 > b.length || !b.subarray(at, at + 8).equals(MARK) || crc(b.subarray(at, end)) !== b.readUInt32BE(end)) return null;
  return { type: String.fromCharCode(b[at + 8]), attempt: hex(b.subarray(at + 9, at + 17)), chunk: b.readUInt32BE(at + 17), slice: b[at + 21], payload: b.subarray(at + 26, end), end: end + 4 };
}
function* salvage(b) { for (let at = 0; (at = b.indexOf(MARK, at)) >= 0;) { const r = record(b, at); if (r) yield r; at = r ? r.end : at + 1; } }
const PAGE = 65536, le = (b, at, n) => (n === 8 ? Number(b.readBigUInt64LE(at)) : b.readUIntLE(at, n));
function fnv(b) { let h = 0xcbf29ce484222325n; for (const x of b) h = ((h ^ BigInt(x)) * 0x100000001b3n) & 0xffffffffffffffffn; return h; }
function* elements(b, at) { // of one page, key and value; an inline bucket is a page within a value
  const flags = le(b, at + 8, 2), count = le(b, at + 10, 2);
  for (let i = 0, e = at + 16; i < count; i++, e += 16) {
    if (flags === 1) { yield* elements(b, le(b, e + 8, 8) * PAGE); continue; }
    if (flags !== 2) throw Error("no page of a tree at " + at);
    const key = e + le(b, e + 4, 4), ks = le(b, e + 8, 4), vs = le(b, e + 12, 4);
    yield { key: b.subarray(key, key + ks), at: key + ks, size: vs };
  }
}
function* segment(b) {
  const metas = [16, PAGE + 16].filter((m) => m + 64 <= b.length && le(b, m, 4) === 0xed0cdaed && b.readBigUInt64LE(m + 56) === fnv(b.subarray(m, m + 56)));
  const m = metas.sort((x, y) => le(b, y + 48, 8) - le(b, x + 48, 8))[0];
  for (const e of elements(b, le(b, m + 16, 8) * PAGE)) {
    if (e.key.toString() !== "r") continue;
    const root = le(b, e.at, 8);
    for (const v of elements(b, root ? root * PAGE : e.at + 16)) {
      const r = record(b, v.at);
      if (!r) throw Error("a record at " + v.at); else yield r;
    }
  }
}
function* log(b, seg, number, name, last) {
  const head = (at) => at + 29 <= b.length && b.subarray(at, at + 5).equals(Buffer.from("TCLB\x01")) && crc(b.subarray(at, at + 25)) === b.readUInt32BE(at + 25) &&
    b.readUInt32BE(at + 5) === seg && b.readUInt32BE(at + 9) === number && at + 29 + b.readUInt32BE(at + 17) <= b.length;
  const body = (at) => b.subarray(at + 29, at + 29 + b.readUInt32BE(at + 17)), good = (at) => head(at) && crc(body(at)) === b.readUInt32BE(at + 21);
  for (let at = 0, n = 0; at < b.length; ) {
    if (good(at) && b.readUInt32BE(at + 13) === n) {
      const x = body(at);
      for (let i = 0, r; i < x.length; i = r.end) yield (r = record(x, i));
      at += Math.ceil((29 + x.length) / 4096) * 4096; n++; continue;
    }
    let next = at + 4096;
    while (next < b.length && !(head(next) && b.readUInt32BE(next + 13) > n)) next += 4096;
    if (next >= b.length) {
      if (zero(b.subarray(at, at + 29))) return;
      if (last && head(at)) for (let s = at, end = at + 29 + body(at).length; s < end; s += 512) if (zero(b.subarray(s, Math.min(s + 512, end)))) return; // torn
    } else n = b.readUInt32BE(next + 13);
    bad(`${name}: batch at ${at} is damaged`);
    yield* salvage(b.subarray(at, Math.min(next, b.length)));
    at = next;
  }
}
// The pieces of an item.
const entryOf = (b) => { const c = new Cut(b); return { raw: Buffer.from(b.subarray(0, 105)), incarnation: hex(c.take(16)), number: c.n(8), kind: c.n(1), run: hex(c.take(16)), prev: hex(c.take(32)), body: hex(c.take(32)) }; };
function headerOf(raw) {
  const c = new Cut(raw).magic("TCI\x01"), h = { raw, suite: c.n(1), kind: c.n(1), urgency: c.n(1), practice: c.n(1), tenant: c.name(), cart: c.name(), encounter: hex(c.take(16)) };
  return Object.assign(h, { wrap: hex(c.take(16)), salt: c.take(32), commitment: hex(c.take(32)), length: c.n(8) });
}
function wrapOf(raw) {
  const c = new Cut(raw).magic("TCW\x01"), w = { raw, kem: c.n(2), kdf: c.n(2), aead: c.n(2), epoch: c.n(4), practice: c.n(1), tenant: c.name(), cart: c.name() };
  c.take(32); w.info = cat("telecart data key v1\0", raw.subarray(0, c.at));
  return Object.assign(w, { enc: c.field(), sealed: c.field() });
}
function manifestOf(b) {
  const c = new Cut(b).magic("TCM\x01"), header = headerOf(c.field()), wrap = wrapOf(c.field()), entry = entryOf(c.take(105));
  return { header, wrap, entry, chunks: Array.from({ length: c.n(4) }, () => hex(c.take(32))) };
}
// Keys: HPKE base mode by hand (RFC 9180 sections 4 and 5: DHKEM(X25519), HKDF-SHA256, ChaCha20-Poly1305), HKDF (RFC 5869).
const mac = (k, ...p) => createHmac("sha256", k).update(cat(...p)).digest();
const expand = (prk, info, n) => { let t = Buffer.alloc(0), out = t; for (let i = 1; out.length < n; i++) out = cat(out, (t = mac(prk, t, info, [i]))); return out.subarray(0, n); };
const labeled = (suite) => ({ extract: (salt, label, ikm) => mac(salt, "HPKE-v1", suite, label, ikm), expand: (prk, label, info, n) => expand(prk, cat(u(n, 2), "HPKE-v1", suite, label, info), n) });
const x25519 = (priv) => createPrivateKey({ key: cat(Buffer.from("302e020100300506032b656e04220420", "hex"), priv), format: "der", type: "pkcs8" });
const spki = (prefix, raw) => createPublicKey({ key: cat(Buffer.from(prefix, "hex"), raw), format: "der", type: "spki" });
const ed25519 = (raw) => spki("302a300506032b6570032100", raw);
function aeadOpen(key, nonce, sealed, aad) {
  const d = createDecipheriv("chacha20-poly1305", key, nonce, { authTagLength: 16 });
  d.setAAD(aad, { plaintextLength: sealed.length - 16 }); d.setAuthTag(sealed.subarray(-16));
  return cat(d.update(sealed.subarray(0, -16)), d.final());
}
function unwrap(w, priv) {
  const sk = x25519(priv), pk = createPublicKey(sk).export({ type: "spki", format: "der" }).subarray(-32);
  const kem = labeled(cat("KEM", u(w.kem, 2))), ctx = labeled(cat("HPKE", u(w.kem, 2), u(w.kdf, 2), u(w.aead, 2))), no = Buffer.alloc(0);
  const dh = diffieHellman({ privateKey: sk, publicKey: spki("302a300506032b656e032100", w.enc) });
  const shared = kem.expand(kem.extract(no, "eae_prk", dh), "shared_secret", cat(w.enc, pk), 32);
  const schedule = cat([0], ctx.extract(no, "psk_id_hash", no), ctx.extract(no, "info_hash", w.info)), secret = ctx.extract(shared, "secret", no);
  return aeadOpen(ctx.expand(secret, "key", schedule, 32), ctx.expand(secret, "base_nonce", schedule, 12), w.sealed, no);
}
// All of it, segment by segment.
const slices = new Map(), manifests = new Map(), entries = [], items = [], out = { entries, items, receipts: [], heads: [], problems };
const files = [dir, join(dir, "quarantine")].flatMap((d) => (existsSync(d) ? readdirSync(d).map((f) => join(d, f)) : [])).filter((f) => /\/\d{8}(\.seg|\.\d{4,}\.log)$/.test(f));
for (const f of files.sort((a, b) => (basename(a) < basename(b) ? -1 : 1))) {
  const b = readFileSync(f), [n, k] = basename(f).split(".");
  const take = (r) => (r.type === "C" ? slices : manifests).set(`${+n}/${r.attempt}/${r.chunk}/${r.slice}`, { ...r, seg: +n });
  if (k !== "seg") { const last = !files.some((o) => basename(o).startsWith(n + ".") && /log$/.test(o) && +basename(o).split(".")[1] > +k); for (const r of log(b, +n, +k, basename(f), last)) take(r); continue; }
  try { for (const r of segment(b)) take(r); } catch (e) { bad(`${basename(f)}: ${e.message}`); for (const r of salvage(b)) take(r); }
}
for (const m of manifests.values()) {
  const man = m.type === "M" ? manifestOf(m.payload) : null, entry = man ? man.entry : entryOf(m.payload), hash = hex(sha("telecart ledger entry v1\0", entry.raw));
  if (entries.some((x) => x.hash === hash)) continue; // a condemned segment's entries are written again
  entries.push({ ...entry, raw: undefined, hash });
  if (!man) continue;
  const { header: h, wrap: w, chunks } = man, first = parseInt(m.attempt.slice(0, 8), 16);
  const it = { number: entry.number, item: entry.body, kind: h.kind, urgency: h.urgency, encounter: h.encounter, bad: [] };
  if (hex(sha("telecart item v1\0", u(h.raw.length, 4), h.raw, u(chunks.length, 4), ...chunks.map((c) => Buffer.from(c, "hex")))) !== entry.body) bad(`item ${entry.number}: hash`);
  if (hex(sha(w.raw).subarray(0, 16)) !== h.wrap) bad(`item ${entry.number}: wrap`);
  const sealed = chunks.map((want, i) => {
    const parts = [];
    for (let s = 0, found = true; found; s++) { found = null; for (let seg = first; seg <= m.seg && !found; seg++) found = slices.get(`${seg}/${m.attempt}/${i}/${s}`); if (found) parts.push(found.payload); }
    if (hex(sha(...parts)) !== want) it.bad.push(i);
    return cat(...parts);
  });
  if (opt.record && !it.bad.length) {
    const data = unwrap(w, Buffer.from(opt.record, "hex")), prk = mac(h.salt, data), key = expand(prk, "telecart item key v1", 32);
    if (hex(expand(prk, "telecart key commitment v1", 32)) !== h.commitment) bad(`item ${entry.number}: commitment`);
    const plain = cat(...sealed.map((c, i) => aeadOpen(key, cat(Buffer.alloc(3), u(i, 8), [i === sealed.length - 1 ? 1 : 0]), c, h.raw)));
    Object.assign(it, { data_key: hex(data), item_key: hex(key), plain_sha256: hex(sha(plain.subarray(8, 8 + Number(plain.readBigUInt64BE())))) });
    if (plain.length !== h.length) bad(`item ${entry.number}: length`);
  }
  items.push(it);
  out.book = { tenant: h.tenant, cart: h.cart, practice: !!h.practice };
}
entries.sort((a, b) => (a.incarnation === b.incarnation ? a.number - b.number : 0));
items.sort((a, b) => a.number - b.number);
const framed = (domain, t, c, p, ...more) => cat(domain, "\0", named(t), named(c), [p ? 1 : 0], ...more), id = (s) => Buffer.from(s, "hex");
let list = null;
if (opt.keys) { // the signature is over the very bytes between {"list": and ,"signature":
  const text = readFileSync(opt.keys), from = text.indexOf('{"list":') + 8, to = text.lastIndexOf(',"signature":'), s = JSON.parse(text);
  if (!opt.root || verify(null, cat("telecart key list v1\0", text.subarray(from, to)), ed25519(id(opt.root)), Buffer.from(s.signature, "base64"))) list = s.list;
  else bad("the key list is not signed by the root");
}
const device = opt.device && createPublicKey({ key: id(opt.device), format: "der", type: "spki" });
for (const f of readdirSync(dir).filter((f) => f.endsWith(".checkpoint") || f === "head")) {
  const x = JSON.parse(readFileSync(join(dir, f))), h = f === "head" ? x : x.head, hash = id(h.hash);
  const signed = device && verify("sha256", framed("telecart ledger head v1", h.tenant, h.cart, h.practice, id(h.incarnation), u(h.number, 8), hash), device, Buffer.from(h.signature, "base64"));
  out.heads.push({ file: f, incarnation: h.incarnation, number: h.number, hash: h.hash, signed: !!signed });
}
entries.forEach((e, i) => { // each names the one before
  const before = entries[i - 1], b = out.book, start = b && hex(sha(framed("telecart ledger genesis v1", b.tenant, b.cart, b.practice, id(e.incarnation))));
  const left = out.heads.find((h) => h.incarnation === e.incarnation && h.number === e.number - 1 && h.hash === e.prev); // what was erased
  const same = before && before.incarnation === e.incarnation;
  if (!(same && before.number === e.number - 1 && before.hash === e.prev) && !(e.number === 0 && e.prev === start) && !(!(same && before.number === e.number - 1) && left)) bad(`entry ${e.number} does not follow`);
});
function receipt(raw) {
  const c = new Cut(raw).magic("TCR\x01"), r = { verdict: c.n(1), hub: c.name(), store: hex(c.take(16)), sequence: c.n(8), key: c.n(4), tenant: c.name(), cart: c.name(), practice: !!c.n(1) };
  Object.assign(r, { incarnation: hex(c.take(16)), number: c.n(8), prev: hex(c.take(32)), item: hex(c.take(32)) });
  const pub = list && list.receipts.find((k) => k.id === r.key);
  r.signed = !!pub && r.hub === list.hub && verify(null, cat("telecart receipt v1\0", raw.subarray(0, -64)), ed25519(Buffer.from(pub.public, "base64")), raw.subarray(-64));
  out.receipts.push(r);
}
for (const f of existsSync(join(dir, "receipts")) ? readdirSync(join(dir, "receipts")).sort() : []) {
  const b = readFileSync(join(dir, "receipts", f));
  for (let at = 0; at < b.length; at += 512) {
    const s = b.subarray(at, at + 512), n = s.readUInt16BE(4);
    if (zero(s)) continue;
    if (s.toString("latin1", 0, 4) === "TCRS" && 15 + n + 4 <= 512 && crc(s.subarray(0, 15 + n)) === s.readUInt32BE(15 + n)) receipt(s.subarray(15, 15 + n));
    else bad(`${f}: slot ${at / 512}`);
  }
}
for (const f of readdirSync(dir).filter((f) => f.endsWith(".gone")).sort()) {
  const b = readFileSync(join(dir, f)), c = new Cut(b).magic("TCG\x01");
  c.n(4);
  if (crc(b.subarray(0, -4)) !== b.readUInt32BE(b.length - 4)) bad(f);
  else for (let n = c.n(4); n > 0; n--) receipt(c.field());
}
console.log(JSON.stringify(out));
