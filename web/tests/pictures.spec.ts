// Pictures of the pages for the documentation; made on request only.
import { resolve } from "node:path";
import { expect, test } from "./test";

const TO = resolve(import.meta.dirname, "../../docs/screenshots");

test.skip(process.env.PICTURES === undefined, "PICTURES=1 makes them");

test("pictures", async ({ page, as, host }) => {
  test.setTimeout(300_000);
  const size = { desktop: { width: 1280, height: 860 }, phone: { width: 390, height: 844 } };
  let at = "h1";
  const take = async (name: string, which: keyof typeof size, colorScheme: "light" | "dark") => {
    await page.setViewportSize(size[which]);
    await page.emulateMedia({ colorScheme, reducedMotion: "reduce" });
    await page
      .locator(at)
      .first()
      .evaluate((part) => part.scrollIntoView({ block: "center" }));
    await page.waitForTimeout(600);
    await page.screenshot({ path: `${TO}/${name}-${which}-${colorScheme}.png` });
  };
  const all = async (name: string) => {
    for (const which of ["desktop", "phone"] as const) {
      for (const scheme of ["light", "dark"] as const) await take(name, which, scheme);
    }
  };
  await page.goto("/");
  await all("login");
  await host.send("adam", "PUT", "/autonomy", { level: 1, reason: "review every patch" });
  const number = await host.report("ann", "The discount starts too late", {
    description: "An order of exactly 100 gets no discount. Since Monday's update.",
    stepsToReproduce: "1. Put two items of 50 into the cart.\n2. Look at the total.",
    expectedBehavior: "10 % off: 90.",
    actualBehavior: "The total is 100.",
    service: "shop",
  });
  await host.report("bob", "Checkout shows a blank page", { service: "shop" });
  await host.report("adam", "Invoices arrive twice", { severity: "CRITICAL", priority: "P0" });
  await host.report("ann", "Search forgets its filters", { category: "reliability" });
  const logo = await host.report("bob", "The logo is too small");
  await host.send("adam", "PATCH", `/issues/${logo}/reject`, { reason: "It is meant so." });
  await host.send("adam", "PATCH", `/issues/${number}/priority`, { severity: "HIGH" });
  await host.send("adam", "PATCH", `/issues/${number}/approve`, {});
  await as("ann");
  await page.goto("/issues/report");
  await page.getByLabel("Title").fill("Discount comes too late in the shop");
  await page.getByLabel("What is wrong?").fill("I expected 90 and paid 100.");
  await expect(page.getByRole("link", { name: /The discount starts/ })).toBeVisible();
  await all("report");
  await page.goto(`/issues/${number}`);
  await expect(page.getByText("an admin is looking at the fix")).toBeVisible();
  await all("reporter");
  await page.context().clearCookies();
  await as("adam");
  await page.goto("/issues/open");
  await expect(page.locator("[data-issue]").first()).toBeVisible();
  await page.keyboard.press("j");
  await page.keyboard.press("x");
  await host.send("adam", "PUT", "/views/Burning", {
    query: "is:waiting severity:>=high",
    shared: true,
  });
  await page.reload();
  await expect(page.getByRole("link", { name: "Burning" })).toBeVisible();
  await page.keyboard.press("j");
  await page.keyboard.press("x");
  await all("issues");
  await page.keyboard.press("s");
  await expect(page.getByRole("dialog", { name: "Snooze issues" })).toBeVisible();
  at = ".modal h2, .modal header";
  await all("snooze");
  at = "h1";
  await page.keyboard.press("Escape");
  await page.getByLabel("Search").pressSequentially("service:shop -s");
  await expect(page.getByRole("listbox")).toBeVisible();
  await all("query");
  await page.goto(`/issues/${number}`);
  await expect(page.getByRole("heading", { name: "Review this patch" })).toBeVisible();
  await expect(page.locator(".diff-row").first()).toBeVisible();
  await all("issue");
  at = ".diff";
  await all("review");
  at = "h1";
  await page.getByRole("button", { name: "Approve this patch" }).click();
  await expect(page.locator(".issue-head").getByText("Resolved")).toBeVisible();
  for (const place of ["policies", "decisions", "audit", "insights", "host", "people", "account"]) {
    await page.goto(`/${place}`);
    await page.waitForTimeout(800);
    await all(place);
  }
  await page.goto("/host");
  await page.locator(".last-week summary").click();
  at = ".last-week";
  await all("levels");
});
