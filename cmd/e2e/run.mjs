// Both screens in Chromium against the real programs: join, see moving video, steer and see the picture change, cut the link,
// go on capturing, restore, "sent". Pixels are compared, not elements. Screenshots go to out/screens.
import { chromium } from "playwright-core";
import { spawn } from "node:child_process";
import { mkdirSync } from "node:fs";
import { createInterface } from "node:readline";
import { createServer } from "node:net";
import { fileURLToPath } from "node:url";
import { dirname, join } from "node:path";
import { httpsOnly } from "./httpsonly.mjs";
import { instruments, watchAudio } from "./instruments.mjs";
import { faces } from "./faces.mjs";
import { fakeMicrophone, voices } from "./voices.mjs";

const root = join(dirname(fileURLToPath(import.meta.url)), "..", "..");
const shots = join(root, "out", "screens");
mkdirSync(shots, { recursive: true });

// Below the ports that the kernel gives to connections: nobody takes it while a killed program is away.
const freePort = (tries = 100) =>
  new Promise((resolve, reject) => {
    const s = createServer();
    const port = 20000 + Math.floor(Math.random() * 12000);
    s.on("error", (e) => (tries > 0 ? resolve(freePort(tries - 1)) : reject(e)));
    s.listen(port, "127.0.0.1", () => s.close(() => resolve(port)));
  });

let passed = 0;
const failed = [];
async function check(name, f) {
  const from = Date.now();
  try {
    const seen = await f();
    passed++;
    console.log(`ok    ${name}${seen ? `: ${seen}` : ""} (${Date.now() - from} ms)`);
  } catch (err) {
    failed.push(name);
    console.log(`FAIL  ${name}: ${err.message.split("\n").slice(0, 6).join(" | ")}`);
    await Promise.all(pages.map((p, i) => p.screenshot({ path: join(shots, `failed-${failed.length}-${i}.png`) }).catch(() => {})));
  }
}
const must = (ok, what) => {
  if (!ok) throw new Error(what);
};

const pages = [];
const patience = 10_000;
const [bedside, people] = [await freePort(), await freePort()];
const bin = process.env.TELECART_BIN ?? join(root, "bin");
const demo = spawn(join(bin, "telecart"), ["demo", "--bedside", `127.0.0.1:${bedside}`, "--console", `127.0.0.1:${people}`], {
  stdio: ["pipe", "pipe", "inherit"],
});
const lines = createInterface({ input: demo.stdout });
const said = [];
const listeners = new Set();
lines.on("line", (l) => {
  said.push(l);
  for (const f of listeners) f(l);
});
const heard = (pattern) =>
  new Promise((resolve, reject) => {
    const old = said.map((l) => l.match(pattern)).find(Boolean);
    if (old) return resolve(old);
    const t = setTimeout(() => reject(new Error(`the demo never said ${pattern}`)), 60_000);
    const f = (l) => {
      const m = l.match(pattern);
      if (m) {
        clearTimeout(t);
        listeners.delete(f);
        resolve(m);
      }
    };
    listeners.add(f);
    demo.on("exit", (code) => reject(new Error(`the demo ended with ${code}`)));
  });
const tell = (word) => {
  demo.stdin.write(word + "\n");
  return heard(word === "kill" ? /^the agent runs again: (\S+)/ : new RegExp(`^link: ${word}`));
};

const browser = await chromium.launch({
  executablePath: "/usr/bin/chromium",
  args: ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-first-run", "--autoplay-policy=no-user-gesture-required",
    "--use-fake-device-for-media-stream", `--use-file-for-fake-audio-capture=${fakeMicrophone(join(shots, "microphone.wav"))}`],
});

