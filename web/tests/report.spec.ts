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
  await page.getByLabel("Title").fill("x".repeat(201));
  await expect(page.getByText("has more than 200 characters")).toBeVisible();
  await page.getByLabel("Title").fill("Blank");
  await page.getByLabel("What is wrong?").fill("   ");
  await page.getByRole("button", { name: "Send the report" }).click();
  await expect(page.getByRole("alert")).toBeVisible();
  await expect(page.getByLabel("What is wrong?")).toHaveAttribute("aria-invalid", "true");
  await expect(page.getByLabel("What is wrong?")).toBeFocused();
});

test("likely duplicates appear while typing", async ({ page, as, host }) => {
  const number = await host.report("ann", "Invoices arrive twice every Monday");
  await as("ann");
  await page.goto("/issues/report");
  await page.getByLabel("Title").pressSequentially("Invoices sent twice on monday");
  const found = page.getByRole("complementary", { name: "Reported before?" });
  await expect(found.getByRole("link", { name: `#${number}` })).toBeVisible();
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

const HOSTILE = [
  "<script>alert(1)</script><img src=x onerror=alert(2)>",
  "\u202Egnp.exe \u2066RTL\u2069 \u0645\u0631\u062D\u0628\u0627",
  // biome-ignore lint/suspicious/noTemplateCurlyInString: templates must not run
  "../../etc/passwd %2e%2e%2f ${7*7} {{7*7}} 🐘🏳️‍🌈",
];

test("hostile text in every field is text", { tag: "@sample" }, async ({ page, as, host }) => {
  await as("adam");
  for (const text of HOSTILE) {
    const number = await host.report("adam", text, {
      description: `${text}\n${"Ж".repeat(20_000)}`,
      stepsToReproduce: text,
      expectedBehavior: text,
      actualBehavior: text,
      service: text,
    });
    await host.send("adam", "POST", `/issues/${number}/comments`, {
      content: `${text}\n\n[a](javascript:alert(3)) ![b](http://192.0.2.1/x.png) <b>c</b>\n\n# big`,
    });
    await page.goto(`/issues/${number}`);
    await expect(page.getByRole("heading", { level: 1 })).toContainText(text);
    const talk = page.getByRole("region", { name: "Comments" });
    await expect(talk.locator(".heading")).toHaveText("big");
    await expect(talk.locator("img, b, script, [href^='javascript']")).toHaveCount(0);
    await page.goto(`/issues/open?q=${encodeURIComponent(text.slice(0, 20))}`);
    await expect(page.getByRole("heading", { level: 1 })).toBeVisible();
    const wide = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
    expect(wide, "nothing pushes the page apart").toBeLessThanOrEqual(0);
  }
});
