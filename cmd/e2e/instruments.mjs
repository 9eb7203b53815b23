// What the nurse does with the cart's instruments, and what the specialist sees of it: cuff, breaths, values by hand, light,
// ECG, stethoscope. Part of run.mjs, in a live consult. The cuff takes half a minute; what else is tried meanwhile.

/** Remembers every AudioContext of a page, and how loud what it decoded was. Runs in the page, before its own scripts. */
export function watchAudio() {
  window.heard = { contexts: [], peaks: [] };
  const Real = window.AudioContext;
  window.AudioContext = class extends Real {
    constructor(...a) {
      super(...a);
      window.heard.contexts.push(this);
    }
    async decodeAudioData(...a) {
      const b = await super.decodeAudioData(...a);
      window.heard.peaks.push(b.getChannelData(0).reduce((m, v) => Math.max(m, Math.abs(v)), 0));
      return b;
    }
  };
}

/** Is some AudioContext running, and does its time go on? */
const plays = (page) =>
  page.evaluate(async () => {
    const c = window.heard.contexts.filter((x) => x.state === "running").at(-1);
    const at = c?.currentTime;
    await new Promise((r) => setTimeout(r, 200));
    return c !== undefined && c.currentTime > at;
  });

/** How many pixels of a wave are not empty, and how high the drawing is. */
const drawing = (page, selector) =>
  page.evaluate((sel) => {
    const c = document.querySelector(`${sel} canvas`);
    if (!c) return 0;
    const { data, width, height } = c.getContext("2d").getImageData(0, 0, c.width, c.height);
    let [top, bottom] = [height, 0];
    for (let i = 3; i < data.length; i += 4) {
      if (data[i] < 64) continue;
      const y = Math.floor(i / 4 / width);
      top = Math.min(top, y);
      bottom = Math.max(bottom, y);
    }
    return Math.max(0, bottom - top);
  }, selector);

