// For reporters: where their issue stands, in plain words.
import type { Issue, IssueStatus } from "../api/client";
import { type Key, useSpeech } from "../i18n";

const STAGES = ["reported", "approved", "cause", "fix", "check", "done"] as const;

/** How many stages are behind an issue in a state. */
const REACHED: Record<IssueStatus, number> = {
  OPEN: 1,
  APPROVED: 2,
  DIAGNOSING: 2,
  DIAGNOSED: 3,
  PATCH_PENDING: 3,
  PATCHING: 3,
  VERIFYING: 4,
  RESOLVED: 6,
  FAILED: 3,
  ESCALATED: 2,
  REJECTED: 1,
  ABORTED: 1,
};

const STOPPED: readonly IssueStatus[] = ["REJECTED", "ABORTED", "ESCALATED", "FAILED"];

export function Progress({ issue }: { issue: Issue }) {
  const { t } = useSpeech();
  const reached = REACHED[issue.status];
  const stopped = STOPPED.includes(issue.status);
  return (
    <section className="card progress" aria-labelledby="progress">
      <h2 id="progress">{t("progress.title")}</h2>
      <p className="lead" role="status">
        {t(`plain.${issue.status}`)}
      </p>
      {issue.rejectionReason !== undefined && (
        <p className="text" dir="auto">
          {t("progress.because", { reason: issue.rejectionReason })}
        </p>
      )}
      <ol className="stages">
        {STAGES.map((stage, index) => {
          const state =
            index < reached ? "done" : index === reached ? (stopped ? "off" : "now") : "later";
          return (
            <li key={stage} className={state} {...(state === "now" && { "aria-current": "step" })}>
              {t(`stage.${stage}` as Key)}
              <span className="hidden"> ({t(`stage.is.${state}`)})</span>
            </li>
          );
        })}
      </ol>
    </section>
  );
}
