// Reports an issue, follows it to its end, and lists what one has reported:
//
//   export SELFHEAL_URL=http://127.0.0.1:7700 SELFHEAL_TOKEN=sfh_…
//   npm install && npm run api && npm run build
//   node dist/report.js "Checkout shows 500" "Paying with an empty cart answers 500."
//
// All types come from the host's own OpenAPI document: see `npm run api`.
import { randomUUID } from "node:crypto";
import createClient from "openapi-fetch";
import type { components, paths } from "./schema.js";

type Schemas = components["schemas"];

const { SELFHEAL_URL: baseUrl = "http://127.0.0.1:7700", SELFHEAL_TOKEN: token = "" } = process.env;
const api = createClient<paths>({ baseUrl, headers: { Authorization: `Bearer ${token}` } });

/** What the host refused, and why: every refusal is `application/problem+json`. */
class Refused extends Error {
  constructor(readonly problem: Schemas["Problem"]) {
    const fields = (problem.errors ?? []).map(({ field, message }) => `${field} ${message}`);
    super(`${problem.status} ${problem.title}: ${fields.join("; ") || problem.detail}`);
  }
}

/** The data of an answer. */
function data<T>(answer: { data?: T; error?: Schemas["Problem"] }): T {
  if (answer.error !== undefined) throw new Refused(answer.error);
  return answer.data as T;
}

/** Sends a report. A key of its own makes it count once, however often it is sent. */
async function report(body: Schemas["ReportRequest"]): Promise<Schemas["Issue"]> {
  const header = { "Idempotency-Key": randomUUID() };
  return data(await api.POST("/api/v1/issues", { params: { header }, body }));
}

/** Everything that happened and happens to an issue, over any number of connections. */
async function* follow(issue: number): AsyncGenerator<Schemas["Event"]> {
  let last: number | undefined;
  for (;;) {
    const { response, error } = await api.GET("/api/v1/issues/{issue}/stream", {
      params: {
        path: { issue: String(issue) },
        ...(last !== undefined && { header: { "Last-Event-ID": last } }),
      },
      parseAs: "stream",
    });
    if (error !== undefined) throw new Refused(error);
    try {
      for await (const { id, data } of events(response)) {
        yield JSON.parse(data) as Schemas["Event"];
        last = id;
      }
    } catch (broken) {
      if (!(broken instanceof TypeError)) throw broken;
    }
    // The connection ended: go on after the last event that came whole.
    await new Promise((resume) => setTimeout(resume, 1_000));
  }
}

/** The records of a stream of server-sent events; notes on progress have no id. */
async function* events(response: Response): AsyncGenerator<{ id: number; data: string }> {
  let text = "";
  for await (const part of response.body!.pipeThrough(new TextDecoderStream())) {
    text += part;
    const whole = text.split("\n\n");
    text = whole.pop() ?? "";
    for (const event of whole) {
      const id = /^id: (\d+)$/m.exec(event)?.[1];
      const data = /^data: (.*)$/m.exec(event)?.[1];
      if (id !== undefined && data !== undefined) yield { id: Number(id), data };
    }
  }
}

/** All issues that one may see, page by page. */
async function* list(): AsyncGenerator<Schemas["IssueSummary"]> {
  let cursor: string | undefined;
  do {
    const query = { limit: 2, ...(cursor !== undefined && { cursor }) };
    const page = data(await api.GET("/api/v1/issues", { params: { query } }));
    yield* page.items;
    cursor = page.nextCursor;
  } while (cursor !== undefined);
}

const ENDS = ["issue.resolved", "issue.rejected", "issue.aborted"];

async function main([title = "", description = ""]: string[]) {
  const issue = await report({ title, description, source: "api" });
  console.log(`reported as issue ${issue.number}, which is ${issue.status}`);
  for await (const event of follow(issue.number)) {
    console.log(`${event.type}: ${event.summary}`);
    if (ENDS.includes(event.type)) break;
  }
  for await (const { number, status, title } of list()) console.log(`${number} ${status} ${title}`);
}

try {
  await main(process.argv.slice(2));
  process.exit(0);
} catch (error) {
  if (!(error instanceof Refused)) throw error;
  console.error(error.message);
  process.exit(1);
}
