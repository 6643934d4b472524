// One action on several issues: what will happen to each is shown first, what came of
// it afterwards.
import { useQueryClient } from "@tanstack/react-query";
import { type FormEvent, useEffect, useRef, useState } from "react";
import { api, type Priority, type Severity } from "../api/client";
import { useSpeech } from "../i18n";
import { ModalDialog } from "../ui/dialog";
import { useProblemText } from "../ui/toast";
import { SNOOZES, type Snooze, snoozedUntil } from "./snooze";
import { can, PRIORITIES, SEVERITIES } from "./states";
import type { Bulk } from "./triage";

type Outcome = { text: string; good: boolean };
type Affected = Bulk["issues"][number];

/** Whether the action makes sense for an issue. */
function fits(action: Bulk["action"], issue: Affected): boolean {
  if (action === "approve") return can.approve(issue.status);
  if (action === "reject") return can.reject(issue.status);
  if (action === "snooze") return can.snooze(issue.status);
  return true;
}

function send(action: Bulk["action"], issue: number, value: string, time: string) {
  const params = { path: { issue: String(issue) } };
  switch (action) {
    case "approve":
      return api.PATCH("/api/v1/issues/{issue}/approve", { params, body: {} });
    case "reject":
      return api.PATCH("/api/v1/issues/{issue}/reject", { params, body: { reason: value } });
    case "snooze": {
      if (value === "wake") return api.DELETE("/api/v1/issues/{issue}/snooze", { params });
      const until = snoozedUntil(value as Snooze, time, new Date());
      return api.PUT("/api/v1/issues/{issue}/snooze", {
        params,
        body: until === null ? {} : { until: until.toISOString() },
      });
    }
    case "severity":
      return api.PATCH("/api/v1/issues/{issue}/priority", {
        params,
        body: { severity: value as Severity },
      });
    case "priority":
      return api.PATCH("/api/v1/issues/{issue}/priority", {
        params,
        body: { priority: value as Priority },
      });
  }
}

type Props = Bulk & { onClose: () => void; onDone: () => void };

export default function BulkDialog({ action, issues, onClose, onDone }: Props) {
  const { t } = useSpeech();
  const sentence = useProblemText();
  const queries = useQueryClient();
  const [outcomes, setOutcomes] = useState<ReadonlyMap<number, Outcome>>(new Map());
  const [state, setState] = useState<"preview" | "running" | "done">("preview");
  const close = useRef<HTMLButtonElement>(null);
  // The button that was pressed is gone; the keyboard goes on from the other one.
  useEffect(() => {
    if (state === "done") close.current?.focus();
  }, [state]);
  const affected = issues.filter((issue) => fits(action, issue));

  const run = async (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    const fields = new FormData(event.currentTarget);
    const value = String(fields.get("value") ?? "").trim();
    const time = String(fields.get("time") ?? "");
    setState("running");
    for (const issue of affected) {
      let outcome: Outcome;
      try {
        await send(action, issue.number, value, time);
        outcome = { text: t("bulk.done"), good: true };
      } catch (error) {
        outcome = { text: sentence(error), good: false };
      }
      setOutcomes((before) => new Map(before).set(issue.number, outcome));
    }
    setState("done");
    onDone();
    for (const { number } of affected) {
      queries.invalidateQueries({ queryKey: ["issue", String(number)] });
    }
    queries.invalidateQueries({ queryKey: ["issues"] });
  };

  return (
    <ModalDialog title={t(`bulk.${action}.title`)} onClose={onClose}>
      <form onSubmit={run}>
        <p>{t(`bulk.${action}.about`)}</p>
        <ul className="bulk-list">
          {issues.map((issue) => {
            const outcome = outcomes.get(issue.number);
            return (
              <li key={issue.number}>
                <span className="number">#{issue.number}</span> <bdi>{issue.title}</bdi>
                <span className={outcome ? (outcome.good ? "good" : "bad") : "soft"}>
                  {outcome?.text ??
                    (fits(action, issue)
                      ? ""
                      : t(action === "snooze" ? "bulk.skipped.over" : "bulk.skipped"))}
                </span>
              </li>
            );
          })}
        </ul>
        {state !== "done" && (
          <Value action={action} snoozed={issues.some((issue) => issue.snooze !== undefined)} />
        )}
        <footer>
          <button ref={close} type="button" onClick={onClose}>
            {t(state === "done" ? "action.close" : "action.cancel")}
          </button>
          {state !== "done" && (
            <button
              type="submit"
              className={action === "reject" ? "danger" : "primary"}
              disabled={state === "running" || affected.length === 0}
            >
              {t("bulk.run", { count: affected.length })}
            </button>
          )}
        </footer>
      </form>
    </ModalDialog>
  );
}

function Value({ action, snoozed }: { action: Bulk["action"]; snoozed: boolean }) {
  const { t } = useSpeech();
  const [snooze, setSnooze] = useState<string>("news");
  if (action === "approve") return null;
  if (action === "reject") {
    return (
      <label>
        <span>{t("reason.label")}</span>
        <textarea name="value" required rows={3} />
      </label>
    );
  }
  if (action === "snooze") {
    return (
      <>
        <label>
          <span>{t("snooze.until")}</span>
          <select name="value" value={snooze} onChange={(event) => setSnooze(event.target.value)}>
            {snoozed && <option value="wake">{t("snooze.wake")}</option>}
            {SNOOZES.map((value) => (
              <option key={value} value={value}>
                {t(`snooze.${value}`)}
              </option>
            ))}
          </select>
        </label>
        {snooze === "time" && (
          <label>
            <span>{t("snooze.at")}</span>
            <input type="datetime-local" name="time" required />
          </label>
        )}
      </>
    );
  }
  return (
    <label>
      <span>{t(`filter.${action}`)}</span>
      <select name="value">
        {action === "severity"
          ? SEVERITIES.map((value) => (
              <option key={value} value={value}>
                {t(`severity.${value}`)}
              </option>
            ))
          : PRIORITIES.map((value) => (
              <option key={value} value={value}>
                {t(`priority.${value}`)}
              </option>
            ))}
      </select>
    </label>
  );
}
