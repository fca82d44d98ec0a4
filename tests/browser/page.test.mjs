// The page in a real browser, from the login to a device that is put right. The tests build on one another, as the
// days of an operator do.
import assert from "node:assert/strict";
import { after, afterEach, before, test } from "node:test";
import { accessible, Browser, Demo, Device, PASSWORD, picture, Server } from "./world.mjs";

let server, devices, gate, browser, page;

before(async () => {
  server = await Server.start();
  devices = await Device.start(3);
  gate = await Device.start(1);
  browser = await Browser.start(server);
}, { timeout: 60000 });

after(async () => {
  await browser?.close();
  await server?.close();
  await devices?.close();
  await gate?.close();
}, { timeout: 60000 });

afterEach(() => browser.quiet());

const main = () => page.getByRole("main");
const state = (word) => page.locator(`.counts .${word} b`);

async function addPanel({ id, labels, zone = "Europe/Kyiv", url, password = "123456", capacity = "" }) {
  await page.goto("/add");
  await page.getByLabel("Id", { exact: true }).fill(id);
  await page.getByLabel("Zone").fill(zone);
  await page.getByLabel("Labels").fill(labels);
  await page.getByLabel("Capacity", { exact: true }).fill(capacity);
  if (url) {
    await page.getByLabel("A device somewhere else").check();
    await page.getByLabel("Address").fill(url);
    await page.getByLabel("Account").fill("admin");
    await page.getByLabel("Password").fill(password);
  }
  await page.getByRole("button", { name: "Add" }).click();
}

/** From the profile's form, or a page of it, to the end of the batch. */
async function push(choose) {
  await choose();
  await page.getByRole("button", { name: "Dry run", exact: true }).click();
  await page.locator("#send").click();
  await page.waitForURL("**/batches/*");
}

test("from the demo to a profile on a site in seven steps", async () => {
  const demo = await Demo.start();
  const began = Date.now();
  const visitor = await browser.page({ baseURL: demo.url });
  await visitor.goto("/");
  await visitor.getByLabel("User").fill("admin");
  await visitor.getByLabel("Password").fill(demo.password);
  await visitor.getByRole("button", { name: "Log in" }).click();
  await visitor.getByRole("link", { name: "New profile" }).click();
  await visitor.getByLabel("Name").fill("Gym");
  await visitor.getByRole("button", { name: "Choose panels" }).click();
  await visitor.getByRole("button", { name: "site=north" }).click();
  await visitor.getByRole("button", { name: "Dry run" }).click();
  await visitor.getByRole("button", { name: "Push to 3 panels" }).click();
  await visitor.locator('[data-batch="done"]').waitFor();
  await visitor.getByText("3 of 3 panels").waitFor();
  console.log(`from the demo's page to a profile on a site: ${Date.now() - began} ms of a machine's time`);
  await visitor.context().close();
  await demo.close();
  browser.complaints = browser.complaints.filter((said) => !said.includes(demo.url)); // another server than the usual
});

test("a wrong password is refused, the right one opens a session that script cannot reach", async () => {
  page = await browser.page();
  await page.goto("/batches?state=done");
  assert.match(page.url(), /\/login\?to=/);
  await accessible(page, "the login");
  await page.getByLabel("User").fill("admin");
  await page.getByLabel("Password").fill("wrong");
  await page.getByRole("button", { name: "Log in" }).click();
  await page.getByRole("alert").getByText("The user name or the password is wrong").waitFor();
  await page.getByLabel("Password").fill(PASSWORD);
  await page.getByRole("button", { name: "Log in" }).click();
  await page.waitForURL("**/batches?state=done");
  const [cookie] = await page.context().cookies();
  assert.deepEqual([cookie.httpOnly, cookie.sameSite, cookie.secure], [true, "Strict", false]);
  assert.equal(await page.evaluate(() => document.cookie), "");
});

