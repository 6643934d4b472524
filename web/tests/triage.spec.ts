import { expect, test } from "./test";

test("triage by keyboard, in bulk, with an outcome for each", async ({ page, as, host }) => {
  const first = await host.report("ann", "Triage one");
  const second = await host.report("bob", "Triage two");
  await as("adam");
  await page.goto("/issues/open?q=triage");
  await expect(page.locator("[data-issue]")).toHaveCount(2);
  await page.keyboard.press("?");
  const help = page.getByRole("dialog", { name: "Keys in this list" });
  await expect(help).toBeVisible();
  await page.keyboard.press("Escape");
  await expect(help).toHaveCount(0);

  await page.keyboard.press("j");
  await expect(page.locator(`[data-issue="${second}"]`)).toBeFocused();
  await page.keyboard.press("x");
  await page.keyboard.press("j");
  await page.keyboard.press("x");
  await page.keyboard.press("k");
  await expect(page.locator(`[data-issue="${second}"]`)).toBeFocused();
  await expect(page.getByText("2 selected")).toBeVisible();

  await page.keyboard.press("s");
  const severity = page.getByRole("dialog", { name: "Set severity" });
  await severity.getByLabel("Severity").selectOption("CRITICAL");
  await severity.getByRole("button", { name: "Do it for 2" }).click();
  await expect(severity.getByText("done")).toHaveCount(2);
  await severity.getByRole("button", { name: "Close" }).last().click();
  await expect(page.locator(".issue .severity.critical")).toHaveCount(2);

  await host.send("adam", "PATCH", `/issues/${first}/reject`, { reason: "meanwhile" });
  // A dialog gives the keyboard back to where it took it from.
  await expect(page.locator(`[data-issue="${second}"]`)).toBeFocused();
  await page.keyboard.press("x");
  await page.keyboard.press("j");
  await page.keyboard.press("x");
  await page.keyboard.press("r");
  const reject = page.getByRole("dialog", { name: "Reject issues" });
  await reject.getByLabel("Reason").fill("Not now.");
  await reject.getByRole("button", { name: /Do it for/ }).click();
  await expect(reject.getByText("done")).toHaveCount(1);
  await expect(reject.locator(".bad")).toHaveCount(1);
});

test("filters live in the address; a view is saved under a name", async ({ page, as, host }) => {
  await host.report("adam", "Filtered away", { severity: "LOW" });
  const number = await host.report("adam", "Filtered in", { severity: "CRITICAL" });
  await as("adam");
  await page.goto("/issues/open");
  await page.getByLabel("Severity", { exact: true }).selectOption("CRITICAL");
  await page.getByLabel("Search").fill("filtered");
  await expect(page).toHaveURL(/severity=CRITICAL.*q=filtered/);
  await expect(page.locator("[data-issue]")).toHaveCount(1);
  await expect(page.locator(`[data-issue="${number}"]`)).toBeVisible();
  await page.getByLabel("Name of this view").fill("Burning");
  await page.getByRole("button", { name: "Save view" }).click();
  await page.getByRole("button", { name: "Clear filters" }).click();
  await expect(page).toHaveURL(/\/issues\/open$/);
  await page.getByRole("link", { name: "Burning" }).click();
  await expect(page).toHaveURL(/severity=CRITICAL/);
  await expect(page.locator("[data-issue]")).toHaveCount(1);
});

test("what is new is counted and does not move what one reads", async ({ page, as, host }) => {
  const number = await host.report("bob", "Steady as it goes");
  await as("bob");
  await page.goto("/issues/open");
  const link = page.locator(`[data-issue="${number}"]`);
  await expect(link).toBeVisible();
  await expect(page.getByText("live", { exact: true })).toBeVisible();
  await link.focus();
  const before = await link.boundingBox();
  await host.report("bob", "Somebody is quick");
  await expect(page.getByRole("button", { name: "Show 1 new issue" })).toBeVisible();
  await expect(page.getByText("Somebody is quick")).toHaveCount(0);
  await expect(link).toBeFocused();
  expect(before).not.toBeNull();
  await page.getByRole("button", { name: "Show 1 new issue" }).click();
  await expect(page.getByText("Somebody is quick")).toBeVisible();
});
