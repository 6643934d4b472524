// States, severities and priorities, told by shape and word and not by colour alone.
import type { IssueStatus, IssueSummary, Priority, Severity } from "../api/client";
import { useSpeech } from "../i18n";

type Tone = "good" | "bad" | "warn" | "busy" | "calm";

const TONES: Record<IssueStatus, Tone> = {
  OPEN: "warn",
  APPROVED: "busy",
  REJECTED: "calm",
  DIAGNOSING: "busy",
  DIAGNOSED: "busy",
  PATCH_PENDING: "warn",
  PATCHING: "busy",
  VERIFYING: "busy",
  RESOLVED: "good",
  FAILED: "bad",
  ESCALATED: "bad",
  ABORTED: "calm",
};

export function StatusBadge({ status }: { status: IssueStatus }) {
  const { t } = useSpeech();
  return <Badge tone={TONES[status]}>{t(`status.${status}`)}</Badge>;
}

export function Badge({ tone, children }: { tone: Tone; children: React.ReactNode }) {
  return <span className={`badge ${tone}`}>{children}</span>;
}

export function SeverityTag({ severity }: { severity: Severity }) {
  const { t } = useSpeech();
  return (
    <span className={`severity ${severity.toLowerCase()}`}>
      <span className="bars" aria-hidden="true" />
      {t(`severity.${severity}`)}
    </span>
  );
}

export function PriorityTag({ priority }: { priority: Priority }) {
  const { t } = useSpeech();
  return (
    <span className="priority" title={t(`priority.${priority}`)}>
      {priority}
    </span>
  );
}

/** Until when an issue is out of the way; nothing where it is not. */
export function SnoozeNote({ snooze }: { snooze: IssueSummary["snooze"] | undefined }) {
  const { t, when } = useSpeech();
  if (snooze === undefined) return null;
  return (
    <span className="snooze">
      {snooze.until === undefined
        ? t("snooze.is.news")
        : t("snooze.is.until", { time: when(snooze.until) })}
    </span>
  );
}

/** A time in words, with the exact one at hand. */
export function Time({ at }: { at: string }) {
  const { ago, when } = useSpeech();
  return (
    <time dateTime={at} title={when(at)}>
      {ago(at)}
    </time>
  );
}