test("panels are added, and what is wrong with one stands at its field", async () => {
  await page.goto("/");
  await main().getByText("There is no panel yet").waitFor();
  await addPanel({ id: "bad id", labels: "north", zone: "Europe/Atlantis" });
  await page.getByText("and north is not").waitFor();
  await addPanel({ id: "bad id", labels: "site=north", zone: "Europe/Atlantis" });
  assert.equal(await page.getByLabel("Id", { exact: true }).getAttribute("aria-invalid"), "true");
  assert.equal(await page.getByLabel("Zone").getAttribute("aria-invalid"), "true");
  await addPanel({ id: "south-01", labels: "site=south", url: devices.url(1), password: "guess" });
  await page.getByText("refuses the user name or the password").waitFor();
  await accessible(page, "a panel's form with errors");
  for (const n of [1, 2, 3]) await addPanel({ id: `north-0${n}`, labels: "site=north" });
  await page.waitForURL("**/panel/north-03");
  for (const n of [1, 2, 3]) {
    await addPanel({ id: `south-0${n}`, labels: "site=south", zone: "Europe/Lisbon", url: devices.url(n) });
    await page.waitForURL(`**/panel/south-0${n}`);
  }
  await addPanel({ id: "gate", labels: "site=south", zone: "Europe/Lisbon", url: gate.url() });
  await page.waitForURL("**/panel/gate");
  await addPanel({ id: "small", labels: "site=harbour", capacity: "1" });
  await page.goto("/");
  await state("online").getByText("8", { exact: true }).waitFor();
  await accessible(page, "the fleet");
});

test("a profile is built, with its sentence and its week as one types, and every error at its field", async () => {
  await page.getByRole("link", { name: "New profile" }).click();
  const preview = page.locator("#preview");
  await page.getByLabel("Name").fill("Gym");
  await preview.getByText("Monday to Friday, 09:00–18:00").waitFor();
  for (const day of ["Mon", "Tue", "Wed", "Thu", "Fri"]) await page.getByLabel(day, { exact: true }).uncheck();
  await page.getByText("Expected: at least one of MON to SUN").first().waitFor();
  await page.getByLabel("Sat", { exact: true }).check();
  await page.getByLabel("Sun", { exact: true }).check();
  await page.getByLabel("at").first().fill("07:30");
  await preview.getByText("Saturday and Sunday, 07:30–18:00").waitFor();
  await page.getByLabel("at").nth(1).fill("06:00");
  await page.getByText("The first window ends before it begins").first().waitFor();
  assert.equal(await page.getByLabel("at").nth(1).getAttribute("aria-invalid"), "true");
  await page.getByLabel("at").nth(1).fill("22:00");
  await preview.getByText("07:30–22:00").first().waitFor();
  assert.equal(await preview.locator("svg .lane0 rect").count(), 2, "Saturday and Sunday are drawn");
  const week = await preview.locator(".weeks b").textContent();
  await preview.getByRole("button", { name: "Next" }).click();
  await page.waitForFunction((before) => document.querySelector("#preview .weeks b").textContent !== before, week);
  await page.getByLabel("Name").fill("");
  await page.getByText("A name of 1 to 100 characters is expected").waitFor();
  await page.getByRole("button", { name: "Choose panels" }).click();
  await page.getByRole("alert").getByText("1 field to put right").waitFor();
  await accessible(page, "the profile's form with an error");
  await page.getByLabel("Name").fill("Gym");
});

test("every kind of repetition can be said", async () => {
  const preview = page.locator("#preview .sentence");
  const says = (text) => preview.filter({ hasText: text }).waitFor();
  const repeats = page.getByLabel("Repeats");
  for (const [kind, text] of [["none", /^Once/], ["day", /^Every day/], ["week", /^Every \w+day/], ["twoWeeks", /^Every second/], ["month", /of every month/], ["year", /^Every year/]]) {
    await repeats.selectOption(kind);
    await says(text);
  }
  await page.getByLabel("Ends").selectOption("date");
  await page.getByText("The last day is expected").first().waitFor();
  await page.getByLabel("Last day").fill("2999-12-31");
  await says("until 31 Dec 2999");
  await page.getByLabel("Ends").selectOption("never");
  await repeats.selectOption("custom");
  const period = page.getByLabel("Period");
  await period.selectOption("day");
  await page.getByLabel("Every", { exact: true }).fill("5");
  await says(/every 5th day/i);
  await page.getByLabel("Every", { exact: true }).fill("0");
  await page.getByText("Expected: a whole number from 1 to 1000").first().waitFor();
  await page.getByLabel("Every", { exact: true }).fill("1");
  await period.selectOption("month");
  await page.getByRole("group", { name: "Days of the month" }).getByLabel("15", { exact: true }).check();
  await says("On day 15 of every month");
  await page.getByLabel("On the n-th day of a kind").first().check();
  await page.locator("[name=order]").selectOption("last");
  await page.locator("[name=day_type]").selectOption("FRI");
  await says("The last Friday of every month");
  await period.selectOption("year");
  await page.getByLabel("Feb").check();
  await says(/February/);
  await period.selectOption("week");
  await says("Saturday and Sunday, 07:30–22:00");
  await page.getByLabel("Whole days").check();
  await says("Saturday and Sunday, all day");
  await page.getByLabel("Whole days").uncheck();
});

