import AxeBuilder from "@axe-core/playwright";
import type { Page, Response } from "@playwright/test";
import { expect, test } from "./test";

const TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"];
const DESKTOP = { width: 1280, height: 900 };
const PHONE = { width: 360, height: 740 };

async function axe(page: Page, where: string, rules?: string[]) {
  const axe = new AxeBuilder({ page });
  const { violations } = await (rules ? axe.withRules(rules) : axe.withTags(TAGS)).analyze();
  const told = violations.map(
    ({ id, nodes }) => `${where}: ${id}: ${nodes.map((node) => node.html).join(" | ")}`,
  );
  expect(told).toEqual([]);
}

async function fits(page: Page, where: string) {
  const wide = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
  expect(wide, `${where} is no wider than the screen`).toBeLessThanOrEqual(0);
}

/** All rules once; what colours and widths can change, again for dark and for a phone. */
async function check(page: Page, where: string) {
  await expect(page.getByText("Loading…")).toHaveCount(0);
  await page.setViewportSize(DESKTOP);
  await page.emulateMedia({ colorScheme: "light", reducedMotion: "reduce" });
  await axe(page, where);
  await fits(page, where);
  await page.emulateMedia({ colorScheme: "dark", reducedMotion: "reduce" });
  await axe(page, `${where}, dark`, ["color-contrast"]);
  await page.setViewportSize(PHONE);
  await axe(page, `${where}, phone`, ["color-contrast", "target-size"]);
  await fits(page, `${where}, phone`);
}

const PLACES = {
  "everybody's": ["/issues/open", "/issues/history", "/issues/report", "/issues/1"],
  "an admin's": ["/policies", "/decisions", "/audit", "/insights", "/host", "/people", "/account"],
};

for (const [whose, places] of Object.entries(PLACES)) {
  test(`${whose} pages keep WCAG 2.2 AA`, async ({ page, as, host }) => {
    const number = await host.report("adam", `Access to ${whose} pages`);
    await host.send("adam", "POST", `/issues/${number}/comments`, { content: "- *one*" });
    await as("adam");
    for (const place of places) {
      await page.goto(place);
      await expect(page.getByRole("heading", { level: 1 })).toBeVisible();
      await check(page, place);
    }
  });
}

test("what comes up keeps WCAG 2.2 AA", async ({ page, as, host }) => {
  await page.goto("/");
  await expect(page.getByLabel("User name")).toBeVisible();
  await check(page, "log in");
  const number = await host.report("adam", "Access to dialogs");
  await as("adam");
  await page.goto(`/issues/${number}`);
  await page.getByRole("button", { name: "Reject…" }).click();
  await expect(page.getByRole("dialog")).toBeVisible();
  await check(page, "dialog");
  await page.goto("/people");
  await page.getByRole("button", { name: "Manage ann" }).click();
  await expect(page.getByRole("dialog").getByRole("table")).toBeVisible();
  await check(page, "somebody's account");
});

test("German has every word and fits", async ({ page, as, host }) => {
  const number = await host.report("ann", "Auf Deutsch");
  await as("ann");
  await page.goto("/issues/open");
  await page.getByLabel("Language").selectOption("de");
  await expect(page.getByRole("link", { name: "Offene Issues" })).toBeVisible();
  await expect(page.locator("html")).toHaveAttribute("lang", "de");
  await page.goto(`/issues/${number}`);
  await expect(page.getByText("Ihre Meldung wartet darauf")).toBeVisible();
  await page.setViewportSize(PHONE);
  await fits(page, "German on a phone");
});

test("the theme is kept", async ({ page, as }) => {
  await as("ann");
  await page.goto("/issues/open");
  await page.getByLabel("Colours").selectOption("dark");
  await page.reload();
  const scheme = await page.evaluate(() => getComputedStyle(document.documentElement).colorScheme);
  expect(scheme).toBe("dark");
});

test("the first load brings at most 150 kB of script", { tag: "@sample" }, async ({ page, as }) => {
  const scripts: Response[] = [];
  page.on("response", (response) => {
    if (response.url().endsWith(".js")) scripts.push(response);
  });
  await as("adam");
  await page.goto("/issues/open");
  await expect(page.getByText("live", { exact: true })).toBeVisible();
  let bytes = 0;
  for (const script of scripts) {
    expect(script.headers()["content-encoding"]).toBe("gzip");
    expect(script.headers()["cache-control"]).toContain("immutable");
    bytes += (await script.request().sizes()).responseBodySize;
  }
  console.log(`first load: ${bytes} bytes of script, compressed, in ${scripts.length} files`);
  expect(bytes).toBeGreaterThan(50_000);
  expect(bytes).toBeLessThanOrEqual(150_000);
});
