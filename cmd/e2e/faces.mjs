// The specialist's own picture at the bedside: pixels, not elements.

export async function faces({ nurse, doctor, check, must, until, id, shot, look, differ }) {
  const face = "figure.face video";
  await check("the nurse sees the specialist: the picture comes, moves, and says that it is live", async () => {
    await nurse.locator(id("task-call")).click();
    await doctor.context().grantPermissions(["microphone", "camera"]);
    await doctor.locator(id("btn-cam")).click();
    const from = Date.now();
    const a = await until("a picture", async () => (await nurse.locator(face).count()) && (await look(nurse, face)), 20_000);
    const first = Date.now() - from;
    const d = await until("another picture", async () => {
      const x = differ(a, await look(nurse, face));
      return x > 0.5 && x;
    }, 20_000);
    await until("it in words", async () => (await nurse.locator("figure.face").getAttribute("data-state")) === "live");
    must(/they see you/i.test(await doctor.locator(id("voice-cam")).innerText()), await doctor.locator(id("voice-cam")).innerText());
    await shot(nurse, "bedside-face");
    await shot(doctor, "console-face");
    return `first picture after ${first} ms, mean difference ${d.toFixed(1)}`;
  });
  await check("hidden, it is gone at the bedside, and the voice stays", async () => {
    await doctor.locator(id("btn-cam")).click();
    await until("no picture", async () => (await nurse.locator(face).count()) === 0);
    await until("the voice", async () => /you hear .*okafor/i.test(await nurse.locator(id("call-bar")).innerText()));
  });
}
