// The events of an issue as its page shows them: steps of an attempt, with the tool calls
// between them.
import type { Event, Verification } from "../api/client";

/** What the data of the events that this page reads looks like; all of it may be missing. */
export type Told = {
  verdict?: "allow" | "ask" | "deny";
  reason?: {
    rule: string;
    message: string;
    evidence?: { text: string };
    alternative?: string;
  };
};
export type ToolData = {
  id?: string;
  phase?: string;
  facts?: { tool?: string; input?: string };
  judgement?: {
    verdict?: Told;
    granted?: string[];
    answers?: { module: string; answer: { verdict?: Told } }[];
  };
};
type FinishedData = { decision?: string; outcome?: { outcome?: string; detail?: string } };

export type ToolCall = {
  seq: number;
  at: string;
  tool: string;
  input: string;
  told: Told;
  /** The module that decided, where one asked or denied. */
  module: string | undefined;
  outcome: string | undefined;
};

/** What stands behind a step: all of it may be missing. */
export type Evidence = {
  checks: Verification["checks"];
  factors: { name: string; points: number; evidence: string }[];
  files: string[];
  /** Why, or what, in words. */
  words: string;
};

type StepData = {
  checks?: Evidence["checks"];
  verification?: { checks?: Evidence["checks"] } | null;
  factors?: Evidence["factors"];
  patch?: { files?: string[] };
  affectedFiles?: string[];
  rationale?: string;
  rootCause?: string;
};

/** The evidence of a step; null where its sentence says it all. */
export function evidenceOf(event: Event): Evidence | null {
  const data = (event.data ?? {}) as StepData;
  const evidence = {
    checks: data.checks ?? data.verification?.checks ?? [],
    factors: data.factors ?? [],
    files: data.patch?.files ?? data.affectedFiles ?? [],
    words: data.rationale ?? data.rootCause ?? "",
  };
  const { checks, factors, files, words } = evidence;
  return checks.length + factors.length + files.length + words.length > 0 ? evidence : null;
}

export type Step = { event: Event; calls: ToolCall[] };
export type Attempt = { number: number; steps: Step[] };

function callOf(event: Event): ToolCall {
  const data = (event.data ?? {}) as ToolData;
  const told = data.judgement?.verdict ?? {};
  const decisive = data.judgement?.answers?.find(
    (answer) => answer.answer.verdict?.reason?.rule === told.reason?.rule,
  );
  return {
    seq: event.seq,
    at: event.at,
    tool: data.facts?.tool ?? event.summary,
    input: data.facts?.input ?? "",
    told,
    module: told.reason === undefined ? undefined : decisive?.module,
    outcome: undefined,
  };
}

/** Attempt 0 is what happened before the first one. */
export function attemptsOf(events: readonly Event[]): Attempt[] {
  let attempt: Attempt = { number: 0, steps: [] };
  const attempts = [attempt];
  const open = new Map<string, ToolCall>();
  for (const event of events) {
    const step = attempt.steps.at(-1);
    if (event.type === "tool.call") {
      const call = callOf(event);
      const id = (event.data as ToolData | undefined)?.id;
      if (id !== undefined) open.set(id, call);
      step?.calls.push(call);
    } else if (event.type === "tool.finished") {
      const data = (event.data ?? {}) as FinishedData;
      const call = open.get(data.decision ?? "");
      if (call !== undefined) {
        call.outcome = [data.outcome?.outcome, data.outcome?.detail].filter(Boolean).join(": ");
      }
    } else {
      if (event.type === "diagnosis.started") {
        attempt = { number: attempt.number + 1, steps: [] };
        attempts.push(attempt);
      }
      attempt.steps.push({ event, calls: [] });
    }
  }
  return attempts.filter((attempt) => attempt.steps.length > 0);
}

/** The step that another attempt begins with; what comes before it is kept. */
export type RetryFrom = "diagnose" | "draft" | "prove";

/** At which steps of an attempt another one may begin, by the number of their events. */
export function retriesOf(attempt: Attempt): Map<number, RetryFrom> {
  const found = new Map<number, RetryFrom>();
  const drop = (...gone: RetryFrom[]) => {
    for (const [seq, from] of found) if (gone.includes(from)) found.delete(seq);
  };
  for (const { event } of attempt.steps) {
    const { answer } = (event.data ?? {}) as { answer?: { answer?: string } };
    if (event.type === "diagnosis.started") found.set(event.seq, "diagnose");
    else if (event.type === "run.observed") found.set(event.seq, "draft");
    else if (event.type === "drafting.started") {
      drop("draft", "prove");
      found.set(event.seq, "draft");
    } else if (["patch.proved", "patch.refuted", "verification.started"].includes(event.type)) {
      found.set(event.seq, "prove");
    } else if (event.type === "patch.reviewed" && answer?.answer === "sent-back") drop("prove");
  }
  return found;
}

/** A tool call's input in the words one would type. */
export function inputLine(input: string): string {
  try {
    const fields = JSON.parse(input) as Record<string, unknown>;
    const telling = fields.command ?? fields.path ?? fields.file_path ?? fields.pattern;
    if (typeof telling === "string") return telling;
  } catch {
    // Shown as it is.
  }
  return input;
}

const TONES: Record<string, "good" | "bad" | "warn"> = {
  "issue.resolved": "good",
  "patch.proved": "good",
  "patch.refuted": "bad",
  "run.failed": "bad",
  "issue.escalated": "bad",
  "issue.aborted": "bad",
  "issue.rejected": "bad",
  "rollback.started": "warn",
  "rollback.committed": "warn",
  "trust.lowered": "warn",
};

export const toneOf = (event: Event) => TONES[event.type] ?? "calm";
