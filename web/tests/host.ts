// A running host of its own for each worker, over a small application with one bug.
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { createInterface } from "node:readline";

const BINARY =
  process.env.SELFHEAL_BIN ?? resolve(import.meta.dirname, "../../target/debug/selfheal");

const CART = `def total(prices, discount_from):
    amount = sum(prices)
    if amount > discount_from:
        amount = amount - amount // 10
    return amount


def cheapest(prices):
    best = prices[0]
    for price in prices:
        if price < best:
            best = price
    return best
`;

const TESTS = `import unittest
from cart import cheapest, total


class CartTest(unittest.TestCase):
    def test_below(self):
        self.assertEqual(total([10, 20], 100), 30)
        self.assertEqual(total([99], 100), 99)

    def test_the_limit_counts(self):
        self.assertEqual(total([100], 100), 90)
        self.assertEqual(total([60, 40], 100), 90)

    def test_cheapest(self):
        self.assertEqual(cheapest([3, 1, 2]), 1)
`;

export const PEOPLE = {
  ann: "user",
  bob: "user",
  audrey: "auditor",
  gus: "guest",
  adam: "admin",
} as const;
export type Person = keyof typeof PEOPLE;

function freePort(): Promise<number> {
  return new Promise((found, failed) => {
    const server = createServer();
    server.once("error", failed);
    server.listen(0, "127.0.0.1", () => {
      const address = server.address();
      server.close(() => found(typeof address === "object" && address ? address.port : 0));
    });
  });
}

/** Machine code that hosts of earlier tests compiled, of the end-to-end tests too: without
 * it a host takes many seconds to start. It checks what it finds. */
const COMPILED = join(tmpdir(), "selfheal-e2e-cache/compiled");

function copyMissing(from: string, to: string): void {
  if (!existsSync(from)) return;
  mkdirSync(to, { recursive: true, mode: 0o700 });
  for (const name of readdirSync(from)) {
    if (!/\.(cwasm|note)$/.test(name) || existsSync(join(to, name))) continue;
    // Nobody sees half a file.
    const fresh = join(to, `${name}.${process.pid}`);
    copyFileSync(join(from, name), fresh);
    renameSync(fresh, join(to, name));
  }
}

export class Host {
  private constructor(
    readonly url: string,
    readonly tokens: Readonly<Record<Person, string>>,
    /** Where an application would be whose pages may show the issues. */
    readonly guestPort: number,
    private readonly directory: string,
    private readonly process: ChildProcess,
  ) {}

  /** `prepare` gets the data directory before anybody uses it; `more` is added to
   * `selfheal.toml`, and knows where the host will be. */
  static async start(
    prepare?: (data: string) => void,
    more?: (url: string) => string,
  ): Promise<Host> {
    const directory = mkdtempSync(join(tmpdir(), "selfheal-web-"));
    const app = join(directory, "app");
    mkdirSync(app);
    writeFileSync(join(app, "cart.py"), CART);
    writeFileSync(join(app, "test_cart.py"), TESTS);
    writeFileSync(join(app, ".gitignore"), "__pycache__/\n");
    const git = (...parts: string[]) =>
      execFileSync("git", ["-c", "user.name=t", "-c", "user.email=t@example.org", ...parts], {
        cwd: app,
        stdio: "pipe",
      });
    git("init", "--quiet", "--initial-branch=main");
    git("add", "--all");
    git("commit", "--quiet", "--message", "first");

    const selfheal = (...parts: string[]) =>
      execFileSync(BINARY, parts, { cwd: directory, encoding: "utf8", stdio: "pipe" });
    selfheal("init", "--app", "app", "--data", "data", "--json");
    prepare?.(join(directory, "data"));
    const port = await freePort();
    const guestPort = await freePort();
    const listen = `127.0.0.1:${more === undefined ? 0 : await freePort()}`;
    copyMissing(COMPILED, join(directory, "data/compiled"));
    const config = join(directory, "selfheal.toml");
    writeFileSync(
      config,
      `${readFileSync(config, "utf8")
        .replace(/^watch_seconds = .*$/m, "watch_seconds = 0.5")
        .replace(/^# embed_in = .*$/m, `embed_in = ["http://127.0.0.1:${guestPort}"]`)}
[[service]]
name = "shop"
command = "python3 -m http.server ${port} --bind 127.0.0.1"
health = { http = { url = "http://127.0.0.1:${port}/cart.py" } }
${more?.(`http://${listen}`) ?? ""}`,
    );
    const tokens = Object.fromEntries(
      Object.entries(PEOPLE).map(([name, role]) => [
        name,
        selfheal("user", "add", name, "--role", role).trim(),
      ]),
    ) as Record<Person, string>;

    const child = spawn(BINARY, ["serve", "--listen", listen], {
      cwd: directory,
      stdio: ["ignore", "pipe", "pipe"],
    });
    let log = "";
    child.stderr.on("data", (text) => {
      log += text;
    });
    const url = await new Promise<string>((found, failed) => {
      createInterface(child.stdout).on("line", (line) => {
        if (line.startsWith("listening on ")) found(line.slice("listening on ".length));
      });
      child.once("exit", (code) => failed(new Error(`the host ended with ${code}: ${log}`)));
    });
    return new Host(url, tokens, guestPort, directory, child);
  }

  /** Sends a request as somebody; it must succeed. */
  async send(who: Person, method: string, path: string, body?: unknown): Promise<unknown> {
    const response = await fetch(`${this.url}/api/v1${path}`, {
      method,
      headers: {
        authorization: `Bearer ${this.tokens[who]}`,
        "content-type": "application/json",
      },
      ...(body !== undefined && { body: JSON.stringify(body) }),
    });
    const text = await response.text();
    if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${text}`);
    return text === "" ? null : JSON.parse(text);
  }

  /** Files a report; gives its number. */
  async report(who: Person, title: string, more: object = {}): Promise<number> {
    const body = { title, description: "It does not work.", ...more };
    const issue = (await this.send(who, "POST", "/issues", body)) as { number: number };
    return issue.number;
  }

  async stop(): Promise<void> {
    const gone = new Promise((ended) => this.process.once("exit", ended));
    this.process.kill();
    await gone;
    copyMissing(join(this.directory, "data/compiled"), COMPILED);
    rmSync(this.directory, { recursive: true, force: true, maxRetries: 5 });
  }
}
