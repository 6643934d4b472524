// What an admin can do with an issue now. It never loses the keyboard: when the button in
// focus goes, the bar itself has it.
import { useQueryClient } from "@tanstack/react-query";
import { lazy, Suspense, useLayoutEffect, useRef, useState } from "react";
import {
  api,
  data,
  type Issue,
  type Priority,
  problemOf,
  type Severity,
  STALE,
  seen,
} from "../api/client";
import { useSpeech } from "../i18n";
import { useTell } from "../ui/toast";
import { can, PRIORITIES, SEVERITIES } from "./states";

const BulkDialog = lazy(() => import("./bulk"));
const ReasonDialog = lazy(() =>
  import("../ui/dialog").then((module) => ({ default: module.ReasonDialog })),
);

/** Sends something about an issue and shows what it answered. */
export function useIssueAction(number: number) {
  const queries = useQueryClient();
  return async (answer: Promise<{ data?: Issue }>) => {
    const issue = await data<Issue>(answer).catch((error) => {
      if (problemOf(error).status === STALE)
        queries.invalidateQueries({ queryKey: ["issue", String(number)] });
      throw error;
    });
    queries.setQueryData(["issue", String(number)], issue);
    queries.invalidateQueries({ queryKey: ["issue", String(number)] });
    queries.invalidateQueries({ queryKey: ["issues"] });
  };
}

export function ControlBar({ issue }: { issue: Issue }) {
  const { t } = useSpeech();
  const { done, failed } = useTell();
  const settle = useIssueAction(issue.number);
  const [asking, setAsking] = useState<"reject" | "abort" | "snooze" | null>(null);
  const [busy, setBusy] = useState(false);
  const bar = useRef<HTMLElement>(null);
  const focused = useRef<HTMLElement>(null);
  const path = { issue: String(issue.number) };
  const params = { path, header: seen(issue) };
  const { status } = issue;

  useLayoutEffect(() => {
    if (focused.current === null || focused.current.isConnected) return;
    focused.current = null;
    if (document.activeElement === document.body) bar.current?.focus({ preventScroll: true });
  });

  const act = async (answer: Promise<{ data?: Issue }>, said: string) => {
    setBusy(true);
    try {
      await settle(answer);
      done(said);
    } catch (error) {
      failed(error);
    } finally {
      setBusy(false);
    }
  };
  const triage = (body: { severity?: Severity; priority?: Priority }) =>
    act(
      api.PATCH("/api/v1/issues/{issue}/priority", { params: { path }, body }),
      t("control.triaged"),
    );

  return (
    <section
      className="control"
      aria-label={t("control.title")}
      ref={bar}
      tabIndex={-1}
      onFocus={(event) => {
        focused.current = event.target;
      }}
      onBlur={(event) => {
        // Whoever leaves, leaves; a button that is about to go is disabled before it does.
        if (!event.target.matches(":disabled")) focused.current = null;
      }}
    >
      {can.approve(status) && (
        <button
          type="button"
          className="primary"
          disabled={busy}
          onClick={() =>
            act(
              api.PATCH("/api/v1/issues/{issue}/approve", { params, body: {} }),
              t("control.approved"),
            )
          }
        >
          {t("control.approve")}
        </button>
      )}
      {can.review(status) && (
        <a className="button primary" href="#patch">
          {t("control.review")}
        </a>
      )}
      {can.retry(issue) && (
        <button
          type="button"
          disabled={busy}
          onClick={() =>
            act(
              api.POST("/api/v1/issues/{issue}/retry", { params, body: {} }),
              t("control.retried"),
            )
          }
        >
          {t("control.retry")}
        </button>
      )}
      {can.reject(status) && (
        <button type="button" className="danger" onClick={() => setAsking("reject")}>
          {t("control.reject")}
        </button>
      )}
      {can.abort(status) && (
        <button type="button" className="danger" onClick={() => setAsking("abort")}>
          {t("control.abort")}
        </button>
      )}
      {issue.snooze === undefined && can.snooze(status) && (
        <button type="button" onClick={() => setAsking("snooze")}>
          {t("control.snooze")}
        </button>
      )}
      {issue.snooze !== undefined && (
        <button
          type="button"
          disabled={busy}
          onClick={() =>
            act(
              api.DELETE("/api/v1/issues/{issue}/snooze", { params: { path } }),
              t("control.woken"),
            )
          }
        >
          {t("control.wake")}
        </button>
      )}
      <span className="end">
        <select
          aria-label={t("filter.severity")}
          value={issue.severity}
          onChange={(event) => triage({ severity: event.target.value as Severity })}
        >
          {SEVERITIES.map((value) => (
            <option key={value} value={value}>
              {t(`severity.${value}`)}
            </option>
          ))}
        </select>
        <select
          aria-label={t("filter.priority")}
          value={issue.priority}
          onChange={(event) => triage({ priority: event.target.value as Priority })}
        >
          {PRIORITIES.map((value) => (
            <option key={value} value={value}>
              {t(`priority.${value}`)}
            </option>
          ))}
        </select>
      </span>
      <Suspense>
        {asking === "reject" && (
          <ReasonDialog
            title={t("control.reject")}
            about={<p>{t("control.reject.about")}</p>}
            confirm={t("control.reject.confirm")}
            danger
            onClose={() => setAsking(null)}
            act={(reason) =>
              settle(api.PATCH("/api/v1/issues/{issue}/reject", { params, body: { reason } }))
            }
          />
        )}
        {asking === "snooze" && (
          <BulkDialog
            action="snooze"
            issues={[issue]}
            onClose={() => setAsking(null)}
            onDone={() => setAsking(null)}
          />
        )}
        {asking === "abort" && (
          <ReasonDialog
            title={t("control.abort")}
            about={<p>{t("control.abort.about")}</p>}
            confirm={t("control.abort.confirm")}
            danger
            onClose={() => setAsking(null)}
            act={(reason) =>
              settle(
                api.POST("/api/v1/issues/{issue}/abort", { params: { path }, body: { reason } }),
              )
            }
          />
        )}
      </Suspense>
    </section>
  );
}