// What a picture looks like now: a small grey copy of a canvas or video, and how different two of them are.
const look = (page, selector) =>
  page.evaluate((sel) => {
    const from = document.querySelector(sel);
    const w = from?.videoWidth ?? from?.width;
    if (!w) return null;
    const c = document.createElement("canvas");
    c.width = 64;
    c.height = 36;
    const g = c.getContext("2d");
    g.drawImage(from, 0, 0, 64, 36);
    const d = g.getImageData(0, 0, 64, 36).data;
    const out = [];
    for (let i = 0; i < d.length; i += 4) out.push((d[i] + d[i + 1] + d[i + 2]) / 3);
    return out;
  }, selector);
const differ = (a, b) => a.reduce((s, x, i) => s + Math.abs(x - b[i]), 0) / a.length;
const mean = (a) => a.reduce((s, x) => s + x, 0) / a.length;
async function until(what, f, ms = patience) {
  const end = Date.now() + ms;
  let last;
  while (Date.now() < end) {
    last = await f();
    if (last) return last;
    await new Promise((r) => setTimeout(r, 50));
  }
  throw new Error(`still waiting: ${what}`);
}
const id = (x) => `[data-testid="${x}"]`;
const text = (page, x) => page.locator(id(x)).first().innerText();
// Scans as a nurse does: again, if a busy machine lost half of the code.
async function scan(page, code, done) {
  for (let i = 0; i < 6; i++) {
    await page.keyboard.type(code, { delay: 1 });
    await page.keyboard.press("Enter");
    try {
      return await until("the scan to count", done, 2500);
    } catch {
      const ok = page.locator(id("btn-problem-ok"));
      if (await ok.count()) await ok.first().click();
    }
  }
  throw new Error(`${code} was scanned in vain`);
}
const shot = (page, name) => page.screenshot({ path: join(shots, `${name}.png`) });

