import { expect, test } from "./test";

// Before the one below: that one heals what is wrong with this host's application.
test("an attempt is repeated from one of its steps, and keeps what came before", async ({
  page,
  as,
  host,
}) => {
  await host.send("adam", "PUT", "/autonomy", { level: 0, reason: "look first" });
  const number = await host.report("ann", "Discounts begin one too late", { service: "shop" });
  await host.send("adam", "PATCH", `/issues/${number}/approve`, {});
  await as("adam");
  await page.goto(`/issues/${number}`);
  const lane = page.getByRole("region", { name: "What happens" });
  const draft = lane.getByRole("button", { name: "Retry from here: same cause, new patch" });
  await draft.click();
  await expect(page.getByText("no attempt goes on after the diagnosis")).toBeVisible();

  await host.send("adam", "PUT", "/autonomy", { level: 1, reason: "review every patch" });
  await draft.click();
  await expect(lane.locator(".steps").getByText("the cause that was found is kept")).toBeVisible();
  const review = page.getByRole("region", { name: "Review this patch" });
  const digest = review.locator(".digest");
  await expect(digest).toBeVisible();
  const first = await digest.textContent();
  await expect(lane.getByRole("button", { name: /^Retry/ })).toHaveCount(0);

  await host.send("adam", "POST", `/issues/${number}/abort`, { reason: "not now" });
  await lane.getByRole("button", { name: "Retry from here: same patch" }).first().click();
  await expect(lane.locator(".steps").getByText("cause and patch are kept")).toBeVisible();
  await expect(lane.getByRole("heading", { name: /Attempt 3/ })).toBeVisible();
  await expect(digest).toHaveText(first ?? "");
  const kept = lane.locator(".steps").last();
  await expect(kept.getByText("the patch fixes the failure")).toBeVisible();
  await expect(kept.getByText("tool call")).toHaveCount(1);

  // Reviewed once more; a rejected one ends it.
  await review.getByRole("button", { name: "Reject for good…" }).click();
  const dialog = page.getByRole("dialog");
  await dialog.getByLabel("Reason").fill("The test is wrong.");
  await dialog.getByRole("button", { name: "Reject for good" }).click();
  await expect(page.locator(".issue-head").getByText("Rejected")).toBeVisible();
  await expect(lane.getByRole("button", { name: /^Retry/ })).toHaveCount(0);
});

test("report, approve, watch, review, healed: live for admin and reporter", {
  tag: "@sample",
}, async ({ page, as, beside, host }) => {
  await host.send("adam", "PUT", "/autonomy", { level: 1, reason: "review every patch" });
  const number = await host.report("ann", "The discount starts too late", { service: "shop" });
  const reporter = await beside("ann");
  await reporter.goto(`/issues/${number}`);
  await expect(reporter.getByText("waiting for an admin")).toBeVisible();

  await as("adam");
  await page.goto(`/issues/${number}`);
  await page.getByLabel("Severity", { exact: true }).selectOption("HIGH");
  await expect(page.locator(".issue-head").getByText("High")).toBeVisible();
  await page.getByRole("button", { name: "Approve: let an agent start" }).click();

  // The button is gone; the keyboard is where it was.
  await expect(page.getByRole("region", { name: "What you can do" })).toBeFocused();

  // Nobody reloads from here on.
  const lane = page.getByRole("region", { name: "What happens" });
  await expect(lane.locator(".steps").getByText("cause found")).toBeVisible();
  await expect(lane.getByText("tool calls").first()).toBeVisible();
  const patch = page.getByRole("region", { name: "Review this patch" });
  await expect(patch.getByText("of 100")).toBeVisible();
  await expect(patch.getByText("rollback rehearsal")).toBeVisible();
  await expect(reporter.getByText("an admin is looking at the fix")).toBeVisible();

  const diff = patch.getByRole("region", { name: "Differences" });
  await expect(diff.locator(".del code")).toContainText("if amount > discount_from:");
  await expect(diff.locator(".add mark")).toHaveText("=");
  await diff.focus();
  await page.keyboard.press("u");
  await expect(patch.getByRole("button", { name: "Unified" })).toHaveAttribute(
    "aria-pressed",
    "true",
  );
  await page.keyboard.press("n");
  await expect(patch.getByText("change 1 of 1")).toBeVisible();
  await expect(diff).toBeFocused();
  await diff.getByRole("button", { name: /unchanged lines/ }).click();
  await expect(diff.getByText("def cheapest(prices):")).toBeVisible();

  const other = await host.report("bob", "Totals are off by a tenth");
  await page.getByLabel("Issue number").fill(`#${other}`);
  await page.getByRole("button", { name: "Relate" }).click();
  await expect(page.getByRole("link", { name: "Totals are off by a tenth" })).toBeVisible();

  const comment = page.getByLabel("Your comment");
  await comment.fill("**Looks right** to me.");
  await page.getByRole("button", { name: "Comment" }).click();
  await expect(page.locator(".markdown strong")).toHaveText("Looks right");

  await patch.getByRole("button", { name: "Approve this patch" }).click();
  await comment.focus();
  await expect(page.locator(".issue-head").getByText("Resolved")).toBeVisible();
  await expect(comment, "what happens never takes the keyboard away").toBeFocused();
  await expect(page.getByText("Checks on the running application")).toBeVisible();
  await expect(page.getByText(/^git show --show-signature/).first()).toBeVisible();
  const commits = page.getByRole("region", { name: "Commits" });
  await commits.getByText("Trailers", { exact: true }).click();
  await expect(commits.locator("dl")).toContainText("Selfheal-Kind");
  await expect(commits.locator("dl")).toContainText(/admin-[0-9a-f]{12}/);
  await expect(reporter.getByText("repaired and checked")).toBeVisible();
  await expect(reporter.getByRole("region", { name: "What happens" })).toHaveCount(0);

  await page.getByRole("link", { name: "History" }).click();
  await expect(page.getByRole("link", { name: "The discount starts too late" })).toBeVisible();
});

