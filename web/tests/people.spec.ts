import { expect, test } from "./test";

test("logging in leads to the page that was asked for; logging out ends it", {
  tag: "@sample",
}, async ({ page, host }) => {
  await page.goto("/issues/history?severity=HIGH");
  await page.getByLabel("User name").fill("adam");
  await page.getByLabel("Password or token").fill("wrong");
  await page.getByRole("button", { name: "Log in" }).click();
  await expect(page.getByRole("alert")).toBeVisible();
  await expect(page.getByLabel("User name")).toBeFocused();

  await page.getByLabel("Password or token").fill(host.tokens.adam);
  await page.getByRole("button", { name: "Log in" }).click();
  await expect(page.getByRole("link", { name: "History" })).toHaveAttribute("aria-current", "page");
  await expect(page.getByLabel("Severity", { exact: true })).toHaveValue("HIGH");

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
});
