// What all tests share: a host per worker, people who are logged in, and a page on which
// nothing may be reported to the console, least of all by the content security policy.
import { test as base, type Page } from "@playwright/test";
import { Host, type Person } from "./host";

type WorkerFixtures = { host: Host };
type Fixtures = {
  /** Logs somebody in on the test's page. */
  as: (who: Person) => Promise<void>;
  /** A second page of its own, where somebody else is logged in. */
  beside: (who: Person) => Promise<Page>;
};

const EXPECTED =
  /the server responded with a status of (401|403|404|409|422|500|503)|net::ERR_(FAILED|INTERNET_DISCONNECTED)|directive: "frame-ancestors /;

function watch(page: Page, complaints: string[]): void {
  page.on("console", (message) => {
    if (message.type() === "error" && !EXPECTED.test(message.text())) {
      complaints.push(message.text());
    }
  });
  page.on("pageerror", (error) => complaints.push(String(error)));
  page.on("dialog", (dialog) => complaints.push(`a dialog opened: ${dialog.message()}`));
}

export const test = base.extend<Fixtures, WorkerFixtures>({
  host: [
    // biome-ignore lint/correctness/noEmptyPattern: Playwright reads the names in the pattern
    async ({}, use) => {
      const host = await Host.start();
      await use(host);
      await host.stop();
    },
    { scope: "worker" },
  ],
  baseURL: async ({ host }, use) => use(host.url),
  page: async ({ page }, use) => {
    const complaints: string[] = [];
    watch(page, complaints);
    await use(page);
    base.expect(complaints, "the console stays quiet").toEqual([]);
  },
  as: async ({ page, host }, use) => {
    await use((who) => logIn(page, host, who));
  },
  beside: async ({ browser, host }, use) => {
    const complaints: string[] = [];
    const opened: Page[] = [];
    await use(async (who) => {
      const page = await browser.newPage({ baseURL: host.url });
      opened.push(page);
      watch(page, complaints);
      await logIn(page, host, who);
      return page;
    });
    for (const page of opened) await page.close();
    base.expect(complaints, "the console stays quiet").toEqual([]);
  },
});

export { expect } from "@playwright/test";

async function logIn(page: Page, host: Host, who: Person): Promise<void> {
  const answer = await page.request.post(`${host.url}/api/v1/session`, {
    data: { username: who, password: host.tokens[who] },
  });
  base.expect(answer.status()).toBe(200);
}
