import { expect, test } from "./test";

test("logging in leads to the page that was asked for; logging out ends it", {
  tag: "@sample",
}, async ({ page, host }) => {
  await page.goto("/issues/history?query=severity:high");
  await page.getByLabel("User name").fill("adam");
  await page.getByLabel("Password or token").fill("wrong");
  await page.getByRole("button", { name: "Log in" }).click();
  await expect(page.getByRole("alert")).toBeVisible();
  await expect(page.getByLabel("User name")).toBeFocused();

  await page.getByLabel("Password or token").fill(host.tokens.adam);
  await page.getByRole("button", { name: "Log in" }).click();
  await expect(page.getByRole("link", { name: "History" })).toHaveAttribute("aria-current", "page");
  await expect(page.getByLabel("Severity", { exact: true })).toHaveValue("high");

  await page.getByRole("button", { name: "Log out" }).click();
  await expect(page.getByRole("heading", { name: "Log in to Selfheal" })).toBeVisible();
  await page.goto("/host");
  await expect(page.getByRole("heading", { name: "Log in to Selfheal" })).toBeVisible();
});

const MENUS = {
  gus: [],
  ann: ["Issues"],
  audrey: ["Issues", "Policies", "Decisions", "Audit", "Insights"],
  adam: ["Issues", "Policies", "Decisions", "Audit", "Insights", "Host", "People"],
} as const;

for (const [who, tiles] of Object.entries(MENUS)) {
  test(`${who} sees the tiles of the role, and no other page`, { tag: "@sample" }, async ({
    page,
    as,
  }) => {
    await as(who as keyof typeof MENUS);
    await page.goto("/");
    if (tiles.length === 0) {
      await expect(page.getByRole("heading", { name: "Not for your role" })).toBeVisible();
    }
    const menu = page.getByRole("navigation", { name: "Main menu" }).getByRole("link");
    await expect(menu).toHaveText([...tiles]);
    for (const name of ["Policies", "Decisions", "Audit", "Insights", "Host", "People"]) {
      if ((tiles as readonly string[]).includes(name)) continue;
      await page.goto(`/${name.toLowerCase()}`);
      await expect(page.getByRole("heading", { name: "Not for your role" })).toBeVisible();
    }
  });
}

test("an admin adds an account, whose token is shown once", async ({ page, as }) => {
  await as("adam");
  await page.goto("/people");
  const form = page.getByRole("region", { name: "New account" });
  await form.getByLabel("Name").fill("Not A Name");
  await form.getByRole("button", { name: "Add" }).click();
  await expect(form.getByRole("alert")).toContainText("name");
  await form.getByLabel("Name").fill("nina");
  await form.getByRole("button", { name: "Add" }).click();
  await expect(form.getByText(/^sfh_/)).toBeVisible();
  await expect(page.getByRole("rowheader", { name: "nina" })).toBeVisible();

  await page.getByRole("button", { name: "Manage nina" }).click();
  await page.getByRole("button", { name: "Revoke the first one" }).click();
  await page.getByRole("button", { name: "Revoke", exact: true }).last().click();
  await expect(page.getByText("There is none.")).toBeVisible();
  await page.getByRole("button", { name: "Close account" }).click();
  const sure = page.getByRole("dialog", { name: "Close the account of nina?" });
  await sure.getByRole("button", { name: "Close account" }).click();
  await expect(page.getByRole("dialog")).toHaveCount(0);
  const row = page.getByRole("row").filter({ hasText: "nina" });
  await expect(row.getByText("closed")).toBeVisible();
  await expect(row.getByRole("button")).toHaveCount(0);
});

test("an admin gives roles and passwords, and disables accounts; sessions end with it", {
  tag: "@sample",
}, async ({ page, as, host, browser }) => {
  await as("adam");
  await host.send("adam", "POST", "/users", { name: "olga", role: "user" });
  await page.goto("/people");
  const row = page.getByRole("row").filter({ hasText: "olga" });
  await row.getByRole("button", { name: "Manage olga" }).click();
  const dialog = page.getByRole("dialog", { name: "Account of olga" });
  await dialog.getByLabel("New password").fill("correct horse battery");
  await dialog.getByRole("button", { name: "Set password" }).click();
  await expect(page.getByRole("status").getByText("olga has another password")).toBeVisible();

  const hers = await browser.newPage({ baseURL: host.url });
  const logIn = async (password: string) => {
    await hers.goto("/account");
    await hers.getByLabel("User name").fill("olga");
    await hers.getByLabel("Password or token").fill(password);
    await hers.getByRole("button", { name: "Log in" }).click();
  };
  await logIn("correct horse battery");
  const own = hers.getByRole("region", { name: "Password" });
  await own.getByLabel("Password so far").fill("not that one, I think");
  await own.getByLabel("New password").fill("a battery of horses");
  await own.getByRole("button", { name: "Change" }).click();
  await expect(own.getByRole("alert")).toContainText("wrong");
  await own.getByLabel("Password so far").fill("correct horse battery");
  await own.getByLabel("New password").fill("a battery of horses");
  await own.getByRole("button", { name: "Change" }).click();
  await expect(own.getByRole("status")).toContainText("other sessions have ended");
  await hers.reload();
  await expect(hers.getByRole("link", { name: "olga user" })).toBeVisible();

  await dialog.getByLabel("Role").selectOption("auditor");
  await dialog.getByRole("button", { name: "Change role" }).click();
  await expect(row.locator("td", { hasText: "auditor" })).toBeVisible();
  await hers.goto("/account");
  await expect(hers.getByRole("heading", { name: "Log in to Selfheal" })).toBeVisible();

  await dialog.getByRole("button", { name: "Disable account" }).click();
  await expect(row.getByText("disabled")).toBeVisible();
  await logIn("a battery of horses");
  await expect(hers.getByRole("alert")).toContainText("disabled");
  await dialog.getByRole("button", { name: "Enable account" }).click();
  await expect(row.getByText("open", { exact: true })).toBeVisible();
  await logIn("a battery of horses");
  await expect(hers.getByRole("link", { name: "olga auditor" })).toBeVisible();
  await hers.close();

  await dialog.getByRole("button", { name: "Close", exact: true }).click();
  await page.getByRole("button", { name: "Manage adam" }).click();
  const last = page.getByRole("dialog", { name: "Account of adam" });
  await expect(last).toContainText("on the page of your account");
});

test("everybody makes tokens of their own, for some things and some time", {
  tag: "@sample",
}, async ({ page, as, host }) => {
  await as("ann");
  await page.goto("/");
  await page.getByRole("link", { name: "ann user" }).click();
  const form = page.getByRole("region", { name: "New token" });
  await expect(form.getByRole("checkbox")).toHaveCount(3);
  await form.getByLabel("What for").fill("laptop");
  await form.getByLabel("Good for").selectOption({ label: "30 days" });
  await form.getByLabel("reporting and commenting").check();
  await form.getByRole("button", { name: "Make" }).click();
  const token = (await form.getByText(/^sfh_/).textContent()) ?? "";
  const row = page.getByRole("row").filter({ hasText: "laptop" });
  await expect(row).toContainText("reading, reporting and commenting");
  const status = async () => {
    const headers = { authorization: `Bearer ${token}` };
    return (await fetch(`${host.url}/api/v1/issues`, { headers })).status;
  };
  expect(await status()).toBe(200);
  await row.getByRole("button", { name: "Revoke laptop" }).click();
  await page.getByRole("dialog").getByRole("button", { name: "Revoke" }).click();
  await expect(row).toHaveCount(0);
  expect(await status()).toBe(401);
});
