// A list that grows and changes while somebody reads it: rows stay where they are, what
// is new is only counted, and what left is marked.
import { useEffect, useState } from "react";
import type { IssueSummary } from "../api/client";

export type SteadyRow = { issue: IssueSummary; gone: boolean };
type View = { epoch: string; top: number; rows: SteadyRow[]; fresh: number };

/** `items` newest first; another `epoch` starts over. */
export function useSteady(items: IssueSummary[] | undefined, epoch: string) {
  const [view, setView] = useState<View | null>(null);
  useEffect(() => {
    if (items !== undefined) setView((before) => next(before, items, epoch));
  }, [items, epoch]);
  const current = view?.epoch === epoch ? view : null;
  return {
    rows: current?.rows,
    fresh: current?.fresh ?? 0,
    showFresh: () => items && setView(next(null, items, epoch)),
  };
}

export function next(before: View | null, items: IssueSummary[], epoch: string): View {
  const kept = before?.epoch === epoch ? before : null;
  const top = kept === null ? Number.POSITIVE_INFINITY : kept.top;
  const now = new Map(items.map((issue) => [issue.number, issue]));
  const rows = (kept?.rows ?? []).map(({ issue }) => ({
    issue: now.get(issue.number) ?? issue,
    gone: !now.has(issue.number),
  }));
  const had = new Set(rows.map((row) => row.issue.number));
  const older = items.filter((issue) => issue.number <= top && !had.has(issue.number));
  for (const issue of older) rows.push({ issue, gone: false });
  rows.sort((a, b) => b.issue.number - a.issue.number);
  return {
    epoch,
    top: kept === null ? (items[0]?.number ?? 0) : kept.top,
    rows,
    fresh: items.filter((issue) => issue.number > top).length,
  };
}
