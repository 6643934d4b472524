import { expect, test } from "./test";

test("a report by keyboard alone: draft kept, sent, followed", { tag: "@sample" }, async ({
  page,
  as,
}) => {
  await as("ann");
  await page.goto("/issues/open");
  const report = page.getByRole("link", { name: "Report Issue" });
  while (!(await report.evaluate((link) => link === document.activeElement))) {
    await page.keyboard.press("Tab");
  }
  await page.keyboard.press("Enter");
  const title = page.getByLabel("Title");
  while (!(await title.evaluate((field) => field === document.activeElement))) {
    await page.keyboard.press("Tab");
  }
  await page.keyboard.type("The receipt shows no total");
  await page.keyboard.press("Tab");
  await page.keyboard.type("Since this morning.");

  await page.reload();
  await expect(page.getByLabel("Title")).toHaveValue("The receipt shows no total");
  await expect(page.getByText("nothing is sent yet")).toBeVisible();

  const send = page.getByRole("button", { name: "Send the report" });
  while (!(await send.evaluate((button) => button === document.activeElement))) {
    await page.keyboard.press("Tab");
  }
  await page.keyboard.press("Enter");
  await expect(page.getByRole("heading", { name: /Report #\d+ is sent/ })).toBeFocused();
  await page.keyboard.press("Tab");
  await page.keyboard.press("Enter");
  await expect(page.getByRole("heading", { name: /The receipt shows no total/ })).toBeVisible();
  await expect(page.getByText("waiting for an admin to look at it")).toBeVisible();

  await page.goto("/issues/report");
  await expect(page.getByLabel("Title")).toHaveValue("");
});

test("what is wrong is said at its field, which gets the keyboard", async ({ page, as }) => {
  await as("ann");
  await page.goto("/issues/report");
  const send = page.getByRole("button", { name: "Send the report" });
  await send.click();
  await expect(page.getByLabel("Title")).toBeFocused();
  await expect(page.getByText("is missing")).toHaveCount(2);
  await page.getByLabel("Title").fill("x".repeat(201));
  await expect(page.getByText("has more than 200 characters")).toBeVisible();
  await page.getByLabel("Title").fill("Blank");
  await page.getByLabel("What is wrong?").fill("   ");
  await send.click();
  await expect(page.getByRole("alert")).toBeVisible();
  await expect(page.getByLabel("What is wrong?")).toHaveAttribute("aria-invalid", "true");
  await expect(page.getByLabel("What is wrong?")).toBeFocused();
});

test("likely duplicates appear while typing, at the title on a phone", async ({
  page,
  as,
  host,
}) => {
  const number = await host.report("ann", "Invoices arrive twice every Monday");
  await as("ann");
  await page.goto("/issues/report");
  await page.getByLabel("Title").pressSequentially("Invoices sent twice on monday");
  const found = page.getByRole("complementary", { name: "Reported before?" });
  await expect(found.getByRole("link", { name: `#${number}` })).toBeVisible();
  await page.setViewportSize({ width: 390, height: 844 });
  await expect(page.locator("#report-title ~ aside").getByRole("link")).toBeInViewport();
});

test("a lost connection loses nothing", async ({ page, as, context }) => {
  await as("ann");
  await page.goto("/issues/report");
  await page.getByLabel("Title").fill("Offline for a while");
  await page.getByLabel("What is wrong?").fill("The train was in a tunnel.");
  await page.route("**/api/v1/issues", (route) => route.abort());
  await page.getByRole("button", { name: "Send the report" }).click();
  await expect(page.getByRole("alert")).toContainText("cannot be reached");
  await page.unroute("**/api/v1/issues");
  await context.setOffline(true);
  await expect(page.getByText("The host cannot be reached").first()).toBeVisible();
  await context.setOffline(false);
  await page.getByRole("button", { name: "Send the report" }).click();
  await expect(page.getByRole("heading", { name: /is sent/ })).toBeVisible();
});

test("somebody else's issue is nowhere", { tag: "@sample" }, async ({ page, as, host }) => {
  const number = await host.report("ann", "Only for Ann");
  await as("bob");
  await page.goto(`/issues/${number}`);
  await expect(page.getByRole("heading", { name: "There is nothing here" })).toBeVisible();
  await page.goto("/issues/open");
  await expect(page.getByText("Only for Ann")).toHaveCount(0);
});
