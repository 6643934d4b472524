import { readFileSync } from "node:fs";
import { expect, test } from "./test";

test("autonomy, freeze and services are in an admin's hands", async ({ page, as }) => {
  await as("adam");
  await page.goto("/host");
  const autonomy = page.getByRole("region", { name: "Autonomy" });
  await autonomy.getByRole("radio", { name: /AUTO_LOW/ }).check();
  await autonomy.getByLabel("Reason").fill("we trust low risk");
  await autonomy.getByRole("button", { name: "Set the level" }).click();
  await expect(page.getByText("The level is set.")).toBeVisible();
  await expect(autonomy.getByRole("radio", { name: /AUTO_LOW/ })).toBeChecked();

  await autonomy.getByRole("button", { name: "Stop all healing…" }).click();
  const stop = page.getByRole("dialog");
  await stop.getByLabel("Reason").fill("a drill");
  await stop.getByRole("button", { name: "Stop all healing…" }).click();
  await expect(page.getByText("All healing is stopped")).toBeVisible();
  await autonomy.getByRole("button", { name: "Let healing go on…" }).click();
  const goOn = page.getByRole("dialog");
  await goOn.getByLabel("Reason").fill("the drill is over");
  await goOn.getByRole("button", { name: "Let healing go on…" }).click();
  await expect(page.getByText("All healing is stopped")).toHaveCount(0);

  const services = page.getByRole("region", { name: "Services" });
  await expect(services.getByText("running")).toBeVisible();
  await services.getByRole("button", { name: "Restart shop" }).click();
  await expect(page.getByText("shop is restarted.")).toBeVisible();
  await services.getByText("Health, output and usage shop").click();
  await expect(services.getByText("Open files")).toBeVisible();
  await expect(services.getByText("healthy", { exact: true }).first()).toBeVisible();
  await services.getByRole("button", { name: "Stop… shop" }).click();
  const sure = page.getByRole("dialog");
  await sure.getByRole("button", { name: "Stop shop" }).click();
  await expect(services.getByText("stopped", { exact: true })).toBeVisible();
  await services.getByRole("button", { name: "Start shop", exact: true }).click();
  await expect(services.getByText("running", { exact: true })).toBeVisible();
});

test("a policy changes by plan and reason, and goes back", async ({ page, as }) => {
  await as("adam");
  await page.goto("/policies");
  const name = "risk-score";
  const module = page.locator(".module").filter({ has: page.getByRole("heading", { name }) });
  await module.getByRole("button", { name: "Change…" }).click();
  const dialog = page.getByRole("dialog", { name: `Change ${name}` });
  await dialog.getByLabel("Mode").selectOption("shadow");
  await dialog.getByRole("button", { name: "Show the plan" }).click();
  await expect(dialog.getByText("recorded decisions asked again")).toBeVisible();
  await dialog.getByLabel("Reason").fill("looked at first");
  await dialog.getByRole("button", { name: "Activate" }).click();
  await expect(page.getByText(/^(In force|Proposed: it waits)/)).toBeVisible();
  await expect(dialog).toHaveCount(0);
  await expect(page.getByRole("heading", { name: "Generation 2 in force" })).toBeVisible();
  await expect(module.getByText("shadow", { exact: true })).toBeVisible();

  await page.getByRole("button", { name: "Go back 1" }).click();
  const back = page.getByRole("dialog");
  await back.getByLabel("Reason").fill("enough seen");
  await back.getByRole("button", { name: "Go back" }).click();
  await expect(page.getByRole("heading", { name: "Generation 3 in force" })).toBeVisible();
  await expect(module.getByText("enforcing", { exact: true })).toBeVisible();
});

test("what is no module is refused before anything changes", async ({ page, as }) => {
  await as("adam");
  await page.goto("/policies");
  await page.getByRole("button", { name: "Add a module…" }).click();
  const dialog = page.getByRole("dialog", { name: "Add a module…" });
  await dialog.getByLabel("Name").fill("mine");
  await dialog.getByLabel("Module (.wasm)").setInputFiles({
    name: "mine.wasm",
    mimeType: "application/wasm",
    buffer: Buffer.from("not wasm"),
  });
  await dialog.getByRole("button", { name: "Show the plan" }).click();
  await expect(dialog.getByRole("alert")).toBeVisible();
});