test("it is pushed to a site after a dry run, and watched until it is done", async () => {
  await page.getByRole("button", { name: "Choose panels" }).click();
  await main().getByText("Gym").first().waitFor();
  await accessible(page, "the push");
  await page.getByRole("button", { name: "Dry run" }).click();
  await page.getByText("say which panels").waitFor();
  await page.getByRole("button", { name: "site=south" }).click();
  await page.getByRole("button", { name: "Dry run", exact: true }).click();
  const plan = page.locator("#plan");
  await plan.getByText("4 panels: 4 created").waitFor();
  await plan.getByText("Europe/Lisbon, 4 panels").waitFor();
  await accessible(page, "the dry run");
  await picture(page, "dry-run");
  await page.getByRole("button", { name: "Push to 4 panels" }).click();
  await page.waitForURL("**/batches/*");
  await page.locator('[data-batch="done"]').waitFor();
  await main().getByText("4 of 4 panels").waitFor();
  await accessible(page, "a batch");
  await picture(page, "batch");
});

test("a panel shows its week, and the one after", async () => {
  await page.goto("/panel/south-01");
  await main().getByText(/shut now|open now/).first().waitFor();
  assert.equal(await page.locator("svg.week .lane0 rect").count(), 2);
  const week = page.locator(".weeks b");
  const before = await week.textContent();
  await page.getByRole("link", { name: "Next →" }).click();
  assert.notEqual(await week.textContent(), before);
  await page.getByText("The week as a list").click();
  assert.equal(await page.locator("details[open] tbody tr").count(), 2);
  await page.getByRole("region", { name: "Profiles" }).getByText("applied").waitFor();
  await accessible(page, "a panel");
});

test("a device that dies is seen to go offline without a new load, with what waits for it, and to come back", async () => {
  await page.goto("/");
  await state("offline").getByText("0", { exact: true }).waitFor();
  await gate.kill();
  await page.locator("#tiles a.offline", { hasText: "gate" }).waitFor();
  await state("offline").getByText("1", { exact: true }).waitFor();
  await page.locator('[data-group="south"] h2', { hasText: "1 offline" }).waitFor();
  await accessible(page, "the fleet with a panel offline");
  await page.locator("#tiles a.offline").click();
  await page.locator("h1", { hasText: "offline" }).waitFor();
  await page.getByRole("link", { name: "Push to it" }).click();
  await page.locator("#items").fill(JSON.stringify([{ link_id: "91c615e3-1040-4815-8ecb-000000000001", name: "Late", time_options: { is_all_day: true, date_from: 1800000000, date_to: 1800000000 }, repeat_options: { repeat_enable: false } }]));
  await push(async () => {});
  await main().getByText("pending").first().waitFor();
  await picture(page, "pending");
  const waiting = page.url();
  const watching = await page.context().newPage();
  await watching.goto("/panel/gate");
  await watching.locator("h1", { hasText: "offline" }).waitFor();
  await watching.locator(".lanes .unsure").first().waitFor();
  await accessible(watching, "a panel with what is not confirmed");
  await gate.run();
  await watching.locator("h1", { hasText: "online" }).waitFor();
  await watching.close();
  await page.locator('[data-batch="done"]').waitFor({ timeout: 60000 });
  assert.equal(page.url(), waiting);
  await page.goto("/panel/gate");
  const history = page.getByRole("region", { name: "Connection" });
  await history.getByText("offline").waitFor();
  assert.ok((await history.locator("tbody tr").count()) >= 3, "it was there, went, and came back");
});

