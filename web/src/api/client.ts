// The API as its OpenAPI document describes it. Every refusal becomes a `Problem`.
import createClient from "openapi-fetch";
import type { components, paths } from "./schema";

type Schemas = components["schemas"];
export type Issue = Schemas["Issue"];
export type IssueSummary = Schemas["IssueSummary"];
export type IssueStatus = Schemas["IssueStatus"];
export type Severity = Schemas["Severity"];
export type Priority = Schemas["Priority"];
export type Category = Schemas["Category"];
export type Role = Schemas["Role"];
export type Scope = Schemas["Scope"];
export type Token = Schemas["Token"];
export type Session = Schemas["Session"];
export type User = Schemas["User"];
export type Event = Schemas["Event"];
export type PatchReview = Schemas["PatchReview"];
export type PolicySet = Schemas["PolicySet"];
export type PolicyModule = Schemas["PolicyModule"];
export type PolicyPlan = Schemas["PolicyPlan"];
export type Reason = Schemas["Reason"];
export type ModuleAnswer = Schemas["ModuleAnswer"];
export type Verification = Schemas["Verification"];
export type Autonomy = Schemas["Autonomy"];
export type AutonomyPreview = Schemas["AutonomyPreview"];
export type Service = Schemas["Service"];
export type ServiceDetails = Schemas["ServiceDetails"];
export type Decision = Schemas["Decision"];
export type DecisionKind = Schemas["DecisionKind"];
export type AuditRecord = Schemas["AuditRecord"];
export type SavedView = Schemas["SavedView"];
export type ReportRequest = Schemas["ReportRequest"];

/** An answer of RFC 9457, or a request that got none. */
export class Problem extends Error {
  readonly status: number;
  /** What is wrong with single fields. */
  readonly fields: ReadonlyMap<string, string>;

  constructor(status: number, body: { detail?: string; title?: string; errors?: FieldError[] }) {
    super(body.detail ?? body.title ?? `HTTP ${status}`);
    this.status = status;
    this.fields = new Map((body.errors ?? []).map((error) => [error.field, error.message]));
  }
}

type FieldError = { field: string; message: string };

/** What was read has changed since, so nothing was done. */
export const STALE = 412;

/** No answer came: the host or the network is away. */
export const OFFLINE = 0;

const client = createClient<paths>({
  baseUrl: location.origin,
  credentials: "same-origin",
  querySerializer: { array: { style: "form", explode: false } },
});
client.use({
  onError: () => new Problem(OFFLINE, { title: "offline" }),
  onResponse: async ({ response }) => {
    if (response.ok) return;
    const body = await response.json().catch(() => ({}));
    throw new Problem(response.status, body as object);
  },
});

export const api = client;

/** The data of an answer; refusals were thrown already. */
export async function data<T>(answer: Promise<{ data?: T }>): Promise<T> {
  return (await answer).data as T;
}

/** For acts that are meant for an issue as it is shown, and for nothing that came since. Not
 * for an abort, which must work while agents change the issue all the time. */
export const seen = (issue: Issue) => ({ "If-Match": `"${issue.version}"` });

/** All items of a list, page by page. */
export async function everything<T>(
  page: (cursor: { cursor?: string }) => Promise<{ data?: { items: T[]; nextCursor?: string } }>,
): Promise<T[]> {
  const all: T[] = [];
  let next: string | undefined;
  do {
    const found = await data(page(next === undefined ? {} : { cursor: next }));
    all.push(...found.items);
    next = found.nextCursor;
  } while (next !== undefined);
  return all;
}

/** A key by which a request that is sent twice counts once. */
export function newKey(): string {
  // `randomUUID` exists on encrypted connections and localhost only.
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

export const problemOf = (error: unknown): Problem =>
  error instanceof Problem ? error : new Problem(-1, { detail: String(error) });
export type { paths } from "./schema";
