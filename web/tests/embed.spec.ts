// The issues in a page of another application.
import { createServer, type Server } from "node:http";
import { expect, test } from "./test";

/** A page of an application of its own, with all that its own policy may demand. */
function application(home: string, port: number): Promise<Server> {
  const page = `<!doctype html><html lang="en"><title>Shop</title><h1>Shop</h1>
<script src="${home}/embed.js"></script><selfheal-issues tab="report"></selfheal-issues></html>`;
  const policy = `default-src 'none'; script-src ${home}; frame-src ${home}`;
  const server = createServer((_, answer) => {
    answer.writeHead(200, {
      "content-type": "text/html; charset=utf-8",
      "content-security-policy": policy,
    });
    answer.end(page);
  });
  return new Promise((up) => {
    server.listen(port, "127.0.0.1", () => up(server));
  });
}

test("another application's page shows the issues, and only where the settings say so", {
  tag: "@sample",
}, async ({ page, host }) => {
  const shop = await application(host.url, host.guestPort);
  try {
    await page.goto(`http://127.0.0.1:${host.guestPort}/`);
    const framed = page.frameLocator("iframe");
    await framed.getByLabel("User name").fill("adam");
    await framed.getByLabel("Password or token").fill(host.tokens.adam);
    await framed.getByRole("button", { name: "Log in" }).click();

    // The issues alone: no menu, and nothing to decide with somebody else's page around it.
    await expect(framed.getByLabel("Title")).toBeVisible();
    await expect(framed.getByRole("navigation", { name: "Main menu" })).toHaveCount(0);
    await framed.getByLabel("Title").fill("From within the shop");
    await framed.getByLabel("What is wrong?").fill("The frame works.");
    await framed.getByRole("button", { name: "Send the report" }).click();
    await framed.getByRole("link", { name: /^Follow/ }).click();
    await expect(framed.getByRole("heading", { name: /From within the shop/ })).toBeVisible();
    await expect(framed.getByRole("button", { name: /^Approve/ })).toHaveCount(0);

    // As high as what is in it, with nothing of ours in the page around.
    const high = () => page.evaluate(() => document.body.scrollHeight);
    await expect.poll(high).toBeGreaterThan(700);
    const left = await page.evaluate(() => Object.keys(window).filter((name) => name.length < 3));
    expect(left).toEqual([]);

    // Another origin, for the same page.
    const refused = page.waitForEvent("console", (message) =>
      message.text().includes("frame-ancestors"),
    );
    await page.goto(`http://localhost:${host.guestPort}/`);
    await refused;
    await expect(page.frameLocator("iframe").getByLabel("Title")).toHaveCount(0);
  } finally {
    shop.close();
    shop.closeAllConnections();
  }
});