test("a view of what is offline follows too, and panels that come are there without a new load", async () => {
  await page.goto("/?state=offline");
  await main().getByText("No panel is picked by this").waitFor();
  await page.getByRole("textbox", { name: "Selector" }).fill("half a selec");
  await gate.kill();
  await page.locator("#tiles a.offline", { hasText: "gate" }).waitFor();
  await gate.run();
  await main().getByText("No panel is picked by this").waitFor();
  assert.equal(await page.getByRole("textbox", { name: "Selector" }).inputValue(), "half a selec", "what is being typed stays");
  await page.goto("/");
  await page.locator("[data-count=panels]", { hasText: "8" }).waitFor();
  await server.fleet("POST", "/panels", { id: "new", labels: { site: "harbour" } });
  await page.locator("#tiles a", { hasText: "new" }).waitFor();
  await page.locator("[data-count=panels]", { hasText: "9" }).waitFor();
  await server.fleet("DELETE", "/panels/new");
  await page.locator("[data-count=panels]", { hasText: "8" }).waitFor();
});

test("an open page goes on by itself when the server was killed and is there again", async () => {
  await page.goto("/");
  await page.locator("[data-count=panels]", { hasText: "8" }).waitFor();
  await server.kill();
  await server.run();
  await gate.kill();
  await page.locator("#tiles a.offline", { hasText: "gate" }).waitFor({ timeout: 30000 });
  await gate.run();
  await state("offline").getByText("0", { exact: true }).waitFor();
  browser.complaints = browser.complaints.filter((said) => !/ERR_(CONNECTION|EMPTY|INCOMPLETE)/.test(said));
});

test("a device that was edited by hand is compared and put right", async () => {
  const { items } = await server.fleet("GET", "/panels/south-02/profiles");
  // One that is left says that the device was edited; one that has lost all would get everything again by itself.
  const left = { link_id: "91c615e3-1040-4815-8ecb-000000000209", name: "Left", time_options: { is_all_day: true, date_from: 1767225600, date_to: 1767225600 }, repeat_options: { repeat_enable: false } };
  await server.fleet("POST", "/batches", { panels: ["south-02"], upsert: [left] });
  await devices.remove(2, items.map((profile) => profile.link_id));
  await page.goto("/panel/south-02");
  await page.getByRole("link", { name: "Compare with the device" }).click();
  await page.locator('#differences[data-state="differs"]').waitFor();
  await main().getByText("missing").waitFor();
  await accessible(page, "a comparison");
  await page.getByRole("button", { name: "Reconcile" }).click();
  await page.locator('#differences[data-state="repaired"]').waitFor();
  await page.getByRole("link", { name: "Back to south-02" }).click();
  await page.getByRole("link", { name: "Compare with the device" }).click();
  await page.locator('#differences[data-state="same"]').waitFor();
  await server.fleet("POST", "/batches", { panels: ["south-02"], delete: [left.link_id] });
});

test("a file is imported, what a panel refuses is told with why, and those are tried again", async () => {
  await page.goto("/profiles");
  await page.getByRole("link", { name: "Import a file" }).click();
  const profile = (n, name) => `- link_id: 91c615e3-1040-4815-8ecb-00000000010${n}\n  name: ${name}\n  time_options: {is_all_day: true, date_from: 1767225600, date_to: 1767225600}\n  repeat_options: {repeat_enable: true, repeat_format: {repeat_type: day, repeat_end: {format: never}}}\n`;
  const file = (text) => page.getByLabel("A file, JSON or YAML").setInputFiles({ name: "profiles.yaml", mimeType: "application/yaml", buffer: Buffer.from(text) });
  await file(profile(1, "Residents") + profile(2, "''"));
  await page.waitForFunction(() => document.getElementById("items").value.includes("Residents"));
  await page.getByLabel("All 8").check();
  await page.getByRole("button", { name: "Dry run", exact: true }).click();
  await page.getByRole("alert").getByText("/upsert/1/name").waitFor();
  await page.getByText("The profiles as JSON").click();
  await file(profile(1, "Residents") + profile(2, "Post"));
  await page.waitForFunction(() => document.getElementById("items").value.includes("Post"));
  await page.getByRole("button", { name: "Dry run", exact: true }).click();
  await page.locator("#plan tbody tr", { hasText: "small" }).getByText("partial").waitFor();
  await page.locator("#send").click();
  await page.locator('[data-batch="done"]').waitFor();
  await page.locator(".counts .partial").click();
  await main().getByText("number_of_identifiers_exceeded").waitFor();
  await page.getByRole("button", { name: "Retry 1 panel" }).click();
  await page.locator('[data-batch="done"]').waitFor();
  await page.goto("/");
  await page.locator("#tiles a.attention", { hasText: "small" }).click();
  await main().getByText("the panel is full").first().waitFor();
  await accessible(page, "a panel that refuses a profile");
});

