// Drives the two built pages against a daemon that is played by this script: what they send for each touch, and what they
// show for each message. It needs no daemon; the end-to-end run with real ones is elsewhere.

import assert from "node:assert/strict";
import { createServer } from "node:http";
import { readFile } from "node:fs/promises";
import { dirname, extname, join, normalize, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";

const cmd = resolve(dirname(fileURLToPath(import.meta.url)), "..");
const types = { ".html": "text/html", ".js": "text/javascript", ".css": "text/css" };
const policy = "default-src 'self'; img-src 'self' blob: data:; connect-src 'self'; style-src 'self'"; // the pages must work under it

async function serve(dist, extra = () => false) {
  const server = createServer(async (req, res) => {
    if (extra(req, res)) return;
    const path = normalize(new URL(req.url, "http://x").pathname).replace(/^\/$/, "/index.html");
    try {
      const body = await readFile(join(dist, path));
      res.writeHead(200, { "content-type": types[extname(path)] ?? "application/octet-stream", "content-security-policy": policy }).end(body);
    } catch {
      res.writeHead(404).end();
    }
  });
  await new Promise((done) => server.listen(0, "127.0.0.1", done));
  return { url: `http://127.0.0.1:${server.address().port}/`, close: () => server.close() };
}

const now = () => new Date().toISOString();
// The smallest JPEG that a browser draws: one grey pixel block, made by the browser itself below.
const makeJpeg = (page) =>
  page.evaluate(async () => {
    const c = new OffscreenCanvas(64, 36);
    c.getContext("2d").fillRect(0, 0, 64, 36);
    return [...new Uint8Array(await (await c.convertToBlob({ type: "image/jpeg" })).arrayBuffer())];
  });

async function bedside(browser) {
  const site = await serve(join(cmd, "telecartd/bedside/dist"));
  const page = await browser.newPage({ viewport: { width: 1280, height: 800 }, locale: "en-GB" });
  const errors = [];
  page.on("pageerror", (e) => errors.push(e.message));
  page.on("console", (m) => m.type() === "error" && !m.text().startsWith("Failed to load resource") && errors.push(m.text()));
  const state = {
    now: now(), cart: "clinic-7", hub: "", version: "1", practice: false, link: { state: "up", since: now() }, held: 0, held_by_kind: {}, sent: 0, refused: 0, disk_percent: 1,
    instruments: [{ name: "otoscope", kind: "camera", health: { state: "live" }, since: now(), twin: true, readings: [] }], items: [], leases: [], notices: [],
  };
  let agent;
  const commands = [];
  let answer = () => ({ ok: true });
  await page.routeWebSocket(/\/api\/ws$/, (ws) => {
    agent = ws;
    ws.onMessage((m) => {
      const c = JSON.parse(m);
      commands.push(c);
      ws.send(JSON.stringify({ reply: c.id, ...answer(c) }));
    });
    ws.send(JSON.stringify({ state }));
  });
  const drawn = [];
  let pictures;
  await page.routeWebSocket(/\/api\/picture\/otoscope$/, (ws) => {
    pictures = ws;
    ws.onMessage((m) => drawn.push(m));
  });
  const t = (id) => page.getByTestId(id).first();
  const say = (over) => agent.send(JSON.stringify({ state: Object.assign(state, over) }));
  const seen = (id, text) => t(id).filter({ hasText: text }).waitFor({ timeout: 5000 });

  await page.goto(site.url);
  await seen("strip-patient", "NO PATIENT");
  await seen("strip-link", "Link is up");

  // A wedge scanner: a burst of keys, whatever has the focus.
  await t("btn-practice").focus();
  await page.keyboard.type("4711-208");
  await page.keyboard.press("Enter");
  await seen("strip-patient", "NO PATIENT"); // only the agent says who it is
  assert.deepEqual(commands.map(({ verb, code }) => ({ verb, code })), [{ verb: "scan", code: "4711-208" }]);
  say({ encounter: { id: "e1", opened: now(), bound: true, restored: false }, patient: { id: "4711-208", name: "Amina Okafor", birth_date: "2019-04-30", source: "wristband" } });
  await seen("strip-patient", "Amina Okafor");

  // A picture is drawn and answered with its own time.
  await t("task-capture").click();
  await page.waitForFunction(() => document.querySelector("[data-testid=picture-canvas]"));
  const jpeg = await makeJpeg(page);
  const frame = Buffer.alloc(8 + jpeg.length);
  frame.writeBigUInt64BE(1700000000000000n);
  Buffer.from(jpeg).copy(frame, 8);
  while (!pictures) await page.waitForTimeout(20);
  pictures.send(frame);
  await page.waitForFunction(() => document.querySelector("[data-testid=picture-canvas]").dataset.state === "live");
  await page.waitForFunction(() => document.querySelector("[data-testid=picture-canvas]").dataset.state === "frozen", undefined, { timeout: 6000 });
  assert.match(drawn[0], /^1700000000000000 1\d{15}$/);

  // One touch takes a picture; side and site are said once and not remembered.
  await t("side-right").click();
  await t("site-ear").click();
  answer = () => ({ ok: true, result: { item: "aa" } });
  await t("btn-still").click();
  await t("taken").waitFor();
  const { id: _, ...still } = commands.at(-1);
  assert.deepEqual(still, { verb: "still", instrument: "otoscope", side: "right", site: "ear" });
  await t("btn-keep").click();
  assert.equal(await t("side-none").getAttribute("aria-pressed"), "true");
  assert.equal(await t("site-none").getAttribute("aria-pressed"), "true");

  // A pedal and a camera's button take a picture from any screen, with nothing that was said for another one.
  const last = () => (({ id: _id, ...c }) => c)(commands.at(-1));
  await t("task-help").click();
  agent.send(JSON.stringify({ input: { instrument: "pedal", act: "shutter" } }));
  await t("taken").waitFor();
  assert.deepEqual(last(), { verb: "still", instrument: "otoscope" });
  await t("btn-keep").click();
  agent.send(JSON.stringify({ input: { instrument: "scanner", act: "scanned", text: "4711-208", symbology: "]C1" } }));
  for (let i = 0; commands.at(-1).verb !== "scan" && i < 100; i++) await page.waitForTimeout(20);
  assert.deepEqual(last(), { verb: "scan", code: "4711-208", symbology: "]C1" });
  say({ alert: { code: "different-wristband", current: { id: "1", name: "Amina Okafor" }, scanned: { id: "2", name: "Kwame Asante" } } });
  await t("stop").waitFor();
  const stills = commands.filter((c) => c.verb === "still").length;
  agent.send(JSON.stringify({ input: { instrument: "pedal", act: "shutter" } }));
  say({ alert: undefined });
  await t("btn-still").waitFor();
  await page.waitForTimeout(100);
  assert.equal(commands.filter((c) => c.verb === "still").length, stills, "a picture was taken that nobody asked for now");

  // A cuff: its size is chosen anew each time; at work it can be stopped on every screen; its result is saved with its place.
  const cuff = (health, readings = []) => ({ name: "cuff", kind: "cuff", health, since: now(), twin: true, modes: ["adult", "child"], readings });
  const others = state.instruments;
  say({ instruments: [...others, cuff({ state: "live" })] });
  await t("btn-measure").click();
  await t("meter-cuff").click();
  assert.ok(await t("btn-cuff-start").isDisabled());
  await t("cuff-size-child").click();
  await t("btn-cuff-start").click();
  assert.deepEqual(last(), { verb: "measure", instrument: "cuff", mode: "child" });
  const made = (quantity, text, unit = "mm[Hg]") => ({ quantity, value: Number(text), text, unit, at: now(), stale: false, once: true, method: "oscillometric" });
  say({ instruments: [...others, cuff({ state: "live", reason: "measuring" }, [made("cuff-pressure", "142")])] });
  await seen("cuff-pressure", "142");
  await t("task-help").click();
  await t("btn-cuff-stop-bar").click();
  assert.deepEqual(last(), { verb: "stop-measure", instrument: "cuff" });
  say({ instruments: [...others, cuff({ state: "live" }, [made("systolic-pressure", "118"), made("diastolic-pressure", "74"), made("pulse-rate", "85", "/min")])] });
  await t("task-capture").click();
  await t("btn-measure").click();
  await seen("vital-blood-pressure", "118/74");
  assert.ok(await t("btn-cuff-start").isDisabled(), "the size was remembered");
  await t("side-left").click();
  await t("btn-measure-save").click();
  await t("saved").waitFor();
  assert.deepEqual(last(), { verb: "reading", instrument: "cuff", side: "left" });

  // By hand: both pressures go together, in the digits that were touched.
  await t("meter-by-hand").click();
  await t("hand-blood-pressure").click();
  for (const k of ["pad-1", "pad-0", "pad-2", "btn-hand-next", "pad-6", "pad-7", "pad-delete", "pad-6", "site-arm", "btn-hand-save"]) await t(k).click();
  await t("saved").waitFor();
  assert.deepEqual(last(), { verb: "by-hand", values: [{ quantity: "systolic-pressure", value: "102" }, { quantity: "diastolic-pressure", value: "66" }], site: "arm" });
  await page.keyboard.press("Escape");
  await t("btn-still").waitFor();
  say({ instruments: others });

  // A refusal is said in words.
  answer = () => ({ ok: false, problem: { code: "disk-full", title: "x", status: 507 } });
  await t("btn-still").click();
  await seen("problem", "The disk is too full");

  // A note by the screen's own keyboard; Escape goes back one step.
  answer = () => ({ ok: true, result: { item: "bb" } });
  await t("btn-note").click();
  for (const k of ["key-shift", "key-o", "key-k"]) await t(k).click();
  assert.equal(await t("field-note").inputValue(), "Ok");
  await page.keyboard.press("Escape");
  await t("btn-still").waitFor();

  // A call needs a touch; pause and take back are there on every screen.
  say({ consult: { id: "c1", by: "Dr Mensah", phase: "offered", since: now(), watchers: [] } });
  await t("btn-accept").click();
  assert.deepEqual([commands.at(-1).verb, commands.at(-1).answer], ["answer", "accept"]);
  say({
    consult: { id: "c1", by: "Dr Mensah", phase: "live", since: now(), watchers: ["Dr Mensah"] },
    leases: [{ instrument: "otoscope", holder: "u1", holder_name: "Dr Mensah", epoch: 1, until: new Date(Date.now() + 60e3).toISOString(), taken_back: false }],
  });
  await seen("strip-who", "Dr Mensah sees the picture");
  for (const task of ["patient", "instruments", "items", "help"]) {
    await t(`task-${task}`).click();
    await t("btn-pause").waitFor();
    await t("btn-take-back-otoscope").waitFor();
  }
  await t("btn-take-back-otoscope").click();
  assert.equal(commands.at(-1).verb, "take-back");

  // Another wristband stops everything; closing takes two different touches.
  say({ consult: undefined, leases: [], alert: { code: "different-wristband", current: { id: "1", name: "Amina Okafor" }, scanned: { id: "2", name: "Kwame Asante" } } });
  await seen("stop-current", "Amina Okafor");
  await seen("stop-scanned", "Kwame Asante");
  const before = commands.length;
  await t("btn-alert-close").click();
  assert.equal(commands.length, before);
  await t("btn-alert-close-sure").click();
  assert.deepEqual([commands.at(-1).verb, commands.at(-1).action], ["resolve-alert", "close"]);

  // The agent goes away: said in words; it comes back by itself.
  say({ alert: undefined });
  agent.close();
  await seen("strip-link", "Screen cut off");
  await seen("strip-link", "Link is up");
  assert.deepEqual(errors, []);
  await page.close();
  site.close();
}

async function desk(browser) {
  let signedIn = false;
  const me = { id: "u1", name: "Dr Mensah", role: "specialist", tenant: "Lakeside" };
  const site = await serve(join(cmd, "telecart-hub/console/dist"), (req, res) => {
    if (req.url !== "/v1/session") return false;
    if (req.method === "POST") signedIn = true;
    const body = signedIn ? JSON.stringify(me) : JSON.stringify({ code: "unauthorized", title: "x", status: 401 });
    res.writeHead(signedIn ? 200 : 401, { "content-type": "application/json" }).end(body);
    return true;
  });
  const page = await browser.newPage({ viewport: { width: 1366, height: 768 }, locale: "en-GB" });
  const errors = [];
  page.on("pageerror", (e) => errors.push(e.message));
  const axis = (name, min, max, step, value) => ({ name, unit: "1", min, max, step, default: 0, value });
  const cart = {
    cart: "clinic-7", site: "Nkawkaw", state: "ready", since: now(), held: 0, practice: false, encounter: { id: "e1", opened: now(), practice: false, items: 0, patient: { id: "1", name: "Amina Okafor" } },
    instruments: [{ name: "otoscope", kind: "camera", health: { state: "live" }, since: now(), twin: true, readings: [], axes: [axis("pan", -100, 100, 1, 0), axis("tilt", -100, 100, 1, 0), axis("zoom", 100, 500, 10, 100)] }], leases: [], problems: [],
  };
  let hub;
  const commands = [];
  await page.routeWebSocket(/\/v1\/ws$/, (ws) => {
    hub = ws;
    ws.onMessage((m) => {
      const c = JSON.parse(m);
      commands.push(c);
      const result = c.verb === "watch" ? { endpoint: "/v1/whep/x", token: "t" } : {};
      ws.send(JSON.stringify({ reply: c.id, ok: true, result }));
      if (c.verb === "view") ws.send(JSON.stringify({ encounter: { summary: cart.encounter, cart: cart.cart, items: [] } }));
    });
    ws.send(JSON.stringify({ state: { now: now(), hub: "h", version: "1", me, carts: [cart], notices: [] } }));
  });
  const t = (id) => page.getByTestId(id).first();
  const say = (over) => hub.send(JSON.stringify({ state: { now: now(), hub: "h", version: "1", me, carts: [Object.assign(cart, over)], notices: [] } }));
  const last = (verb) => commands.filter((c) => c.verb === verb).at(-1);
  const until = async (what) => {
    for (let i = 0; !what(); i++) {
      assert.ok(i < 200, `waited in vain for ${what}`);
      await page.waitForTimeout(25);
    }
  };

  await page.goto(site.url);
  await t("signin-name").fill("mensah");
  await t("signin-password").fill("x");
  await page.keyboard.press("Enter");

  // Two presses from the worklist to the picture.
  await t("select-clinic-7").click();
  await until(() => last("view"));
  await t("btn-offer").click();
  await until(() => last("offer"));
  assert.equal(last("offer").cart, "clinic-7");
  say({ state: "busy", consult: { id: "c1", encounter: "e1", by: me.name, phase: "live", since: now(), watchers: [me.name], streams: [{ instrument: "otoscope", stream: "s", publishing: true }], mine: true } });
  const whep = await page.waitForRequest((r) => r.url().endsWith("/v1/whep/x") && r.method() === "POST");
  assert.equal(whep.headers().authorization, "Bearer t");
  const sdp = whep.postData();
  assert.match(sdp, /a=recvonly/);
  const first = /m=video \d+ \S+ (\d+)/.exec(sdp)[1];
  assert.match(sdp, new RegExp(`a=rtpmap:${first} H264/`), "H.264 is asked for first");
  await t("stage-problem").waitFor(); // the played hub answers 404: said in words, with a way on

  // Steering: asked for, then by key, button, drag and wheel; at most 20 a second.
  await t("btn-lease").click();
  await until(() => last("lease"));
  say({ leases: [{ instrument: "otoscope", holder: "u1", holder_name: me.name, epoch: 4, until: new Date(Date.now() + 60e3).toISOString(), taken_back: false }] });
  await t("lease-state").filter({ hasText: "You steer" }).waitFor();
  await t("axis-pan-plus").click();
  await until(() => last("steer"));
  assert.deepEqual((({ cart: c, instrument, epoch, seq, set }) => ({ c, instrument, epoch, seq, set }))(last("steer")), { c: "clinic-7", instrument: "otoscope", epoch: 4, seq: 1, set: { pan: 5 } });
  await page.locator("body").press("ArrowUp");
  await until(() => last("steer").set.tilt === 5);
  const box = await t("stage-surface").boundingBox();
  const from = commands.length;
  const began = Date.now();
  await page.mouse.move(box.x + 100, box.y + 100);
  await page.mouse.down();
  for (let i = 0; i < 60; i++) await page.mouse.move(box.x + 100 + i * 3, box.y + 100);
  await page.mouse.up();
  await page.mouse.wheel(0, -200);
  await until(() => last("steer").set.zoom > 100);
  const sent = commands.slice(from).filter((c) => c.verb === "steer");
  assert.ok(sent.length <= Math.ceil((Date.now() - began) / 50) + 1, `${sent.length} setpoints in ${Date.now() - began} ms`);
  assert.ok(sent.every((c, i) => i === 0 || c.seq > sent[i - 1].seq));
  await page.locator("body").press("s");
  await until(() => last("act"));
  assert.deepEqual([last("act").epoch, last("act").kind], [4, "still"]);

  // The session ends: sign in again, nothing of a patient is left on the screen.
  signedIn = false;
  hub.close();
  await t("state-expired").waitFor();
  assert.equal(await page.getByText("Amina").count(), 0);
  assert.deepEqual(errors, []);
  await page.close();
  site.close();
}

const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  args: ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-first-run"],
});
try {
  await bedside(browser);
  console.log("bedside page: ok");
  await desk(browser);
  console.log("console page: ok");
} finally {
  await browser.close();
}
process.exit(0);