test("an auditor reads policies, decisions and the log, and changes nothing", async ({
  page,
  as,
  host,
}) => {
  const number = await host.report("ann", "For the record");
  await as("audrey");
  await page.goto("/policies");
  await expect(page.getByRole("heading", { name: "shell-guard" })).toBeVisible();
  await expect(page.getByRole("button", { name: "Change…" })).toHaveCount(0);
  await expect(page.getByRole("button", { name: "Add a module…" })).toHaveCount(0);

  await page.goto("/audit");
  await page.getByRole("button", { name: "Check the log" }).click();
  await expect(page.getByText(/The log holds: \d+ records/)).toBeVisible();
  await host.send("ann", "POST", `/issues/${number}/comments`, { content: "more" });
  await page.getByRole("button", { name: "Check the log" }).click();
  await expect(page.getByText(/The \d+ that this browser knew are among them/)).toBeVisible();
  await page.getByLabel("Issue number").fill(String(number));
  await page.getByText("reported: For the record").click();
  await expect(page.getByRole("link", { name: `Issue #${number}` })).toBeVisible();
  const proved = page.waitForEvent("download");
  await page.getByRole("link", { name: "Download the proof" }).click();
  const proof = await (await proved).path();
  expect(JSON.parse(readFileSync(proof, "utf8")).proof.length).toBeGreaterThan(0);

  await page.goto("/insights");
  const numbers = page.getByRole("region", { name: "In numbers" });
  await expect(numbers.getByText("Reported")).toBeVisible();
  await expect(page.getByRole("rowheader", { name: /^\d{4}-\d\d-\d\d$/ })).not.toHaveCount(0);

  await page.goto("/decisions?kind=autonomy");
  await expect(page.getByLabel("Decisions on")).toHaveValue("autonomy");

  await page.goto(`/issues/${number}`);
  await expect(page.getByRole("heading", { name: "What happens" })).toBeVisible();
  await expect(page.getByRole("button", { name: /Approve|Reject|Comment/ })).toHaveCount(0);
});

test("a forged log is found in the browser", { tag: "@sample" }, async ({ page, as }) => {
  type Page = { items: { seq: number; previous: string; hash: string }[] };
  const forgeries: [string, (page: Page) => void, string][] = [
    [
      "a record that does not follow",
      ({ items }) => {
        for (const record of items) if (record.seq === 3) record.previous = "f".repeat(64);
      },
      "THE CHAIN IS BROKEN at record 3.",
    ],
    [
      "a record exchanged with its link",
      ({ items }) => {
        for (const record of items) {
          if (record.seq === 3) record.hash = "f".repeat(64);
          if (record.seq === 4) record.previous = "f".repeat(64);
        }
      },
      "THE PUBLISHED LOG HOLDS ANOTHER RECORD 3",
    ],
  ];
  await as("audrey");
  const check = page.getByRole("button", { name: "Check the log" });
  for (const [what, forge, told] of forgeries) {
    await page.route("**/api/v1/audit?*", async (route) => {
      const response = await route.fetch();
      const json = await response.json();
      forge(json);
      await route.fulfill({ response, json });
    });
    await page.goto("/audit");
    await check.click();
    await expect(page.getByText(told), what).toBeVisible();
    await page.unroute("**/api/v1/audit?*");
  }
  await page.route("**/api/v1/audit/checkpoint", async (route) => {
    const response = await route.fetch();
    const json = await response.json();
    json.checkpoint = json.checkpoint.replace(/\n\d+\n/, "\n1\n");
    await route.fulfill({ response, json });
  });
  await page.goto("/audit");
  await check.click();
  await expect(page.getByText("THE CHECKPOINT IS NOT SIGNED")).toBeVisible();
  await page.unroute("**/api/v1/audit/checkpoint");

  // What this browser saw before, another log cannot make it forget.
  await check.click();
  await expect(page.getByText("The log holds")).toBeVisible();
  await page.evaluate(() => {
    for (const [name, text] of Object.entries(localStorage)) {
      if (!name.startsWith("selfheal.log.")) continue;
      localStorage.setItem(name, JSON.stringify({ ...JSON.parse(text), root: btoa("other") }));
    }
  });
  await check.click();
  await expect(page.getByText("THE PAST WAS CHANGED")).toBeVisible();
});
