// A clinic that lets only HTTPS out, and a hub without UDP: both sides' media goes by TURN over TLS, the cart's through a
// CONNECT proxy, the specialist's from Chromium. The picture comes and moves.
import { chromium } from "playwright-core";
import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { join } from "node:path";

export async function httpsOnly({ bin, freePort, must, until, id, text, scan, look, differ, mean, shot, patience }) {
  const [bedside, people] = [await freePort(), await freePort()];
  const demo = spawn(join(bin, "telecart"), ["demo", "--https-only", "--bedside", `127.0.0.1:${bedside}`, "--console", `127.0.0.1:${people}`], { stdio: ["pipe", "pipe", "inherit"] });
  const said = [];
  createInterface({ input: demo.stdout }).on("line", (l) => said.push(l));
  const heard = (pattern) => until(`the demo to say ${pattern}`, () => said.map((l) => l.match(pattern)).find(Boolean), 60_000);
  // turn.NAME leads to this machine. The demo's certificate is of the hub's own root, which no browser has.
  const browser = await chromium.launch({
    executablePath: "/usr/bin/chromium",
    args: ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-first-run", "--autoplay-policy=no-user-gesture-required",
      "--host-resolver-rules=MAP turn.hub.demo 127.0.0.1", "--ignore-certificate-errors"],
  });
  try {
    const [, page] = await heard(/the nurse's cart\s+(\S+)/);
    const [, password] = await heard(/ with (demo-\S+)/);
    const [, metrics] = await heard(/figures.*, http:\/\/(\S+)\/metrics \(hub\)/);
    const nurse = await (await browser.newContext({ viewport: { width: 1280, height: 800 } })).newPage();
    const doctor = await (await browser.newContext({ viewport: { width: 1366, height: 768 } })).newPage();
    for (const p of [nurse, doctor]) p.setDefaultTimeout(patience);
    await nurse.goto(page);
    await until("the cart's state", async () => /link is up/i.test(await text(nurse, "strip-link")));
    await scan(nurse, "MRN-1001|Ada Bell|2019-05-17", async () => (await text(nurse, "strip-patient")).includes("Ada Bell"));
    await doctor.goto(`http://127.0.0.1:${people}/`);
    await doctor.locator(id("signin-name")).fill("dr-okafor");
    await doctor.locator(id("signin-password")).fill(password);
    await doctor.locator(id("btn-signin")).click();
    await doctor.locator(id("select-cart-1")).click();
    await doctor.locator(id("btn-offer")).first().click();
    await nurse.locator(id("btn-accept")).first().click();
    const from = Date.now();
    const seen = async () => {
      const p = (await doctor.locator(id("stage-video")).count()) && (await look(doctor, id("stage-video")));
      return p && mean(p) > 5 && p;
    };
    const a = await until("a live picture", seen, 2 * patience);
    const first = Date.now() - from;
    const d = await until("another picture", async () => {
      const b = await seen();
      const x = b && differ(a, b);
      return x > 0.5 && x;
    });
    await shot(doctor, "console-https-only");
    const m = await (await fetch(`http://${metrics}/metrics`)).text();
    const n = (name) => Number(m.match(new RegExp(`^telecart_hub_turn_${name} ([\\d.e+]+)`, "m"))?.[1]);
    must(n("allocations") >= 2 && n('bytes_total{to="room"}') > 10_000 && n('bytes_total{to="client"}') > 10_000, `the hub's TURN server says ${m.match(/telecart_hub_turn\S+ \d+/g)?.join(", ")}`);
    return `first picture ${first} ms after the touch, mean difference ${d.toFixed(1)}, ${n("allocations")} allocations`;
  } finally {
    await browser.close();
    demo.kill("SIGINT");
    await new Promise((done) => (demo.exitCode === null ? demo.on("exit", done) : done()));
  }
}
