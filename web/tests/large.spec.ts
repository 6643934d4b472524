// A list of ten thousand issues: how long the page takes to answer what one does, as the
// browser itself measures it (Event Timing: from the input to the next frame).
import { execFileSync } from "node:child_process";
import { existsSync } from "node:fs";
import { resolve } from "node:path";
import type { Page } from "@playwright/test";
import { Host } from "./host";
import { test as base, expect } from "./test";

const FILL = resolve(import.meta.dirname, "../../target/debug/examples/fill");
const ISSUES = 10_000;

/** A host whose store was filled before it started. */
const test = base.extend<object, { host: Host }>({
  host: [
    // biome-ignore lint/correctness/noEmptyPattern: Playwright reads the names in the pattern
    async ({}, use) => {
      const host = await Host.start((data) => execFileSync(FILL, [data, String(ISSUES)]));
      await use(host);
      await host.stop();
    },
    { scope: "worker", timeout: 300_000 },
  ],
});

test.skip(!existsSync(FILL), "needs `cargo build --workspace --examples`");

type Measured = { name: string; duration: number };

/** All interactions from now on, each by its longest event. */
async function watchInteractions(page: Page) {
  await page.addInitScript(() => {
    const seen = new Map<number, { name: string; duration: number }>();
    Object.assign(window, { interactions: seen });
    new PerformanceObserver((list) => {
      for (const entry of list.getEntries() as PerformanceEventTiming[]) {
        const id = (entry as unknown as { interactionId: number }).interactionId;
        const known = seen.get(id);
        if (id > 0 && (known === undefined || known.duration < entry.duration)) {
          seen.set(id, { name: entry.name, duration: entry.duration });
        }
      }
    }).observe({ type: "event", buffered: true, durationThreshold: 16 } as PerformanceObserverInit);
  });
}

/** The interactions since the last time. */
const measured = (page: Page): Promise<Measured[]> =>
  page.evaluate(async () => {
    await new Promise((done) => setTimeout(done, 300));
    const { interactions } = window as unknown as { interactions: Map<number, Measured> };
    const all = [...interactions.values()];
    interactions.clear();
    return all;
  });

function note(what: string, all: Measured[]): void {
  const durations = all.map((one) => one.duration).sort((a, b) => a - b);
  const worst = durations.at(-1) ?? 0;
  console.log(`${what}: ${all.length} interactions over 16 ms, slowest ${worst} ms`);
}

test("ten thousand issues are scrolled, chosen, searched and opened", async ({ page, as }) => {
  test.setTimeout(300_000);
  await watchInteractions(page);
  await as("adam");
  await page.goto("/issues/open");
  const rows = page.locator("[data-issue]");
  await expect(rows.first()).toBeVisible();

  // Scrolling loads the rest; what is out of sight is not drawn.
  const frames = await page.evaluate(async (wanted) => {
    const loaded = () => Number(document.querySelector("[aria-setsize]")?.ariaSetSize ?? 0);
    const gaps: number[] = [];
    let last = performance.now();
    const started = last;
    while (loaded() < wanted) {
      scrollTo(0, document.documentElement.scrollHeight);
      await new Promise(requestAnimationFrame);
      const now = performance.now();
      gaps.push(now - last);
      last = now;
      if (now - started > 200_000) break;
    }
    gaps.sort((a, b) => a - b);
    return {
      count: gaps.length,
      p99: Math.round(gaps[Math.floor(gaps.length * 0.99)] ?? 0),
      worst: Math.round(gaps.at(-1) ?? 0),
      seconds: Math.round((performance.now() - started) / 1000),
    };
  }, ISSUES);
  console.log(
    `all loaded by scrolling in ${frames.seconds} s, ${frames.count} frames, p99 ${frames.p99} ms, slowest ${frames.worst} ms`,
  );
  expect(await rows.count()).toBeLessThan(100);
  await measured(page);

  await page.keyboard.press("End");
  for (let turn = 0; turn < 10; turn++) await page.keyboard.press("PageUp");
  await page.keyboard.press("Home");
  await page.mouse.wheel(0, 20_000);
  note("scrolling by keys", await measured(page));

  await page.evaluate(() => scrollTo(0, 0));
  await expect(rows.first()).toContainText(`#${ISSUES} `);
  for (let turn = 0; turn < 10; turn++) {
    await page.keyboard.press("j");
    await page.keyboard.press("x");
  }
  note("next and select by keys", await measured(page));
  await expect(page.getByText("10 selected")).toBeVisible();
  await page.mouse.wheel(0, 100_000);
  await page.waitForTimeout(300);
  await page.keyboard.press("j");
  await expect(page.locator(`[data-issue="${ISSUES - 10}"]`)).toBeFocused();
  note("back to the row with the keyboard", await measured(page));
  for (const at of [1, 3, 5]) await page.locator(".issue input").nth(at).click();
  await page.getByRole("button", { name: "Clear selection" }).click();
  note("select by pointer", await measured(page));

  await page.getByLabel("Search").pressSequentially("severity:>=high checkout", { delay: 40 });
  await expect(page).toHaveURL(/checkout/);
  await expect(rows.first()).toContainText("Checkout");
  note("typing a query", await measured(page));
  await page.getByRole("button", { name: "Clear filters" }).click();
  await expect(rows.nth(1)).not.toContainText("Checkout");
  await page.getByLabel("Severity", { exact: true }).selectOption("critical");
  await expect(rows.first().locator("xpath=ancestor::li")).toContainText("Critical");
  note("filtering by the controls", await measured(page));

  await rows.first().click();
  await expect(page.getByRole("heading", { name: "The report" })).toBeVisible();
  await page.goBack();
  await expect(rows.first()).toBeVisible();
  note("opening and going back", await measured(page));
});

test("a filter finds what is old in a long log by itself", async ({ page, as }) => {
  await as("audrey");
  await page.goto("/audit?issue=3");
  await expect(page.locator(".timeline").getByText("issue.opened")).toBeVisible();
  await expect(page.locator(".timeline > li")).not.toHaveCount(0);
});