export async function instruments({ nurse, doctor, check, must, until, id, shot }) {
  const t = (x) => nurse.locator(id(x)).first();
  const press = (x) => t(x).click();
  const keys = async (...all) => {
    for (const k of all) await press(k);
  };
  const timeline = async () => (await doctor.locator(id("timeline")).innerText()).replaceAll("\n", " ");
  const arrives = (what) => until(`"${what}" in the console's timeline`, async () => (await timeline()).includes(what));
  const value = async (page, x) => page.locator(id(`vital-${x}`)).first().getAttribute("data-value");
  const measure = async (meter) => {
    await press("task-capture");
    if (await nurse.locator(id("btn-back")).count()) await press("btn-back");
    await press("btn-measure");
    await press(`meter-${meter}`);
  };
  const pressure = async () => Number(/\d+/.exec(await t("cuff-pressure").innerText())?.[0] ?? 0);

  await check("the exam light does as it is told", async () => {
    await press("task-capture");
    await press("light-light-75");
    await until("the light to say so", async () => (await t("light-light-75").getAttribute("aria-pressed")) === "true");
    await shot(nurse, "bedside-light");
  });
  await check("a cuff starts with a size alone, and shows its pressure", async () => {
    await measure("cuff");
    must(await t("btn-cuff-start").isDisabled(), "it starts without a size");
    await press("cuff-size-adult");
    await press("btn-cuff-start");
    const first = await until("some pressure", async () => (await t("cuff-pressure").count()) && (await pressure()));
    const more = await until("more pressure", async () => {
      const n = await pressure();
      return n > first + 40 && n;
    });
    await shot(nurse, "bedside-cuff");
    await press("task-instruments");
    await t("btn-cuff-stop-bar").waitFor(); // stopping it is one touch away on every screen
    await shot(nurse, "bedside-cuff-elsewhere");
    return `${first} then ${more} mmHg`;
  });
  await check("ECG: a wave and a rate on both screens, saved", async () => {
    const high = await until("a wave", async () => {
      const n = await drawing(nurse, id("wave-ecg"));
      return n > 20 && n;
    }, 20_000);
    // A busy machine reads the twin late, and the driver then learns the beats anew.
    const rate = await until("a rate", async () => Number(await value(nurse, "heart-rate")), 40_000);
    must(rate >= 60 && rate <= 85, `the twin's heart beats 72 times a minute, not ${rate}`);
    await until("the specialist to see the wave", async () => (await drawing(doctor, id("wave-ecg"))) > 5);
    await until("the specialist to see the rate", async () => Math.abs(Number(await value(doctor, "heart-rate")) - rate) < 10, 20_000);
    await press("task-capture");
    await press("btn-waveform");
    await press("drawer-ecg");
    for (let i = 0; i < 3 && !(await nurse.locator(id("saved")).count()); i++) {
      await press("btn-waveform-10");
      await until("an answer", async () => (await nurse.locator(`${id("saved")}, ${id("problem")}`).count()) > 0, 20_000);
    }
    await t("saved").waitFor();
    await arrives("Waveform, ECG, consumer device, Simulated");
    await shot(nurse, "bedside-ecg");
    return `${rate}/min, ${high} px high`;
  });
  await check("breaths are counted by touch and saved by hand", async () => {
    await measure("by-hand");
    await press("hand-respiratory-rate");
    const every = 2400;
    const from = Date.now();
    for (let i = 0; Date.now() - from < 30_500; i++) {
      await nurse.waitForTimeout(Math.max(0, from + i * every - Date.now()));
      await press("btn-tap");
    }
    await press("btn-breaths-use");
    const rate = Number(/\d+/.exec(await t("hand-respiratory-rate").innerText())[0]);
    must(Math.abs(rate - 60_000 / every) <= 2, `${rate} a minute, at a touch every ${every} ms`);
    await shot(nurse, "bedside-breaths");
    await press("btn-hand-save");
    await t("saved").waitFor();
    await arrives(`Breaths ${rate} /min, by hand`);
    return `${rate} a minute`;
  });
  await check("the cuff's result is shown whole, and saved with its place", async () => {
    await measure("cuff");
    const v = await until("the result", async () => (await nurse.locator(id("vital-blood-pressure")).count()) && /^\d+\/\d+$/.exec(await value(nurse, "blood-pressure"))?.[0], 30_000);
    await keys("side-left", "site-arm");
    await shot(nurse, "bedside-cuff-result");
    await press("btn-measure-save");
    await t("saved").waitFor();
    const [high, low] = v.split("/");
    for (const x of [`Systolic ${high} mmHg, by the cuff`, `Diastolic ${low} mmHg, by the cuff`, "Mean pressure", "Simulated, Left, Arm"]) await arrives(x);
    must((await value(doctor, "blood-pressure")) === v, "the console shows another pressure");
    must((await t("side-none").getAttribute("aria-pressed")) === "true", "the side is remembered");
    await press("task-instruments");
    await nurse.locator(`${id("vital-respiratory-rate")}[data-instrument=""]`).waitFor();
    await shot(nurse, "bedside-instruments");
    return `${v} mmHg`;
  });
  await check("a weight by hand, with the clinic's own device, reaches the console as such", async () => {
    await measure("by-hand");
    await press("hand-body-weight");
    await keys("pad-1", "pad-4", "pad-point", "pad-3", "pad-5");
    await press("btn-device");
    await keys("key-s", "key-e", "key-c", "key-a", "btn-device-done");
    await shot(nurse, "bedside-by-hand");
    await press("btn-hand-save");
    await t("saved").waitFor();
    await arrives("Weight 14.35 kg, by hand, seca");
    await until("the console's vital signs", async () => (await doctor.locator(`${id("vital-body-weight")}[data-instrument=""]`).getAttribute("data-value")) === "14.35");
    await keys("hand-pain-score", "pad-1", "pad-1", "btn-hand-save");
    await t("problem").filter({ hasText: "can't be" }).waitFor();
    await press("btn-back");
  });
  await check("the stethoscope is heard, seen, recorded and played on both screens", async () => {
    await press("btn-back");
    await press("btn-sound");
    await press("btn-listen");
    const level = await until("a level", async () => (await t("level").getAttribute("data-heard")) === "true" && (await t("level").evaluate((m) => m.value)));
    await until("a wave", async () => (await drawing(nurse, id("wave-phonogram"))) > 15);
    await until("sound that plays", () => plays(nurse));
    await press("band-bell");
    await until("a level in another mode", async () => (await t("level").getAttribute("data-heard")) === "true" && (await t("level").evaluate((m) => m.value)) > 0);
    await press("site-mitral");
    await press("btn-sound-10");
    await t("recording").waitFor();
    await until("the specialist to see the wave", async () => (await drawing(doctor, id("wave-phonogram"))) > 5);
    await shot(nurse, "bedside-sound");
    await t("saved").waitFor({ timeout: 20_000 });
    await shot(doctor, "console-waves");
    await press("btn-listen");
    await press("task-items");
    await nurse.locator(`${id("item")}[data-kind="sound"]`).first().click();
    const before = await nurse.evaluate(() => window.heard.peaks.length);
    const seen = [];
    for (const [page, open] of [[nurse, async () => {}], [doctor, () => doctor.locator(id("btn-open-sound")).first().click()]]) {
      await open();
      const box = page.locator(id("sound")).first();
      await box.waitFor();
      const seconds = Number(await box.getAttribute("data-seconds"));
      must(Math.abs(seconds - 10) < 0.5, `${seconds} s long`);
      const peak = await page.evaluate(() => window.heard.peaks.at(-1));
      must(peak > 0.01, `the loudest value is ${peak}`);
      await until("its outline", async () => (await drawing(page, id("item-wave"))) > 15);
      await page.locator(id("btn-sound-play")).first().click();
      await until("sound that plays", () => plays(page));
      must((await box.getAttribute("data-playing")) === "true", "it does not say that it plays");
      await page.locator(id("btn-sound-play")).first().click();
      seen.push(peak.toFixed(2));
    }
    must(before <= 1, "the recording was decoded twice");
    await shot(nurse, "bedside-sound-review");
    await shot(doctor, "console-sound");
    await doctor.keyboard.press("Escape");
    await press("btn-back");
    return `level ${level.toFixed(2)}, loudest ${seen.join(" and ")} of full scale`;
  });
  await check("a cuff stops at one touch", async () => {
    await measure("cuff");
    await until("the arm's pause to be over", async () => {
      if (await t("btn-cuff-stop").count()) return true;
      await press("cuff-size-adult");
      await press("btn-cuff-start");
      await nurse.waitForTimeout(300);
      return (await t("btn-cuff-stop").count()) > 0;
    }, 35_000);
    await until("some pressure", async () => (await t("cuff-pressure").count()) && (await pressure()) > 40);
    const from = Date.now();
    await press("btn-cuff-stop");
    await t("btn-cuff-start").waitFor();
    must((await value(nurse, "blood-pressure")) === "---", "a stopped measurement has a result");
    return `empty after ${Date.now() - from} ms`;
  });
  await check("nothing of the cart stands among the patient's values", async () => {
    await press("btn-back");
    await press("task-instruments");
    await until("the scale's weight", async () => /^\d+\.\d$/.test(await value(nurse, "body-weight")), 20_000);
    for (const page of [nurse, doctor]) {
      const all = await page.locator(`[data-testid^="vital-"]`).evaluateAll((els) => els.map((e) => e.dataset.testid));
      must(all.length >= 8 && !all.some((x) => /battery|supply|room/.test(x)), all.join(" "));
    }
    must(/battery/i.test(await t("strip-battery").innerText()), "the strip does not say how full the battery is");
    await shot(nurse, "bedside-values");
    await shot(doctor, "console-values");
  });
}