test("profiles show where panels differ, and one version goes to all", async () => {
  await page.goto("/profiles");
  await accessible(page, "the profiles");
  await page.getByRole("link", { name: "Residents" }).click();
  await page.getByRole("link", { name: "Edit" }).click();
  await page.getByLabel("Name").fill("Residents and guests");
  await page.getByRole("button", { name: "Choose panels" }).click();
  await push(() => page.getByRole("button", { name: "site=north" }).click());
  await page.goto("/profiles");
  await page.getByText("2 differ").waitFor();
  await page.getByRole("link", { name: "Residents" }).click();
  await main().getByText("Panels differ").waitFor();
  await page.getByRole("cell", { name: "Residents and guests" }).waitFor();
  await accessible(page, "a profile with two versions");
  await page.getByRole("link", { name: "Push this version" }).last().click();
  await push(() => page.getByLabel("All 8").check());
  await page.goto("/profiles");
  await page.getByRole("link", { name: "Residents and guests" }).click();
  await main().getByText("on 8 panels").first().waitFor();
});

test("batches and the audit are found again", async () => {
  await page.goto("/batches");
  assert.ok((await page.locator("tbody tr").count()) >= 5);
  await page.getByLabel("State").selectOption("trouble");
  await page.getByRole("button", { name: "Show" }).click();
  assert.equal(await page.locator("tbody tr").count(), 1);
  await accessible(page, "the batches");
  await page.getByRole("link", { name: "Audit" }).click();
  await page.getByRole("cell", { name: "reconcile" }).first().waitFor();
  await accessible(page, "the audit");
  await page.getByRole("cell").getByRole("link", { name: "small" }).click();
  await page.waitForURL("**/panel/**");
});

test("a viewer sees everything and can change nothing", async () => {
  await server.fleet("POST", "/users", { name: "watch", role: "viewer", password: "watch-password" });
  const viewer = await browser.logIn("watch", "watch-password");
  for (const path of ["/", "/panel/south-01", "/profiles", "/batches", "/identifiers", "/access"]) {
    await viewer.goto(path);
    const forms = await viewer.locator('main form[method="post"]').count();
    assert.equal(forms, 0, `${path} has something to send`);
  }
  assert.equal(await viewer.getByRole("navigation", { name: "Main" }).getByRole("link").allTextContents().then((all) => all.join()), "Fleet,Profiles,Identifiers,Batches");
  for (const path of ["/add", "/push", "/profiles/new", "/identifiers/new", "/audit", "/alerts"]) assert.equal((await viewer.goto(path)).status(), 403);
  // The form's token is the session's own, so the role alone stands in the way here.
  const token = await viewer.locator("input[name=form_token]").first().inputValue().catch(async () => {
    await viewer.goto("/");
    return viewer.locator("input[name=form_token]").first().inputValue();
  });
  const post = (path, form) => viewer.request.post(path, { form, headers: { origin: server.url } });
  for (const path of ["/panel/south-01/reconcile", "/panel/south-01/remove", "/push/send", "/push", "/add", "/profiles/check"]) {
    assert.equal((await post(path, { form_token: token, sure: "yes" })).status(), 403, path);
  }
  assert.equal((await post("/logout", { form_token: "0".repeat(32) })).status(), 403);
  await viewer.context().close();
});

test("everything can be done from the keyboard, and in the dark", async () => {
  const dark = await browser.logIn("admin", PASSWORD, { colorScheme: "dark" });
  await dark.keyboard.press("Tab");
  assert.equal(await dark.evaluate(() => document.activeElement.textContent), "Skip to the content");
  await dark.keyboard.press("Enter");
  await dark.keyboard.press("Tab");
  assert.equal(await dark.evaluate(() => document.activeElement.textContent), "Add a panel");
  for (const path of ["/", "/panel/south-01", "/profiles/new", "/push", "/batches", "/add", "/profiles", "/identifiers", "/identifiers/new", "/access", "/alerts"]) {
    await dark.goto(path);
    await accessible(dark, `${path} in the dark`);
  }
  await dark.goto("/panel/south-01");
  await picture(dark, "dark");
  await dark.context().close();
});

