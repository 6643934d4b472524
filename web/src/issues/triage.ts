// Triage by keyboard: single keys while the list (and no field or dialog) is in use.
import { useEffect, useEffectEvent } from "react";
import type { IssueSummary } from "../api/client";

export type Bulk = {
  action: "approve" | "reject" | "snooze" | "severity" | "priority";
  issues: Pick<IssueSummary, "number" | "title" | "status" | "snooze">[];
};

type Keys = {
  /** To the issue so many rows further; to the first one from nowhere. */
  go: (step: 1 | -1, from: number | undefined) => void;
  toggle: ((number: number) => void) | undefined;
  begin: ((action: Bulk["action"], at?: number) => void) | undefined;
  help: () => void;
};

const BEGINS: Record<string, Bulk["action"]> = {
  a: "approve",
  r: "reject",
  s: "snooze",
  v: "severity",
  p: "priority",
};

/** Whether keys are text here. */
function typing(target: EventTarget | null): boolean {
  return (
    target instanceof Element &&
    target.closest("input:not([type=checkbox]), textarea, select, [role=dialog]") !== null
  );
}

/** The issue of the row that has the keyboard. */
export function focusedIssue(): number | undefined {
  const row = document.activeElement?.closest("[data-row]");
  const link = row?.querySelector<HTMLElement>("[data-issue]");
  return link ? Number(link.dataset.issue) : undefined;
}

export function useTriageKeys(keys: Keys): void {
  const pressed = useEffectEvent((event: KeyboardEvent) => {
    if (event.ctrlKey || event.metaKey || event.altKey || typing(event.target)) return;
    const number = focusedIssue();
    const action = BEGINS[event.key];
    if (event.key === "j") keys.go(1, number);
    else if (event.key === "k") keys.go(-1, number);
    else if (event.key === "x" && number !== undefined) keys.toggle?.(number);
    else if (event.key === "?") keys.help();
    else if (action !== undefined) keys.begin?.(action, number);
    else return;
    event.preventDefault();
  });
  useEffect(() => {
    document.addEventListener("keydown", pressed);
    return () => document.removeEventListener("keydown", pressed);
  }, []);
}
