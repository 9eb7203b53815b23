// Both voices, measured: the twin microphone's tones in the specialist's page, and the tone of the specialist's (fake) microphone in
// what the twin loudspeaker played. Levels, not elements.
import { readFileSync, writeFileSync } from "node:fs";

const rate = 48000;
const doctorHz = 1600;

/** A file for --use-file-for-fake-audio-capture: bursts, since a tone that goes on is noise to the browser and is taken away. */
export function fakeMicrophone(path) {
  const n = 5 * rate;
  const b = Buffer.alloc(44 + 2 * n);
  b.write("RIFF", 0);
  b.writeUInt32LE(36 + 2 * n, 4);
  b.write("WAVEfmt ", 8);
  b.writeUInt32LE(16, 16);
  b.writeUInt16LE(1, 20);
  b.writeUInt16LE(1, 22);
  b.writeUInt32LE(rate, 24);
  b.writeUInt32LE(2 * rate, 28);
  b.writeUInt16LE(2, 32);
  b.writeUInt16LE(16, 34);
  b.write("data", 36);
  b.writeUInt32LE(2 * n, 40);
  for (let i = 0; i < n; i++) {
    const at = (i / rate) % 0.5;
    const loud = at < 0.25 ? 12000 * Math.min(1, at / 0.01, (0.25 - at) / 0.01) : 0;
    b.writeInt16LE(Math.round(loud * Math.sin((2 * Math.PI * doctorHz * i) / rate)), 44 + 2 * i);
  }
  writeFileSync(path, b);
  return path;
}

/** How loud a tone is in the last second and a half of a recording: its loudest 100 ms. */
function loudness(path, hz) {
  let b;
  try {
    b = readFileSync(path).subarray(44);
  } catch {
    return 0;
  }
  const all = new Int16Array(b.buffer.slice(b.byteOffset, b.byteOffset + (b.length & ~1)));
  const x = all.subarray(Math.max(0, all.length - 1.5 * rate));
  const w = 2 * Math.cos((2 * Math.PI * hz) / rate);
  let most = 0;
  for (let from = 0; from + 4800 <= x.length; from += 2400) {
    let [s, t] = [0, 0];
    for (const v of x.subarray(from, from + 4800)) [s, t] = [v + w * s - t, s];
    most = Math.max(most, (2 * Math.sqrt(Math.max(0, s * s + t * t - w * s * t))) / 4800);
  }
  return most;
}

/** The loudest of the twin's tones that an audio element plays within some time, in decibels, and in how many tones it speaks. */
const listen = (page, selector, ms) =>
  page.evaluate(
    async ([sel, ms]) => {
      const from = document.querySelector(sel)?.srcObject;
      if (!from) return { db: -200, tones: 0 };
      window.ear ??= new AudioContext();
      await window.ear.resume();
      const source = window.ear.createMediaStreamSource(from);
      const a = window.ear.createAnalyser();
      a.fftSize = 8192;
      a.smoothingTimeConstant = 0;
      source.connect(a);
      const bins = new Float32Array(a.frequencyBinCount);
      const most = new Array(8).fill(-200);
      for (const end = performance.now() + ms; performance.now() < end; ) {
        await new Promise((r) => setTimeout(r, 50));
        a.getFloatFrequencyData(bins);
        for (let k = 0; k < 8; k++) {
          const bin = Math.round(((500 + 100 * k) * a.fftSize) / window.ear.sampleRate);
          most[k] = Math.max(most[k], bins[bin]);
        }
      }
      source.disconnect();
      return { db: Math.max(...most), tones: most.filter((x) => x > -45).length };
    },
    [selector, ms],
  );

export async function voices({ nurse, doctor, check, must, until, id, shot, wav }) {
  const text = (page, x) => page.locator(id(x)).first().innerText();
  const cart = id("sound-voice");
  await check("the specialist hears the cart: the twin's tones, in the page", async () => {
    await doctor.locator(cart).waitFor({ state: "attached" });
    const heard = await until("six of eight tones", async () => {
      const x = await listen(doctor, cart, 5500);
      return x.tones >= 6 && x;
    }, 30_000);
    await until("it in words", async () => /you hear the cart/i.test(await text(doctor, "voice-cart")));
    await until("the nurse's words", async () => /they can hear you/i.test(await text(nurse, "call-bar")));
    return `${heard.tones} of 8 tones, ${heard.db.toFixed(0)} dB`;
  });
  await check("a refused microphone is said in words", async () => {
    await doctor.locator(id("btn-mic")).click();
    await until("the refusal", async () => /keeps the microphone/i.test(await text(doctor, "voice-mic")));
    must(!/you hear/i.test(await text(nurse, "call-bar")), "somebody is named who can't be heard");
  });
  await check("the nurse hears the specialist: the tone of the browser's microphone, at the loudspeaker", async () => {
    await doctor.context().grantPermissions(["microphone"]);
    await doctor.locator(id("btn-mic")).click();
    const from = Date.now();
    const loud = await until("the tone", async () => {
      const x = loudness(wav, doctorHz);
      return x > 1000 && x;
    }, 20_000);
    const ms = Date.now() - from;
    await until("the name at the bedside", async () => /you hear .*okafor/i.test(await text(nurse, "call-bar")));
    must(/they hear you/i.test(await text(doctor, "voice-mic")), await text(doctor, "voice-mic"));
    await shot(nurse, "bedside-voices");
    await shot(doctor, "console-voices");
    return `level ${loud.toFixed(0)} of 32767 after ${ms} ms; beside it ${loudness(wav, 1350).toFixed(0)}`;
  });
  await check("muted at the console: silence at the loudspeaker, and no name at the bedside", async () => {
    await doctor.locator(id("btn-mic")).click();
    await until("silence", async () => loudness(wav, doctorHz) < 60);
    must(/muted/i.test(await text(doctor, "voice-mic")), await text(doctor, "voice-mic"));
    await until("no name", async () => !/you hear/i.test(await text(nurse, "call-bar")));
    await doctor.locator(id("btn-mic")).click();
    await until("the tone again", async () => loudness(wav, doctorHz) > 1000);
  });
  await check("muted at the bedside: silence in the page, and both screens say so", async () => {
    await nurse.locator(id("btn-mute")).click();
    await until("the nurse's words", async () => /can't hear you/i.test(await text(nurse, "call-bar")));
    await until("the console's", async () => /microphone is off/i.test(await text(doctor, "voice-cart")));
    const quiet = await until("silence", async () => {
      const x = await listen(doctor, cart, 1500);
      return x.db < -80 && x;
    }, 20_000);
    must(loudness(wav, doctorHz) > 1000, "the specialist went silent too");
    await nurse.locator(id("btn-mute")).click();
    const again = await until("the tones again", async () => {
      const x = await listen(doctor, cart, 1500);
      return x.tones > 0 && x;
    }, 20_000);
    return `${quiet.db.toFixed(0)} dB, then ${again.db.toFixed(0)} dB`;
  });
  await check("pause ends both voices, and Continue brings them back", async () => {
    await nurse.locator(id("btn-pause")).click();
    await until("no sound in the page", async () => (await doctor.locator(cart).count()) === 0);
    await nurse.locator(id("btn-resume")).first().click();
    await until("the tones again", async () => (await listen(doctor, cart, 1500)).tones > 0, 20_000);
    await until("the specialist's tone again", async () => loudness(wav, doctorHz) > 1000, 20_000);
  });
}
