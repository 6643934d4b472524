// What the states of an issue mean for the page.
import type { Issue, IssueStatus } from "../api/client";

/** In the order of the walk. */
export const OPEN_STATES = [
  "OPEN",
  "APPROVED",
  "DIAGNOSING",
  "DIAGNOSED",
  "PATCH_PENDING",
  "PATCHING",
  "VERIFYING",
  "FAILED",
  "ESCALATED",
] as const satisfies IssueStatus[];

export const CLOSED_STATES = ["RESOLVED", "REJECTED", "ABORTED"] as const satisfies IssueStatus[];

export const SEVERITIES = ["CRITICAL", "HIGH", "MEDIUM", "LOW"] as const;
export const PRIORITIES = ["P0", "P1", "P2", "P3"] as const;
export const SOURCES = ["web", "skill", "api", "ci", "error", "pattern", "cli"] as const;
export const CATEGORIES = [
  "bug",
  "reliability",
  "performance",
  "scalability",
  "auditability",
  "governance",
] as const;

/** What an admin can do in a state; the host has the last word. */
export const can = {
  approve: (status: IssueStatus) => status === "OPEN",
  reject: (status: IssueStatus) => status === "OPEN",
  review: (status: IssueStatus) => status === "PATCH_PENDING",
  /** An attempt that ended at OBSERVE leaves the issue diagnosed. */
  retry: ({ status, runs }: Pick<Issue, "status" | "runs">) =>
    status === "FAILED" ||
    status === "ESCALATED" ||
    status === "ABORTED" ||
    (status === "DIAGNOSED" && runs.at(-1)?.status === "OBSERVED"),
  snooze: (status: IssueStatus) => !(CLOSED_STATES as readonly IssueStatus[]).includes(status),
  abort: (status: IssueStatus) =>
    status !== "RESOLVED" && status !== "REJECTED" && status !== "ABORTED",
};

/** Nothing happens until somebody says a word. */
export const rests = (status: IssueStatus) =>
  status === "OPEN" ||
  status === "PATCH_PENDING" ||
  status === "ESCALATED" ||
  (CLOSED_STATES as readonly IssueStatus[]).includes(status);