try {
  const [, page] = await heard(/the nurse's cart\s+(\S+)/);
  const [, password] = await heard(/ with (demo-\S+)/);
  const [, state] = await heard(/State and logs: (\S+)/);
  const [, metrics] = await heard(/figures\s+(\S+)/);
  // A context each: cookies of 127.0.0.1 are shared between ports.
  const nurse = await (await browser.newContext({ viewport: { width: 1280, height: 800 } })).newPage();
  const doctor = await (await browser.newContext({ viewport: { width: 1366, height: 768 } })).newPage();
  pages.push(nurse, doctor);
  for (const p of pages) {
    p.setDefaultTimeout(patience);
    await p.addInitScript(watchAudio);
  }
  const broken = [];
  for (const p of pages) p.on("pageerror", (e) => broken.push(e.message));

  await check("the bedside page is refused without the boot's secret", async () => {
    const r = await fetch(`http://127.0.0.1:${bedside}/`);
    must(r.status === 401, `status ${r.status}`);
  });
  await check("a scanned wristband opens an encounter and names the patient", async () => {
    await nurse.goto(page);
    await until("the cart's state", async () => /link is up/i.test(await text(nurse, "strip-link")));
    await scan(nurse, "MRN-1001|Ada Bell|2019-05-17", async () => (await text(nurse, "strip-patient")).includes("Ada Bell"));
    await shot(nurse, "bedside-patient");
  });
  await check("the nurse's own picture moves, without any consult", async () => {
    await nurse.locator(id("task-capture")).click();
    await nurse.locator(id("picture-canvas")).waitFor();
    const a = await until("a picture", () => look(nurse, id("picture-canvas")));
    return until("another picture", async () => {
      const d = differ(a, await look(nurse, id("picture-canvas")));
      return d > 0.5 && `mean difference ${d.toFixed(1)}`;
    });
  });
  await check("a wrong password is refused, the right one signs in", async () => {
    await doctor.goto(`http://127.0.0.1:${people}/`);
    await doctor.locator(id("signin-name")).fill("dr-okafor");
    await doctor.locator(id("signin-password")).fill("wrong");
    await doctor.locator(id("btn-signin")).click();
    await until("the refusal in words", async () => /not right/i.test(await doctor.locator(id("signin")).innerText()));
    must((await doctor.locator(id("worklist")).count()) === 0, "a wrong password opened the worklist");
    await doctor.locator(id("signin-password")).fill(password);
    await doctor.locator(id("btn-signin")).click();
    await doctor.locator(id("select-cart-1")).waitFor();
  });
  await check("the specialist asks, the nurse accepts, a picture comes and moves", async () => {
    await doctor.locator(id("select-cart-1")).click();
    await doctor.locator(id("btn-offer")).first().click();
    await nurse.locator(id("btn-accept")).first().click();
    const from = Date.now();
    const a = await until("a live picture", async () => {
      const p = (await doctor.locator(id("stage-video")).count()) && (await look(doctor, id("stage-video")));
      return p && mean(p) > 5 && p;
    });
    const first = Date.now() - from;
    const d = await until("another picture", async () => {
      const x = differ(a, await look(doctor, id("stage-video")));
      return x > 0.5 && x;
    });
    return `first picture ${first} ms after the touch, mean difference ${d.toFixed(1)}`;
  });
  await check("the specialist steers and sees the picture change", async () => {
    await doctor.locator(id("btn-lease")).first().click();
    await until("the lease", async () => !(await doctor.locator(id("axis-exposure-auto")).first().isDisabled()));
    await doctor.locator(id("axis-exposure-auto")).first().click();
    const slider = doctor.locator(id("axis-exposure")).first();
    await until("the exposure by hand", () => slider.isEnabled());
    const [low, high] = [await slider.getAttribute("min"), await slider.getAttribute("max")].map(Number);
    await slider.fill(String(Math.round(low + (high - low) / 3)));
    let bright = 0;
    await until("the brightness to settle", async () => {
      const was = bright;
      await doctor.waitForTimeout(300);
      bright = mean(await look(doctor, id("stage-video")));
      return Math.abs(bright - was) < 1;
    });
    const from = Date.now();
    await slider.fill(String(Math.round(low + (high - low) / 20)));
    const dark = await until("a darker picture", async () => {
      const m = mean(await look(doctor, id("stage-video")));
      return m < bright - 10 && m;
    });
    const ms = Date.now() - from;
    await slider.fill(String(Math.round(low + (high - low) / 4)));
    return `brightness ${bright.toFixed(0)} to ${dark.toFixed(0)} in ${ms} ms`;
  });
  await check("the nurse sees who steers and takes it back with one touch", async () => {
    await nurse.locator(id("btn-take-back-room camera")).first().click();
    await until("the console to say so", async () => await doctor.locator(id("axis-exposure")).first().isDisabled());
    await nurse.locator(id("task-call")).click();
    await nurse.locator(id("btn-give-back-room camera")).first().click();
  });
  await check("a still, a reading and a note arrive at the console", async () => {
    await nurse.locator(id("task-capture")).click();
    const before = await doctor.locator(id("btn-open-still")).count();
    await nurse.locator(id("btn-still")).first().click();
    const keep = nurse.locator(id("btn-keep"));
    await until("the still at the console", async () => (await doctor.locator(id("btn-open-still")).count()) > before);
    await shot(nurse, "bedside-taken");
    if (await keep.count()) await keep.first().click();
    await doctor.locator(id("btn-open-still")).first().click();
    await until("the still's own pixels", () =>
      doctor.evaluate((s) => {
        const img = document.querySelector(s)?.querySelector("img") ?? document.querySelector(s);
        return img?.naturalWidth > 600 && `${img.naturalWidth}x${img.naturalHeight}`;
      }, id("viewer-still")),
    );
    await shot(doctor, "console-still");
    await doctor.keyboard.press("Escape");
  });
  await instruments({ nurse, doctor, check, must, until, id, shot });
  await voices({ nurse, doctor, check, must, until, id, shot, wav: join(state, "loudspeaker.wav") });
  await faces({ nurse, doctor, check, must, until, id, shot, look, differ });
  await shot(doctor, "console");
  await check("cut: the screens say so, capture goes on, nothing is called sent", async () => {
    await nurse.locator(id("task-capture")).click();
    await tell("cut");
    await until("the link in words", async () => /no link/i.test(await text(nurse, "strip-link")));
    await nurse.locator(id("btn-still")).first().click();
    const held = await until("held", async () => /(\d+) held/i.exec(await text(nurse, "strip-held"))?.[0]);
    const a = await look(nurse, id("picture-canvas"));
    if (a) await until("the nurse's picture still moves", async () => differ(a, await look(nurse, id("picture-canvas"))) > 0.5);
    await until("the console says it is away", async () => /offline|lost|frozen/i.test(await doctor.locator("body").innerText()));
    await shot(nurse, "bedside-held");
    await shot(doctor, "console-lost");
    return held;
  });
  await check("kill: the agent comes back and goes on with the encounter, without a name until the rescan", async () => {
    const again = said.length;
    demo.stdin.write("kill\n");
    const url = await until("the agent's new address", () => said.slice(again).map((l) => l.match(/runs again: (\S+)/)?.[1]).find(Boolean));
    await nurse.goto(url);
    await until("the open encounter", async () => !/ada bell/i.test(await text(nurse, "strip-patient")) && (await nurse.locator(id("banner-restored")).count()) > 0);
    await shot(nurse, "bedside-restored");
    await scan(nurse, "MRN-1001|Ada Bell|2019-05-17", async () => (await text(nurse, "strip-patient")).includes("Ada Bell"));
  });
  await check("restore: the consult comes back by itself and everything is sent", async () => {
    const from = Date.now();
    await tell("restore");
    await until("all sent", async () => /sent/i.test(await text(nurse, "strip-held")) && !/held/i.test(await text(nurse, "strip-held")));
    const sent = Date.now() - from;
    const a = await until("a live picture", () => look(doctor, id("stage-video")));
    await until("it moves", async () => {
      const b = await look(doctor, id("stage-video"));
      return b && differ(a, b) > 0.5;
    });
    await shot(nurse, "bedside");
    await shot(doctor, "console-back");
    return `sent after ${sent} ms, picture after ${Date.now() - from} ms`;
  });
  await check("a different wristband on the cart's own scanner stops with both names", async () => {
    demo.stdin.write("scan MRN-1002|Bo Abel|2018-01-02\n");
    await until("both names", async () => {
      const t = await nurse.locator("body").innerText();
      return t.includes("Ada Bell") && t.includes("Bo Abel");
    });
    await shot(nurse, "bedside-different-wristband");
    await nurse.locator(id("btn-alert-keep")).click();
  });
  await check("frame to drawn at the bedside: p95 at most 100 ms", async () => {
    await nurse.locator(id("task-capture")).click();
    await nurse.waitForTimeout(3000);
    const m = await (await fetch(metrics)).text();
    const buckets = [...m.matchAll(/picture_seconds_bucket\{le="([\d.]+)"\} (\d+)/g)].map((x) => [Number(x[1]), Number(x[2])]);
    const total = Number(m.match(/picture_seconds_count (\d+)/)[1]);
    must(total > 30, `${total} frames drawn`);
    const p95 = buckets.find(([, n]) => n >= 0.95 * total)?.[0];
    must(p95 && p95 <= 0.1, `p95 is below ${p95} s`);
    return `${total} frames, p95 below ${p95 * 1000} ms`;
  });
  await check("no page threw an error", async () => must(broken.length === 0, broken.join("; ")));
} catch (err) {
  failed.push(err.message);
  console.log("FAIL ", err.message);
} finally {
  await browser.close();
  demo.kill("SIGINT");
}
pages.length = 0;
await check("a clinic that lets only HTTPS out: the picture comes by TURN, and moves", () => httpsOnly({ bin, freePort, must, until, id, text, scan, look, differ, mean, shot, patience }));
console.log(`${passed} passed, ${failed.length} failed`);
process.exit(failed.length ? 1 : 0);