test("it works on a phone", async () => {
  const phone = await browser.logIn("admin", PASSWORD, { viewport: { width: 390, height: 800 }, isMobile: true, hasTouch: true });
  for (const path of ["/", "/panel/south-01", "/profiles", "/profiles/new", "/push", "/batches", "/audit", "/add", "/identifiers", "/identifiers/new", "/identifiers/import", "/access"]) {
    await phone.goto(path);
    const wide = await phone.evaluate(() => document.documentElement.scrollWidth - innerWidth);
    assert.ok(wide <= 0, `${path} is ${wide} pixels too wide`);
    await accessible(phone, `${path} on a phone`);
  }
  await picture(phone, "phone");
  await phone.context().close();
});

test("it works without script", async () => {
  const plain = await browser.logIn("admin", PASSWORD, { javaScriptEnabled: false });
  await plain.getByRole("link", { name: "New profile" }).click();
  await plain.getByLabel("Name").fill("Plain");
  await plain.getByRole("button", { name: "Choose panels" }).click();
  await plain.locator("#selector").fill("site=harbour");
  await plain.getByRole("button", { name: "Dry run" }).click();
  await plain.locator("#plan").getByText("1 panel").first().waitFor();
  await plain.locator("#send").click();
  await plain.waitForURL("**/batches/*");
  await plain.context().close();
});

test("what is pushed elsewhere shows on an open page, and moments are written as the reader does", async () => {
  await page.goto("/panel/north-01");
  const before = await page.locator("section[aria-label=Profiles] tbody tr").count();
  const item = { link_id: "91c615e3-1040-4815-8ecb-000000000009", name: "From elsewhere", time_options: { is_all_day: true, date_from: 1800000000, date_to: 1800000000 }, repeat_options: { repeat_enable: false } };
  await server.fleet("POST", "/batches", { panels: ["north-01"], upsert: [item] });
  await page.locator("section[aria-label=Profiles]").getByText("From elsewhere").waitFor();
  assert.equal(await page.locator("section[aria-label=Profiles] tbody tr").count(), before + 1);
  await page.goto("/batches");
  assert.match(await page.locator("tbody time").first().textContent(), /^\d{1,2} \w{3} \d{4}, \d{2}:\d{2}$/, "as in en-GB");
});

test("an open page leads to the login when its session is over", async () => {
  const open = await browser.logIn("admin", PASSWORD);
  const other = await open.context().newPage();
  await other.goto("/panel/north-01");
  await open.getByRole("button", { name: "Log out" }).click();
  await open.waitForURL("**/login");
  await other.waitForURL("**/login?to=*");
  await open.context().close();
});

test("ten thousand panels come in a small first view, and the rest as one scrolls", async () => {
  const line = (n) => JSON.stringify({ id: `p-${String(n).padStart(5, "0")}`, labels: { site: `s${String(n % 40).padStart(2, "0")}` } });
  await server.fleet("POST", "/panels:import", Array.from({ length: 10000 }, (_, n) => line(n)).join("\n"), "application/x-ndjson");
  let bytes = 0;
  const count = (response) => response.body().then((body) => (bytes += body.length), () => {});
  const large = await browser.logIn("admin", PASSWORD);
  large.on("response", count);
  const began = Date.now();
  await large.goto("/?selector=site%21%3Dsouth,site%21%3Dnorth,site%21%3Dharbour", { waitUntil: "load" });
  const took = Date.now() - began;
  await large.locator("[data-count=panels]", { hasText: "10000" }).waitFor();
  const first = bytes;
  assert.ok(first < 300_000, `the first view has ${first} bytes`);
  await picture(large, "ten-thousand");
  const tiles = large.locator("#tiles .tiles a");
  await large.waitForFunction(() => {
    scrollTo(0, document.documentElement.scrollHeight);
    return document.querySelectorAll("#tiles .tiles a").length === 10000;
  }, null, { polling: 100, timeout: 60000 });
  assert.equal(await large.locator("#tiles .group").count(), 40, "no group is there twice");
  assert.equal(await tiles.last().textContent(), "p-09999");
  console.log(`10,000 panels: first view ${Math.round(first / 1000)} kB, loaded in ${took} ms`);
  await large.context().close();
});
