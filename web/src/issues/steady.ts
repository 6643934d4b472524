// A list that grows and changes while somebody reads it: rows stay where they are, what
// is new is only counted, and what left is marked.
import { useEffect, useState } from "react";
import type { IssueSummary } from "../api/client";

/** `place` is what put the row where it is: it stays when the issue changes. */
export type SteadyRow = { issue: IssueSummary; gone: boolean; place: number };
type View = { epoch: string; top: number; rows: SteadyRow[]; fresh: number };
export type Order = "created" | "updated";

/** `items` in the order of the list; another `epoch` starts over, and as long as there is
 * none what was there stays. */
export function useSteady(
  items: IssueSummary[] | undefined,
  epoch: string | undefined,
  order: Order,
) {
  const [view, setView] = useState<View | null>(null);
  useEffect(() => {
    if (items !== undefined && epoch !== undefined) {
      setView((before) => next(before, items, epoch, order));
    }
  }, [items, epoch, order]);
  const current = epoch === undefined || view?.epoch === epoch ? view : null;
  return {
    rows: current?.rows,
    fresh: current?.fresh ?? 0,
    showFresh: () => {
      if (items !== undefined && epoch !== undefined) setView(next(null, items, epoch, order));
    },
  };
}

/** Greater comes first. */
const placeOf = (issue: IssueSummary, order: Order) =>
  order === "created" ? issue.number : Date.parse(issue.updatedAt);

export function next(
  before: View | null,
  items: IssueSummary[],
  epoch: string,
  order: Order,
): View {
  const kept = before?.epoch === epoch ? before : null;
  const first = items[0] === undefined ? 0 : placeOf(items[0], order);
  const top = kept?.top ?? first;
  const now = new Map(items.map((issue) => [issue.number, issue]));
  const rows = (kept?.rows ?? []).map((row) => {
    const issue = now.get(row.issue.number);
    if (issue === undefined) return row.gone ? row : { ...row, gone: true };
    // What did not change is drawn no second time.
    return issue === row.issue && !row.gone ? row : { ...row, issue, gone: false };
  });
  const had = new Set(rows.map((row) => row.issue.number));
  let fresh = 0;
  for (const issue of items) {
    if (had.has(issue.number)) continue;
    const place = placeOf(issue, order);
    if (kept !== null && place > top) fresh++;
    else rows.push({ issue, gone: false, place });
  }
  rows.sort((a, b) => b.place - a.place || b.issue.number - a.issue.number);
  return { epoch, top, rows, fresh };
}
