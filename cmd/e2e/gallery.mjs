// Makes a screenshot of every view in every state, at each screen's size, into out/screens. It also measures: no text is
// cut off, nothing lies outside the page, every target is big enough and far enough from the next.
//
//   npm run screens            all of them
//   node e2e/gallery.mjs call  those whose name contains "call"

import { createServer } from "node:http";
import { mkdir, readFile, rm } from "node:fs/promises";
import { dirname, extname, join, normalize, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";

const top = resolve(dirname(fileURLToPath(import.meta.url)), "../..");
const built = join(top, "out/gallery");
const shots = join(top, "out/screens");
const only = process.argv[2] ?? "";
const types = { ".html": "text/html", ".js": "text/javascript", ".css": "text/css" };

const apps = [
  { name: "bedside", width: 1280, height: 800, target: 70, apart: 18 },
  { name: "console", width: 1366, height: 768, target: 28, apart: 0 },
];
// Other looks are checked on these scenes alone; the rest differ only in words.
const looks = [
  { suffix: "", query: "" },
  { suffix: ".dark", query: "?theme=dark", match: /live|list|ready|stop|frozen/ },
  { suffix: ".fr", query: "?lang=fr", match: /live|list|ready|stop|note|nobody|restored|fleet|signin|claim|disk/ },
  { suffix: ".rtl", query: "?lang=pseudo&dir=rtl", match: /live|list|ready|stop|type|fleet/ },
];

const server = createServer(async (req, res) => {
  const path = normalize(new URL(req.url, "http://x").pathname);
  try {
    const body = await readFile(join(built, path));
    res.writeHead(200, { "content-type": types[extname(path)] ?? "application/octet-stream" }).end(body);
  } catch {
    res.writeHead(404).end();
  }
});
await new Promise((done) => server.listen(0, "127.0.0.1", done));
const base = `http://127.0.0.1:${server.address().port}`;

/** Runs in the page: what is wrong with the layout. */
function faults({ target, apart }) {
  const bad = [];
  const seen = (el) => el.getClientRects().length > 0 && getComputedStyle(el).visibility !== "hidden";
  const name = (el) => el.dataset.testid ?? `${el.tagName.toLowerCase()}.${el.className}`;
  const root = document.scrollingElement;
  if (root.scrollWidth > innerWidth || root.scrollHeight > innerHeight) bad.push(`page is ${root.scrollWidth}x${root.scrollHeight}`);
  const targets = [...document.querySelectorAll("button, input:not([type=range]):not([type=checkbox]), textarea")].filter(seen);
  const boxes = targets.map((el) => ({ el, r: el.getBoundingClientRect() }));
  for (const { el, r } of boxes) {
    if (r.height < target - 0.5 || r.width < target - 0.5) bad.push(`${name(el)} is ${Math.round(r.width)}x${Math.round(r.height)}`);
    if (el.scrollWidth > el.clientWidth + 1 && el.tagName === "BUTTON") bad.push(`text of ${name(el)} is cut off`);
    const scroller = el.closest(".scroll");
    if (!scroller && (r.left < -1 || r.top < -1 || r.right > innerWidth + 1 || r.bottom > innerHeight + 1)) bad.push(`${name(el)} lies outside`);
  }
  for (const el of document.querySelectorAll(".strip .cell")) {
    if (seen(el) && el.scrollHeight > el.clientHeight + 1) bad.push(`"${el.innerText.replace(/\s+/g, " ")}" in the strip is cut off`);
  }
  for (let i = 0; i < boxes.length; i++) {
    for (let j = i + 1; j < boxes.length; j++) {
      const a = boxes[i].r;
      const b = boxes[j].r;
      const dx = Math.max(a.left - b.right, b.left - a.right);
      const dy = Math.max(a.top - b.bottom, b.top - a.bottom);
      const clip = boxes[i].el.closest(".scroll") !== boxes[j].el.closest(".scroll");
      if (!clip && Math.max(dx, dy) < apart - 0.5) bad.push(`${name(boxes[i].el)} and ${name(boxes[j].el)} are ${Math.round(Math.max(dx, dy))} apart`);
    }
  }
  for (const el of document.querySelectorAll(".scroll, .side:not(.scroller)")) {
    if (seen(el) && el.scrollWidth > el.clientWidth + 4) bad.push(`${name(el)} scrolls sideways`);
  }
  const strip = document.querySelector("[data-testid=strip]");
  for (const part of [strip, ...document.querySelectorAll("[data-testid=picture-canvas], [data-testid=stage-video]")]) {
    if (!part || !seen(part)) continue;
    const r = part.getBoundingClientRect();
    const over = document.elementFromPoint(r.left + r.width / 2, r.top + r.height / 2);
    if (over && !part.contains(over) && !over.contains(part)) bad.push(`${name(over)} covers ${name(part)}`);
  }
  return bad;
}

await mkdir(shots, { recursive: true });
const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  args: ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-first-run"],
});
let wrong = 0;
let count = 0;
try {
  for (const app of apps) {
    for (const look of looks) {
      const page = await browser.newPage({ viewport: { width: app.width, height: app.height }, reducedMotion: "reduce" });
      page.on("pageerror", (e) => {
        wrong++;
        console.log(`${app.name}${look.suffix}: ${e.message}`);
      });
      await page.goto(`${base}/${app.name}/gallery.html${look.query}`);
      const scenes = (await page.evaluate(() => document.documentElement.dataset.scenes ?? "")).split(" ").filter(Boolean);
      for (const scene of scenes.filter((s) => s.includes(only) && (!look.match || look.match.test(s)))) {
        await page.evaluate((s) => (location.hash = s), scene);
        await page.waitForFunction((s) => document.documentElement.dataset.ready === s, scene);
        await page.waitForTimeout(scene.includes("frozen") || scene.includes("page-lost") ? 2600 : 350);
        const file = join(shots, `${app.name}-${scene}${look.suffix}.png`);
        await rm(file, { force: true });
        await page.screenshot({ path: file });
        count++;
        for (const f of await page.evaluate(faults, { target: app.target, apart: app.apart })) {
          wrong++;
          console.log(`${app.name}-${scene}${look.suffix}: ${f}`);
        }
      }
      await page.close();
    }
  }
} finally {
  await browser.close();
  server.close();
}
console.log(`${count} screenshots in out/screens, ${wrong} faults`);
process.exit(wrong > 0 ? 1 : 0);