test("rejecting and aborting ask for a reason, which the reporter reads", async ({
  page,
  as,
  beside,
  host,
}) => {
  const number = await host.report("ann", "The logo is too small");
  await as("adam");
  await page.goto(`/issues/${number}`);
  await page.getByRole("button", { name: "Reject…" }).click();
  const dialog = page.getByRole("dialog", { name: "Reject…" });
  await expect(dialog).toBeVisible();
  await page.keyboard.press("Escape");
  await expect(dialog).toHaveCount(0);
  await expect(page.getByRole("button", { name: "Reject…" })).toBeFocused();
  await page.getByRole("button", { name: "Reject…" }).click();
  await dialog.getByLabel("Reason").fill("It is meant to be that small.");
  await dialog.getByRole("button", { name: "Reject the issue" }).click();
  await expect(page.locator(".issue-head").getByText("Rejected")).toBeVisible();
  await expect(page.getByRole("button", { name: "Abort…" })).toHaveCount(0);

  const reporter = await beside("ann");
  await reporter.goto(`/issues/${number}`);
  await expect(reporter.getByText("Because: It is meant to be that small.")).toBeVisible();
});

test("a diff of 50,000 lines draws only what is in sight", async ({ page, as, host }) => {
  const number = await host.report("adam", "Everything is wrong");
  const lines = Array.from({ length: 25_000 }, (_, at) => `-old ${at}\n+new ${at}`).join("\n");
  const patchDiff = `diff --git a/big.py b/big.py\n--- a/big.py\n+++ b/big.py\n@@ -1,25000 +1,25000 @@\n${lines}\n@@ -30000 +30000 @@\n-a\n+b\n`;
  await as("audrey");
  await page.route(`**/api/v1/issues/${number}`, async (route) => {
    const response = await route.fetch();
    await route.fulfill({ response, json: { ...(await response.json()), patchDiff } });
  });
  await page.addInitScript(() => {
    const tasks: number[] = [];
    Object.assign(window, { tasks });
    new PerformanceObserver((list) => {
      for (const task of list.getEntries()) tasks.push(task.duration);
    }).observe({ type: "longtask", buffered: true });
  });
  /** The longest task of the browser since the last time; below 50 ms it tells of none. */
  const longest = () =>
    page.evaluate(() => {
      const { tasks } = window as unknown as { tasks: number[] };
      return Math.round(Math.max(0, ...tasks.splice(0)));
    });
  await page.goto(`/issues/${number}`);
  const diff = page.getByRole("region", { name: "Differences" });
  await expect(diff.getByText("new 3", { exact: true })).toBeVisible();
  expect(await diff.locator(".diff-row").count()).toBeLessThan(300);
  console.log(`50,000 lines opened: longest task ${await longest()} ms`);

  // From end to end, a screen at a time and in leaps; the last line is there.
  const frames = await diff.evaluate(async (box) => {
    const gaps: number[] = [];
    let last = performance.now();
    for (let step = 0; step < 200; step++) {
      const leap = step < 100 ? box.clientHeight : box.scrollHeight / 100;
      box.scrollBy(0, leap);
      await new Promise(requestAnimationFrame);
      gaps.push(performance.now() - last);
      last = performance.now();
    }
    return Math.round(Math.max(...gaps));
  });
  console.log(`scrolled: longest task ${await longest()} ms, slowest frame ${frames} ms`);
  await diff.evaluate((box) => box.scrollTo(0, box.scrollHeight));
  await expect(diff.getByText("30000").first()).toBeVisible();
  expect(await diff.locator(".diff-row").count()).toBeLessThan(300);
  await diff.evaluate((box) => box.scrollTo(0, 0));
  await expect(diff.getByText("new 3", { exact: true })).toBeVisible();

  await diff.focus();
  await page.keyboard.press("n");
  await page.keyboard.press("n");
  await expect(page.getByText("change 2 of 2")).toBeVisible();
  await expect(diff.getByText("30000").first()).toBeVisible();
  await page.keyboard.press("u");
  await expect(diff.getByText("30000").first()).toBeAttached();
  console.log(`next change, other layout: longest task ${await longest()} ms`);
});

test("side by side, both sides of long lines are in sight", async ({ page, as, host }) => {
  const number = await host.report("adam", "Long lines");
  const long = "argument, ".repeat(40);
  const patchDiff = `diff --git a/a.py b/a.py\n--- a/a.py\n+++ b/a.py\n@@ -1 +1 @@\n-call(${long}1)\n+call(${long}2)\n`;
  await as("audrey");
  await page.route(`**/api/v1/issues/${number}`, async (route) => {
    const response = await route.fetch();
    await route.fulfill({ response, json: { ...(await response.json()), patchDiff } });
  });
  for (const [width, layout] of [
    [1440, "Side by side"],
    [390, "Unified"],
  ] as const) {
    await page.setViewportSize({ width, height: 900 });
    await page.goto(`/issues/${number}`);
    await expect(page.getByRole("button", { name: layout })).toHaveAttribute(
      "aria-pressed",
      "true",
    );
    const diff = page.getByRole("region", { name: "Differences" });
    for (const side of [".del mark", ".add mark"]) {
      await diff.locator(side).scrollIntoViewIfNeeded();
      await expect(diff.locator(side)).toBeInViewport({ ratio: 1 });
    }
    expect(await diff.evaluate((box) => box.scrollWidth - box.clientWidth)).toBe(0);
  }
});
