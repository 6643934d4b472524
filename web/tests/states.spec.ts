// What each view shows while it has nothing to show: it loads, there is nothing, it failed,
// the connection is away, the role may not. And all of it by keyboard.
import { expect, test } from "./test";

const READS = {
  "/issues/open": "/api/v1/issues?**",
  "/issues/history": "/api/v1/issues?**",
  "/policies": "/api/v1/policies",
  "/decisions": "/api/v1/decisions**",
  "/audit": "/api/v1/audit?**",
  "/insights": "/api/v1/audit?**",
  "/host": "/api/v1/autonomy",
  "/people": "/api/v1/users",
} as const;

test("each view says that it loads, that it failed, and that nobody answers", async ({
  page,
  as,
  host,
}) => {
  const number = await host.report("adam", "For its states");
  await as("adam");
  const all = { ...READS, [`/issues/${number}`]: `/api/v1/issues/${number}` };
  for (const [place, read] of Object.entries(all)) {
    let answer = () => {};
    const held = new Promise<void>((go) => {
      answer = go;
    });
    await page.route(`**${read}`, async (route) => {
      await held;
      await route.fulfill({
        status: 500,
        contentType: "application/problem+json",
        body: JSON.stringify({
          type: "about:blank",
          title: "Broken",
          status: 500,
          detail: "It broke.",
        }),
      });
    });
    await page.goto(place);
    await expect(page.getByText("Loading…").first(), place).toBeVisible();
    answer();
    await expect(page.getByText("It broke.").first(), place).toBeVisible();
    await expect(page.getByRole("button", { name: "Try again" }).first(), place).toBeVisible();
    await page.unroute(`**${read}`);
    await page.route(`**${read}`, (route) => route.abort());
    await page.getByRole("button", { name: "Try again" }).first().click();
    await expect(page.getByText("No connection").first(), place).toBeVisible();
    await page.unroute(`**${read}`);
    await page.getByRole("button", { name: "Try again" }).first().click();
    await expect(page.getByText("No connection"), place).toHaveCount(0);
    await expect(page.getByText("It broke."), place).toHaveCount(0);
  }
});

test("each view says what it is empty of", async ({ page, as }) => {
  await as("adam");
  for (const place of ["/issues/open", "/issues/history"]) {
    await page.goto(`${place}?query=${encodeURIComponent('"nobody ever wrote this"')}`);
    await expect(page.getByText("Nothing matches these filters.")).toBeVisible();
  }
  await page.goto("/decisions");
  await page.getByLabel("Decisions on").selectOption("admission");
  await expect(page.getByText("No such decision so far.")).toBeVisible();
  await page.route("**/api/v1/autonomy/preview", async (route) => {
    const response = await route.fetch();
    await route.fulfill({ response, json: { ...(await response.json()), patches: [] } });
  });
  await page.goto("/host");
  await expect(page.getByText("No patch was decided on in the last seven days.")).toBeVisible();
});

test("what a role may not see says so, and is not asked for", async ({ page, as }) => {
  const refused: Record<string, string[]> = {
    ann: ["/policies", "/decisions", "/audit", "/insights", "/host", "/people"],
    audrey: ["/issues/report", "/host", "/people"],
    gus: ["/issues/open", "/issues/report", "/policies", "/audit", "/host", "/people"],
  };
  for (const [who, places] of Object.entries(refused)) {
    await page.context().clearCookies();
    await as(who as "ann");
    for (const place of places) {
      await page.goto(place);
      await expect(page.getByRole("heading", { name: "Not for your role" })).toBeVisible();
    }
  }
});

