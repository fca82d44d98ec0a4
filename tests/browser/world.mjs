// What the tests run in: the real server, real devices as far as it can tell, and a real browser. Every process is
// one that was started here, and is ended by its own handle.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { chromium } from "playwright-core";

const root = new URL("../../", import.meta.url).pathname;
const binary = process.env.PANELSYNC_BIN ?? join(root, "target/release/panelsync");
export const pictures = join(root, "target/browser/");
const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

export const PASSWORD = "a-password-for-tests";

/** Starts the binary and waits until its stderr has named so many addresses. */
async function start(args, addresses, env = {}) {
  const child = spawn(binary, args, { env: { PATH: process.env.PATH, RUST_LOG: "error", ...env }, stdio: ["ignore", "ignore", "pipe"] });
  const found = [];
  const said = [];
  const lines = createInterface({ input: child.stderr });
  await new Promise((resolve, reject) => {
    child.once("exit", (code) => reject(new Error(`panelsync ${args[0]} ended with ${code}`)));
    lines.on("line", (line) => {
      said.push(line);
      const address = line.match(/https?:\/\/([\d.]+:\d+)/)?.[1];
      if (address && found.push(address) === addresses) resolve();
    });
  });
  return { child, found, said: said.join("\n") };
}

async function end(child, signal = "SIGTERM") {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const gone = new Promise((resolve) => child.once("exit", resolve));
  child.kill(signal);
  await gone;
}

/** A simulated device that can be killed and started again. */
export class Device {
  static async start(panels = 1) {
    const device = new Device();
    device.folder = mkdtempSync(join(tmpdir(), "panelsync-"));
    device.panels = panels;
    device.listen = "127.0.0.1:0";
    device.control = "127.0.0.1:0";
    await device.run();
    return device;
  }

  async run() {
    const args = ["simulate", "--panels", this.panels, "--listen", this.listen, "--control", this.control, "--data-dir", this.folder];
    const { child, found } = await start(args.map(String), 2);
    this.child = child;
    [this.listen, this.control] = found;
  }

  url(n = 1) {
    return `http://${this.listen}/panels/sim-${String(n).padStart(4, "0")}`;
  }

  /** Somebody edits the device by hand: these profiles are deleted. */
  async remove(n, links) {
    const api = `${this.url(n)}/api/v1`;
    const login = await fetch(`${api}/login?username=admin&password=e10adc3949ba59abbe56e057f20f883e`);
    const { token } = await login.json();
    const headers = { authorization: `Bearer ${token}`, "content-type": "application/json" };
    const body = JSON.stringify({ link_ids: links });
    const answer = await fetch(`${api}/access/timeprofile/items/link`, { method: "DELETE", headers, body });
    assert.ok(answer.ok, `the device answered ${answer.status}`);
  }

  /** Throws one of the simulator's switches. */
  async throw(name, body) {
    const headers = { "content-type": "application/json" };
    const answer = await fetch(`http://${this.control}/sim/${name}`, { method: "POST", headers, body: JSON.stringify(body) });
    assert.ok(answer.ok, `the switch ${name} answered ${answer.status}`);
  }

  kill() {
    return end(this.child, "SIGKILL");
  }

  async close() {
    await end(this.child);
    rmSync(this.folder, { recursive: true });
  }
}

/** What `panelsync demo` serves. */
export class Demo {
  static async start() {
    const demo = new Demo();
    // It names its address when it pushes, and then its page's.
    const { child, found, said } = await start(["demo", "--listen", "127.0.0.1:0"], 2);
    demo.child = child;
    demo.url = `http://${found[1]}`;
    demo.password = said.match(/password (\S+?)\)/)[1];
    return demo;
  }

  close() {
    return end(this.child);
  }
}

/** A server with an administrator. */
export class Server {
  static async start() {
    const server = new Server();
    server.folder = mkdtempSync(join(tmpdir(), "panelsync-"));
    server.listen = "127.0.0.1:0";
    await server.run();
    const session = await server.fleet("POST", "/session", { username: "admin", password: PASSWORD });
    server.token = session.token;
    return server;
  }

  async run() {
    const args = ["serve", "--listen", this.listen, "--data-dir", this.folder, "--check-every", "1s"];
    const { child, found } = await start(args, 1, { PANELSYNC_ADMIN_PASSWORD: PASSWORD });
    this.child = child;
    [this.listen] = found;
    this.url = `http://${this.listen}`;
  }

  kill() {
    return end(this.child, "SIGKILL");
  }

  /** A call of the fleet API. */
  async fleet(method, path, body, type = "application/json", prefer = "wait=5") {
    const headers = { "content-type": type, prefer, ...(this.token && { authorization: `Bearer ${this.token}` }) };
    const sent = typeof body === "string" ? body : JSON.stringify(body);
    const answer = await fetch(`${this.url}/fleet/v1${path}`, { method, headers, body: sent });
    const text = await answer.text();
    assert.ok(answer.ok, `${method} ${path}: ${answer.status} ${text}`);
    return text ? JSON.parse(text) : null;
  }

  async close() {
    await end(this.child);
    rmSync(this.folder, { recursive: true });
  }
}

/** The browser. What a page complains of, or asks of anywhere else, fails the test that looks. */
export class Browser {
  static async start(server) {
    mkdirSync(pictures, { recursive: true });
    const browser = new Browser();
    browser.server = server;
    browser.complaints = [];
    browser.chromium = await chromium.launch({
      executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
      args: ["--no-sandbox", "--disable-dev-shm-usage"],
    });
    return browser;
  }

  async page(options = {}) {
    const context = await this.chromium.newContext({
      baseURL: this.server.url, viewport: { width: 1280, height: 860 }, locale: "en-GB", timezoneId: "Europe/Kyiv", ...options,
    });
    context.setDefaultTimeout(15000);
    const page = await context.newPage();
    page.on("pageerror", (error) => this.complaints.push(error.message));
    page.on("console", (said) => {
      // A form that is refused is answered with 4xx, which the browser notes.
      const refused = /status of 4\d\d/.test(said.text());
      if (said.type() === "error" && !refused) this.complaints.push(said.text());
    });
    page.on("request", (request) => {
      if (!request.url().startsWith(this.server.url)) this.complaints.push(`asked for ${request.url()}`);
    });
    return page;
  }

  async logIn(user, password, options = {}) {
    const page = await this.page(options);
    await page.goto("/");
    await page.getByLabel("User").fill(user);
    await page.getByLabel("Password").fill(password);
    await page.getByRole("button", { name: "Log in" }).click();
    await page.waitForURL("**/");
    return page;
  }

  quiet() {
    assert.deepEqual(this.complaints.splice(0), []);
  }

  close() {
    return this.chromium.close();
  }
}

/** Keeps a picture of the page with the run's output. */
export function picture(page, name, options = {}) {
  return page.screenshot({ path: join(pictures, `${name}.png`), ...options });
}

/** What axe finds against WCAG 2.2 A and AA on the page as it is. */
export async function accessible(page, where) {
  await page.evaluate(axe);
  const found = await page.evaluate(() =>
    globalThis.axe.run(document, { runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"] }),
  );
  const said = found.violations.flatMap(({ id, nodes }) => nodes.map((node) => `${id}: ${node.failureSummary} ${node.html}`));
  assert.deepEqual(said, [], `${where} is not accessible to everyone`);
  assert.ok(found.passes.length > 10, `${where} was looked at`);
}
