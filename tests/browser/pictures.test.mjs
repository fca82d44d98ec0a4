// A fleet in which every state can be seen, and the two pictures of it that the README shows. `npm run pictures`
// puts them where the README has them; otherwise they are in the run's output alone.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { copyFileSync, mkdirSync } from "node:fs";
import { accessible, Browser, Device, PASSWORD, picture, pictures, Server } from "./world.mjs";

const kept = new URL("pictures/", import.meta.url).pathname;
let server, devices, away, browser, page;

before(async () => {
  server = await Server.start();
  devices = await Device.start(8);
  away = await Device.start(2);
  browser = await Browser.start(server);
}, { timeout: 60000 });

after(async () => {
  await browser?.close();
  await server?.close();
  await devices?.close();
  await away?.close();
}, { timeout: 60000 });

const two = (n) => String(n).padStart(2, "0");

function weekly(n, name, days, from, to) {
  // In Kyiv, from Monday 5 January 2026 on.
  const monday = 1767564000;
  return {
    link_id: `91c615e3-1040-4815-8ecb-${String(n).padStart(12, "0")}`,
    name,
    time_options: { is_all_day: false, date_from: monday + from * 3600, date_to: monday + to * 3600 },
    repeat_options: { repeat_enable: true, repeat_format: { repeat_type: "custom", repeat_end: { format: "never" }, repeat_custom: { repeat_point_type: "week", repeat_looper: 1, repeat_options: days } } },
  };
}

const workdays = ["MON", "TUE", "WED", "THU", "FRI"];
const profiles = [
  weekly(1, "Work week", workdays, 9, 18),
  weekly(2, "Cleaning", ["TUE", "THU", "SAT"], 6, 8.5),
  weekly(3, "Night shift", ["FRI", "SAT"], 22, 30),
];

test("a fleet shows every state by a mark of its own", async () => {
  const panel = (site, floor) => (id) => ({ id, zone: "Europe/Kyiv", labels: { site, floor: String(floor(id)) } });
  const floor = (id) => 1 + (Number(id.split("-")[1]) - 1) % 4;
  const names = (site, from, to) => Array.from({ length: to - from + 1 }, (_, n) => `${site}-${two(from + n)}`);
  const embedded = [
    ...names("north", 1, 14).map(panel("north", floor)),
    ...names("harbour", 1, 9).map(panel("harbour", floor)),
    ...names("west", 1, 11).map(panel("west", floor)),
  ];
  await server.fleet("POST", "/panels:import", embedded.map((one) => JSON.stringify(one)).join("\n"), "application/x-ndjson");
  const device = (id, url) => server.fleet("POST", "/panels", { id, driver: "http", url, username: "admin", password: "123456", zone: "Europe/Kyiv", labels: { site: "south", floor: String(floor(id)) } });
  for (const n of [1, 2, 3, 4, 5, 6, 7, 8]) await device(`south-${two(n)}`, devices.url(n));
  for (const n of [1, 2]) await device(`south-${two(8 + n)}`, away.url(n));
  const push = (body) => server.fleet("POST", "/batches", body);
  await push({ all: true, upsert: profiles });

  await devices.remove(3, [profiles[1].link_id]); // somebody edits a device by hand
  await server.fleet("GET", "/diff?selector=id%3Dsouth-03");
  await devices.throw("capacity", { panels: ["sim-0005"], capacity: 3 }); // another is full
  await push({ panels: ["south-05"], upsert: [weekly(4, "Post", workdays, 7, 8)] });
  await away.kill(); // two are cut off while something is pushed
  const gym = weekly(5, "Gym", ["MON"], 17, 22);
  await server.fleet("POST", "/batches", { panels: ["south-09", "south-10"], upsert: [gym] }, "application/json", "wait=0");

  page = await browser.logIn("admin", PASSWORD, { viewport: { width: 1240, height: 860 }, deviceScaleFactor: 1.5 });
  const count = (word) => page.locator(`.counts .${word} b`);
  await count("offline").getByText("2", { exact: true }).waitFor({ timeout: 30000 });
  await devices.throw("faults", { panels: ["sim-0007"], faults: { hang: 100 } }); // one takes its time
  await server.fleet("POST", "/batches", { panels: ["south-07"], upsert: [gym] }, "application/json", "wait=0");
  await count("pending").getByText("3", { exact: true }).waitFor();
  for (const [word, n] of [["drifted", "1"], ["attention", "1"]]) await count(word).getByText(n, { exact: true }).waitFor();
  const marks = {};
  for (const word of ["offline", "attention", "drifted", "pending"]) {
    marks[word] = await page.locator(`#tiles .${word}`).first().evaluate((tile) => getComputedStyle(tile, "::before").content);
  }
  marks.online = await page.locator("#tiles a:not([class])").first().evaluate((tile) => getComputedStyle(tile, "::before").content);
  assert.equal(new Set(Object.values(marks)).size, 5, `marks are told apart without colour: ${JSON.stringify(marks)}`);
  await accessible(page, "the fleet in every state");
  await picture(page, "fleet");
  browser.quiet();
});

test("a panel's week shows what overlaps and what runs over midnight", async () => {
  await page.goto("/panel/north-01?week=2026-11-23");
  const blocks = (lane) => page.locator(`svg.week .lane${lane} rect`).count();
  assert.deepEqual([await blocks(0), await blocks(1), await blocks(2)], [5, 3, 4], "a night has a block on each of its days");
  await picture(page, "calendar", { fullPage: true });
  if (process.env.KEEP_PICTURES) {
    mkdirSync(kept, { recursive: true });
    for (const name of ["fleet.png", "calendar.png"]) copyFileSync(pictures + name, kept + name);
  }
  browser.quiet();
});