test("by keyboard alone: every stop is seen, and an issue is triaged and approved", async ({
  page,
  as,
  host,
}) => {
  const number = await host.report("ann", "Keyboard only");
  await as("adam");
  for (const place of ["/issues/open", `/issues/${number}`, "/host", "/policies"]) {
    await page.goto(place);
    await expect(page.getByText("live", { exact: true }).first()).toBeVisible();
    await page.keyboard.press("Tab");
    await expect(page.getByRole("link", { name: "Skip to the content" })).toBeFocused();
    for (let stop = 0; stop < 40; stop++) {
      await page.keyboard.press("Tab");
      const seen = await page.evaluate(() => {
        const part = document.activeElement;
        if (part === null || part === document.body) return "end";
        const { outlineStyle, outlineWidth, boxShadow } = getComputedStyle(part);
        const box = part.getBoundingClientRect();
        const marked = (outlineStyle !== "none" && outlineWidth !== "0px") || boxShadow !== "none";
        const inside = box.bottom > 0 && box.top < innerHeight && box.width > 0;
        return marked && inside
          ? ""
          : `${part.outerHTML.slice(0, 200)}: ${outlineStyle} ${box.top}`;
      });
      if (seen === "end") break;
      expect(seen, `${place}, stop ${stop}`).toBe("");
    }
  }
  await page.goto("/issues/open?query=keyboard");
  await expect(page.locator(`[data-issue="${number}"]`)).toBeVisible();
  await page.keyboard.press("j");
  await page.keyboard.press("v");
  const dialog = page.getByRole("dialog", { name: "Set severity" });
  await expect(dialog).toBeVisible();
  await dialog.getByLabel("Severity").focus();
  await page.keyboard.press("h");
  await page.keyboard.press("Tab");
  await page.keyboard.press("Tab");
  await page.keyboard.press("Enter");
  await expect(dialog.getByText("done")).toBeVisible();
  await page.keyboard.press("Escape");
  await expect(page.locator(`[data-issue="${number}"]`)).toBeFocused();
  await page.keyboard.press("Enter");
  await expect(page.locator(".issue-head").getByText("High")).toBeVisible();
  const approve = page.getByRole("button", { name: "Approve: let an agent start" });
  while (!(await approve.evaluate((button) => button === document.activeElement))) {
    await page.keyboard.press("Tab");
  }
  await page.keyboard.press("Enter");
  await expect(page.locator(".issue-head").getByText("Open", { exact: true })).toHaveCount(0);
});

test("what comes in does not move what one reads", async ({ page, as, host }) => {
  await host.send("adam", "PUT", "/autonomy", { level: 1, reason: "review every patch" });
  const number = await host.report("ann", "The discount starts too late", {
    description: Array.from({ length: 40 }, (_, at) => `Line ${at}`).join("\n"),
  });
  for (let at = 0; at < 3; at++) {
    await host.send("ann", "POST", `/issues/${number}/comments`, { content: `Comment ${at}` });
  }
  await as("adam");
  await page.goto(`/issues/${number}`);
  await expect(page.locator(".markdown")).toHaveCount(3);
  // The text as it was sent stands there until the renderer is loaded.
  await expect(page.locator(".markdown > .text")).toHaveCount(0);
  const reading = page.getByText("Comment 1");
  await reading.scrollIntoViewIfNeeded();
  await reading.hover();
  const top = async () => (await reading.boundingBox())?.y ?? Number.NaN;
  const before = await top();
  await host.send("adam", "PATCH", `/issues/${number}/approve`, {});
  await expect(page.locator(".issue-head").getByText("Patch to review")).toBeAttached();
  await expect(page.locator(".diff-row").first()).toBeAttached();
  // Findings, patch and proof came in above; the comment is where it was.
  await expect.poll(async () => Math.abs((await top()) - before)).toBeLessThanOrEqual(2);
  // Nor what one writes.
  const comment = page.getByLabel("Your comment");
  await comment.focus();
  const field = async () => (await comment.boundingBox())?.y ?? Number.NaN;
  const written = await field();
  for (let at = 3; at < 6; at++) {
    await host.send("ann", "POST", `/issues/${number}/comments`, { content: `Comment ${at}` });
  }
  await expect(page.getByText("Comment 5")).toBeAttached();
  await expect.poll(async () => Math.abs((await field()) - written)).toBeLessThanOrEqual(2);
  await expect(comment).toBeFocused();
});
