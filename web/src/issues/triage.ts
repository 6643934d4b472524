// Triage by keyboard: single keys while the list (and no field or dialog) is in use.
import { type RefObject, useEffect, useEffectEvent } from "react";
import type { IssueSummary } from "../api/client";

export type Bulk = {
  action: "approve" | "reject" | "snooze" | "severity" | "priority";
  issues: Pick<IssueSummary, "number" | "title" | "status" | "snooze">[];
};

type Keys = {
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

export function useTriageKeys(list: RefObject<HTMLElement | null>, keys: Keys): void {
  const pressed = useEffectEvent((event: KeyboardEvent) => {
    if (event.ctrlKey || event.metaKey || event.altKey || typing(event.target)) return;
    const linkIn = (row: Element | null | undefined) =>
      row?.querySelector<HTMLElement>("[data-issue]");
    const row = document.activeElement?.closest("li");
    const at = list.current?.contains(row ?? null) ? row : null;
    const number = at ? Number(linkIn(at)?.dataset.issue) : undefined;
    const action = BEGINS[event.key];
    if (event.key === "j") {
      linkIn(at ? (at.nextElementSibling ?? at) : list.current?.firstElementChild)?.focus();
    } else if (event.key === "k") {
      linkIn(at ? (at.previousElementSibling ?? at) : list.current?.firstElementChild)?.focus();
    } else if (event.key === "x" && number !== undefined) keys.toggle?.(number);
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
