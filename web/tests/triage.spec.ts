import { expect, test } from "./test";

test("triage by keyboard, in bulk, with an outcome for each", async ({ page, as, host }) => {
  const first = await host.report("ann", "Triage one");
  const second = await host.report("bob", "Triage two");
  await as("adam");
  await page.goto("/issues/open?query=triage");
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

  await page.keyboard.press("v");
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

test("a query lives in the address, is refused at the box, and is kept under a name", {
  tag: "@sample",
}, async ({ page, as, host, beside }) => {
  await host.report("adam", "Filtered away", { severity: "LOW" });
  const number = await host.report("adam", "Filtered in", { severity: "CRITICAL" });
  await as("adam");
  await page.goto("/issues/open");
  await page.getByLabel("Severity", { exact: true }).selectOption("critical");
  const box = page.getByLabel("Search");
  await expect(box).toHaveValue("severity:critical");
  await box.fill("severity:critical filtered");
  await expect(page).toHaveURL(/query=severity%3Acritical\+filtered/);
  await expect(page.locator("[data-issue]")).toHaveCount(1);
  await expect(page.locator(`[data-issue="${number}"]`)).toBeVisible();

  // Completed by keyboard, refused where it makes no sense, with the list still there.
  await box.press("End");
  await box.pressSequentially(" rep");
  const terms = page.getByRole("listbox", { name: "Terms" });
  await expect(terms.getByRole("option")).toHaveText(["reported-by:"]);
  await box.press("ArrowDown");
  await box.press("Enter");
  await box.press("ArrowDown");
  await box.press("Enter");
  await expect(box).toHaveValue("severity:critical filtered reported-by:me ");
  await expect(page).toHaveURL(/reported-by%3Ame/);
  await expect(page.locator("[data-issue]")).toHaveCount(1);
  await box.fill("severty:critical");
  await expect(page.getByRole("alert")).toContainText('"severty" is no key');
  await expect(box).toHaveAttribute("aria-invalid", "true");
  await expect(page.locator("[data-issue]")).toHaveCount(1);
  await box.fill("severity:critical filtered");
  await expect(page.getByRole("alert")).toHaveCount(0);

  await page.getByLabel("Name of this view").fill("Burning");
  await page.getByLabel("for everybody").check();
  await page.getByRole("button", { name: "Save view" }).click();
  const chip = page.getByRole("link", { name: "Burning" });
  await expect(chip).toBeVisible();
  await page.getByRole("button", { name: "Clear filters" }).click();
  await expect(page).toHaveURL(/\/issues\/open$/);
  await chip.click();
  await expect(page).toHaveURL(/severity%3Acritical/);
  await expect(page.locator("[data-issue]")).toHaveCount(1);
  const other = await beside("ann");
  await other.goto("/issues/open");
  await expect(other.getByRole("link", { name: "Burning" })).toBeVisible();
  await expect(other.getByRole("button", { name: /Forget/ })).toHaveCount(0);
  await page.getByRole("button", { name: "Forget the view Burning" }).click();
  await expect(chip).toHaveCount(0);
});

test("a snoozed issue leaves the list and comes back by itself", async ({ page, as, host }) => {
  const number = await host.report("ann", "Sleepy");
  const other = await host.report("ann", "Sleepy too");
  await as("adam");
  await page.goto("/issues/open?query=sleepy");
  await expect(page.locator("[data-issue]")).toHaveCount(2);
  await page.keyboard.press("j");
  await page.keyboard.press("x");
  await page.keyboard.press("j");
  await page.keyboard.press("x");
  await page.keyboard.press("s");
  const dialog = page.getByRole("dialog", { name: "Snooze issues" });
  await dialog.getByRole("button", { name: "Do it for 2" }).click();
  await expect(dialog.getByText("done")).toHaveCount(2);
  await dialog.getByRole("button", { name: "Close" }).last().click();
  await page.goto("/issues/open?query=sleepy");
  await expect(page.getByText("Nothing matches these filters.")).toBeVisible();
  await page.getByRole("link", { name: "Snoozed" }).click();
  await expect(page.getByText("Snoozed until something new happens").first()).toBeVisible();

  // Something new happens to one; the time of the other comes.
  await host.send("ann", "POST", `/issues/${number}/comments`, { content: "Again." });
  const until = new Date(Date.now() + 2_000).toISOString();
  await host.send("adam", "PUT", `/issues/${other}/snooze`, { until });
  await page.goto("/issues/open?query=sleepy");
  await expect(page.locator(`[data-issue="${number}"]`)).toBeVisible();
  await page.goto(`/issues/${other}`);
  await expect(async () => {
    await page.goto("/issues/open?query=sleepy");
    await expect(page.locator("[data-issue]")).toHaveCount(2, { timeout: 1_000 });
  }).toPass();
  await page.goto(`/issues/${number}`);
  await page.getByRole("button", { name: "Snooze…" }).click();
  await dialog.getByLabel("Until").selectOption("week");
  await dialog.getByRole("button", { name: "Do it for 1" }).click();
  await expect(page.locator(".issue-head")).toContainText("Snoozed until");
  await page.getByRole("button", { name: "End the snooze" }).click();
  await expect(page.locator(".issue-head")).not.toContainText("Snoozed until");
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
