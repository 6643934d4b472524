// What healing came to, read from the records of the log.
import type { AuditRecord } from "../api/client";

export type Day = {
  /** As in `2026-11-21`. */
  day: string;
  reported: number;
  resolved: number;
  /** Runs that ended without a heal. */
  failed: number;
  /** Heals that were undone. */
  undone: number;
  /** Minutes from report to heal, the middle one; none where nothing was healed. */
  minutes?: number;
};
export type Trend = {
  days: Day[];
  /** From 0 to 1; none where nothing ended. */
  success?: number;
  minutes?: number;
};

const COUNTED = {
  "issue.opened": "reported",
  "issue.resolved": "resolved",
  "rollback.committed": "undone",
} as const;
/** What ends an attempt that is under way without a heal, and not by somebody's word. */
const FAILS = ["run.failed", "run.retried", "issue.escalated", "issue.retried"];
/** What ends one and is not its failure. */
const ENDS = ["issue.resolved", "run.interrupted", "run.observed", "issue.aborted"];
const MINUTE_MS = 60_000;
const DAY_MS = 86_400_000;

function median(numbers: readonly number[]): number | undefined {
  const sorted = numbers.toSorted((a, b) => a - b);
  const middle = Math.floor(sorted.length / 2);
  const high = sorted[middle];
  if (high === undefined || sorted.length % 2 === 1) return high;
  return ((sorted[middle - 1] ?? high) + high) / 2;
}

/** Records in the order of the log; days between the first and the last are all there. */
export function trendOf(records: readonly AuditRecord[]): Trend {
  const days = new Map<string, Day & { all: number[] }>();
  const dayOf = (at: string) => {
    const day = at.slice(0, 10);
    const found = days.get(day) ?? {
      day,
      reported: 0,
      resolved: 0,
      failed: 0,
      undone: 0,
      all: [],
    };
    days.set(day, found);
    return found;
  };
  const opened = new Map<number, number>();
  const first = records[0];
  const last = records.at(-1);
  if (first !== undefined && last !== undefined) {
    const end = Date.parse(last.at.slice(0, 10));
    for (let at = Date.parse(first.at.slice(0, 10)); at <= end; at += DAY_MS) {
      dayOf(new Date(at).toISOString());
    }
  }
  const running = new Set<number>();
  for (const { type, at, issue } of records) {
    if (issue !== undefined) {
      // Of one that was refuted only what follows tells.
      const ran = running.has(issue);
      if (type === "diagnosis.started") running.add(issue);
      else if (FAILS.includes(type) || ENDS.includes(type)) running.delete(issue);
      if (type === "run.failed" || (ran && FAILS.includes(type))) dayOf(at).failed += 1;
    }
    const what = COUNTED[type as keyof typeof COUNTED];
    if (what === undefined) {
      if (type === "issue.reopened" && issue !== undefined) opened.set(issue, Date.parse(at));
      continue;
    }
    const day = dayOf(at);
    day[what] += 1;
    if (issue === undefined) continue;
    if (what === "reported") opened.set(issue, Date.parse(at));
    const since = opened.get(issue);
    if (what === "resolved" && since !== undefined) {
      day.all.push((Date.parse(at) - since) / MINUTE_MS);
    }
  }
  const list = [...days.values()].sort((a, b) => (a.day < b.day ? -1 : 1));
  const resolved = list.reduce((sum, day) => sum + day.resolved, 0);
  const ended = list.reduce((sum, day) => sum + day.failed, resolved);
  const all = median(list.flatMap((day) => day.all));
  return {
    days: list.map(({ all, ...day }) => {
      const minutes = median(all);
      return minutes === undefined ? day : { ...day, minutes };
    }),
    ...(ended > 0 && { success: resolved / ended }),
    ...(all !== undefined && { minutes: all }),
  };
}
