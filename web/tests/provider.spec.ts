// Logging in at a provider of identities whose certificate a private authority vouches for.
import type { BrowserContextOptions } from "@playwright/test";
import { Host } from "./host";
import { AUTHORITY, CLIENT, Provider, STRANGER } from "./provider";
import { test as base, expect } from "./test";

type Fixtures = { provider: Provider };

const test = base.extend<Fixtures>({
  // biome-ignore lint/correctness/noEmptyPattern: Playwright reads the names in the pattern
  provider: async ({}, use) => {
    const provider = await Provider.start();
    await use(provider);
    provider.stop();
  },
});

/** The browser takes the provider's certificate as it is; the host must not. */
const BROWSER: BrowserContextOptions = { ignoreHTTPSErrors: true };
test.use(BROWSER);

function start(provider: Provider, authority: string): Promise<Host> {
  return Host.start(
    undefined,
    (url) => `
[server.oidc]
issuer = "${provider.issuer}"
client_id = "${CLIENT}"
redirect_url = "${url}/api/v1/session/oidc/callback"
label = "Our own ID"
ca_file = "${authority}"
`,
  );
}

test("people log in at the provider, go on where they were, and log out", {
  tag: "@sample",
}, async ({ page, provider }) => {
  const host = await start(provider, AUTHORITY);
  try {
    await page.goto(`${host.url}/issues/report?x=1`);
    await page.getByRole("link", { name: "Log in with Our own ID" }).click();
    await page.getByRole("link", { name: "Continue as nobody" }).click();
    await expect(page.getByRole("alert")).toContainText("have no account here");
    await expect(page).toHaveURL(`${host.url}/?login=unknown`);

    await page.goto(`${host.url}/issues/report?x=1`);
    await page.getByRole("link", { name: "Log in with Our own ID" }).click();
    await page.getByRole("link", { name: "Continue as ann" }).click();
    await expect(page).toHaveURL(`${host.url}/issues/report?x=1`);
    await expect(page.getByRole("link", { name: "ann user" })).toBeVisible();

    // A session like any other: it is kept, and it acts.
    await page.reload();
    await page.getByLabel("Title").fill("Found by ann");
    await page.getByLabel("What is wrong?").fill("After logging in elsewhere.");
    await page.getByRole("button", { name: "Send the report" }).click();
    await expect(page.getByRole("heading", { name: "Report #1 is sent" })).toBeVisible();

    // Whoever logs in there has no password here.
    await page.getByRole("link", { name: "ann user" }).click();
    const password = page.getByRole("region", { name: "Password" });
    await expect(password).toContainText("You log in at the provider of identities");
    await expect(password.getByRole("textbox")).toHaveCount(0);

    await page.getByRole("button", { name: "Log out" }).click();
    await expect(page.getByRole("heading", { name: "Log in to Selfheal" })).toBeVisible();
    await page.goto(`${host.url}/issues/open`);
    await expect(page.getByRole("heading", { name: "Log in to Selfheal" })).toBeVisible();
  } finally {
    await host.stop();
  }
});

test("a provider whom another authority vouches for is not believed", async ({
  page,
  provider,
}) => {
  const host = await start(provider, STRANGER);
  try {
    await page.goto(host.url);
    await page.getByRole("link", { name: "Log in with Our own ID" }).click();
    await expect(page.getByRole("alert")).toContainText("cannot be reached");
    await expect(page).toHaveURL(`${host.url}/?login=unavailable`);
  } finally {
    await host.stop();
  }
});
