// Text that wants to be more than text, in every field and wherever it is shown.
import { createServer } from "node:http";
import type { Page } from "@playwright/test";
import { expect, test } from "./test";

const BYTES = 64 * 1024;
const filled = (piece: string) =>
  piece.repeat(Math.floor(BYTES / new TextEncoder().encode(piece).length));

const HOSTILE: Record<string, string> = {
  script: "<script>alert(1)</script><img src=x onerror=alert(2)><svg/onload=alert(3)>",
  "right to left": "\u202Egnp.exe \u2066RTL\u2069 \u0645\u0631\u062D\u0628\u0627 \u200F(1)",
  // biome-ignore lint/suspicious/noTemplateCurlyInString: templates must not run
  tricks: "../../etc/passwd %2e%2e%2f C:\\con ${7*7} {{7*7}} 🐘🏳️‍🌈 \u001b[31m Z̸̡̢͎͓a̷̛l̵g̶o",
  word: "W".repeat(200),
};
const LONG: Record<string, string> = {
  "one word": filled("W"),
  emoji: filled("🏳️‍🌈"),
  "right to left": filled("مرحبا "),
  markup: filled("<b>![a](javascript:alert(4)) `x` "),
};

/** Nothing of it became an element, and nothing pushes the page apart. */
async function harmless(page: Page, where: string) {
  const found = page.locator("main img, main script, main svg[onload], main [href^='javascript']");
  await expect(found, where).toHaveCount(0);
  for (const width of [1280, 390]) {
    await page.setViewportSize({ width, height: 860 });
    const wide = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
    expect(wide, `${where}, ${width} wide`).toBeLessThanOrEqual(0);
  }
  await page.setViewportSize({ width: 1280, height: 860 });
}

test("hostile text in every field is text", { tag: "@sample" }, async ({ page, as, host }) => {
  await as("adam");
  for (const [what, text] of Object.entries(HOSTILE)) {
    const number = await host.report("adam", text, {
      description: `${text}\n${text}`,
      stepsToReproduce: text,
      expectedBehavior: text,
      actualBehavior: text,
      service: text,
    });
    await host.send("adam", "POST", `/issues/${number}/comments`, {
      content: `${text}\n\n[a](javascript:alert(3)) ![b](http://192.0.2.1/x.png) <b>c</b>\n\n# big`,
    });
    await host.send("adam", "PUT", `/views/${encodeURIComponent(`${what} <b>\u202E`)}`, {
      query: JSON.stringify(text.replaceAll("\u001b", "").slice(0, 20)),
    });
    await page.goto(`/issues/${number}`);
    await expect(page.getByRole("heading", { level: 1 })).toContainText(text.slice(0, 9));
    const talk = page.getByRole("region", { name: "Comments" });
    await expect(talk.locator(".heading")).toHaveText("big");
    await expect(talk.locator("b")).toHaveCount(0);
    await harmless(page, `issue, ${what}`);
    await page.goto(`/issues/open?query=${encodeURIComponent(JSON.stringify(text.slice(0, 9)))}`);
    await expect(page.locator(`[data-issue="${number}"]`)).toBeVisible();
    await harmless(page, `list, ${what}`);
  }
  for (const place of ["/issues/open", "/audit", "/issues/report"]) {
    await page.goto(place);
    await expect(page.getByRole("heading", { level: 1 })).toBeVisible();
    await expect(page.getByText("Loading…")).toHaveCount(0);
    await harmless(page, place);
  }
});

test("64 KiB in every field are reported, shown and said", async ({ page, as, host }) => {
  await as("adam");
  for (const [what, text] of Object.entries(LONG)) {
    const number = await host.report("adam", `Long: ${what}`, {
      description: text,
      stepsToReproduce: text,
      expectedBehavior: text,
      actualBehavior: text,
    });
    await host.send("adam", "POST", `/issues/${number}/comments`, { content: text });
    await page.goto(`/issues/${number}`);
    await expect(page.locator(".text").first()).toContainText(text.slice(0, 20));
    await expect(page.getByLabel("Your comment")).toBeVisible();
    await harmless(page, what);
  }
});

test("the report's own form takes hostile text and shows it to its reporter", async ({
  page,
  as,
}) => {
  await as("ann");
  for (const text of Object.values(HOSTILE)) {
    await page.goto("/issues/report");
    await page.getByLabel("Title").fill(text);
    for (const label of ["What is wrong?", "How can one see it?", "Which part is it?"]) {
      await page.getByLabel(label).fill(text);
    }
    await harmless(page, "report");
    await page.getByRole("button", { name: "Send the report" }).click();
    await page.getByRole("link", { name: /^Follow/ }).click();
    await expect(page.getByText("waiting for an admin to look at it")).toBeVisible();
    await page.getByLabel("Your comment").fill(text);
    await page.getByRole("button", { name: "Comment" }).click();
    await expect(page.locator(".markdown")).toHaveCount(1);
    await harmless(page, "reporter's page");
  }
});

test("hostile text stays text in another application's page", async ({ page, host }) => {
  const text = HOSTILE.script ?? "";
  const number = await host.report("adam", text, { description: filled("<i>W") });
  const shop = createServer((_, answer) => {
    answer.writeHead(200, { "content-type": "text/html; charset=utf-8" });
    answer.end(
      `<!doctype html><html lang="en"><title>Shop</title><script src="${host.url}/embed.js"></script><selfheal-issues></selfheal-issues></html>`,
    );
  });
  await new Promise<void>((up) => {
    shop.listen(host.guestPort, "127.0.0.1", up);
  });
  try {
    await page.goto(`http://127.0.0.1:${host.guestPort}/`);
    const framed = page.frameLocator("iframe");
    await framed.getByLabel("User name").fill("adam");
    await framed.getByLabel("Password or token").fill(host.tokens.adam);
    await framed.getByRole("button", { name: "Log in" }).click();
    await framed.locator(`[data-issue="${number}"]`).click();
    await expect(framed.getByRole("heading", { level: 1 })).toContainText("<script>");
    await expect(framed.locator("main img, main script")).toHaveCount(0);
    const wide = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
    expect(wide).toBeLessThanOrEqual(0);
  } finally {
    shop.close();
    shop.closeAllConnections();
  }
});
