// Triage by keyboard: single keys while the list (and no field or dialog) is in use.
import { type RefObject, useEffect, useEffectEvent } from "react";
import type { IssueSummary } from "../api/client";

export type Bulk = {
  action: "approve" | "reject" | "severity" | "priority";
  issues: IssueSummary[];
};

type Keys = {
  toggle: ((number: number) => void) | undefined;
  begin: ((action: Bulk["action"], at?: number) => void) | undefined;
  help: () => void;
};

const BEGINS: Record<string, Bulk["action"]> = {
  a: "approve",
  r: "reject",
  s: "severity",
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
    const links = [...(list.current?.querySelectorAll<HTMLElement>("[data-issue]") ?? [])];
    const row = document.activeElement?.closest("li");
    const at = links.findIndex((link) => row?.contains(link));
    const number = at < 0 ? undefined : Number(links[at]?.dataset.issue);
    const action = BEGINS[event.key];
    if (event.key === "j") links[Math.min(at + 1, links.length - 1)]?.focus();
    else if (event.key === "k") links[Math.max(at - 1, 0)]?.focus();
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
