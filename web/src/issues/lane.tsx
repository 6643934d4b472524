// The execution lane: each attempt's steps with time and evidence, the live note at its end.
import { memo, useEffect, useMemo, useRef, useState } from "react";
import { api, type Event, type Issue } from "../api/client";
import { useSpeech } from "../i18n";
import { Ticks } from "../ui/ticks";
import { useTell } from "../ui/toast";
import { useIssueAction } from "./control";
import {
  type Attempt,
  attemptsOf,
  type Evidence,
  evidenceOf,
  inputLine,
  type RetryFrom,
  retriesOf,
  type Step,
  type ToolCall,
  toneOf,
} from "./events";
import { Checks } from "./findings";

export type Note = { at: string; text: string };
type Props = {
  issue: Issue;
  events: readonly Event[];
  /** What happened to it live, oldest first. */
  log: readonly Note[];
  active: boolean;
  /** The issue rests where another attempt may follow, and the reader may say so. */
  retries: boolean;
};

export function Lane({ issue, events, log, active, retries }: Props) {
  const { t } = useSpeech();
  const attempts = useMemo(() => attemptsOf(events), [events]);
  const note = log.at(-1);
  return (
    <section className="card lane" aria-labelledby="lane">
      <h2 id="lane">{t("lane.title")}</h2>
      {attempts.map((attempt) => (
        <AttemptSteps
          key={attempt.number}
          attempt={attempt}
          issue={issue}
          retries={retries && attempt === attempts.at(-1) && attempt.number > 0}
        />
      ))}
      {retries && <p className="soft small">{t("lane.retry.about")}</p>}
      {active && note !== undefined && (
        <p className="note-line" aria-live="off" dir="auto">
          <span className="spinner" aria-hidden="true" />
          {note.text}
        </p>
      )}
      {log.length > 0 && <LiveLog log={log} />}
    </section>
  );
}

/** Another attempt that begins at this step of the last one, and keeps what came before. */
function Retry({ number, from }: { number: number; from: RetryFrom }) {
  const { t } = useSpeech();
  const { done, failed } = useTell();
  const settle = useIssueAction(number);
  const [busy, setBusy] = useState(false);
  const retry = async () => {
    setBusy(true);
    try {
      const path = { issue: String(number) };
      await settle(api.POST("/api/v1/issues/{issue}/retry", { params: { path }, body: { from } }));
      done(t("control.retried"));
    } catch (error) {
      failed(error);
      setBusy(false);
    }
  };
  return (
    <p className="retry">
      <button type="button" disabled={busy} onClick={retry}>
        {t(`lane.retry.${from}`)}
      </button>
    </p>
  );
}

/** Each note as it came. It follows the newest as long as the newest is in sight. */
function LiveLog({ log }: { log: readonly Note[] }) {
  const { t, clock } = useSpeech();
  const box = useRef<HTMLOListElement>(null);
  const follows = useRef(true);
  useEffect(() => {
    if (log.length > 0 && follows.current) box.current?.scrollTo({ top: box.current.scrollHeight });
  }, [log]);
  return (
    <details
      className="live-log"
      onToggle={() => box.current?.scrollTo({ top: box.current.scrollHeight })}
    >
      <summary>{t("lane.log", { count: log.length })}</summary>
      <ol
        ref={box}
        role="log"
        aria-live="off"
        aria-label={t("lane.log.label")}
        tabIndex={0}
        onScroll={({ currentTarget: { scrollTop, clientHeight, scrollHeight } }) => {
          follows.current = scrollTop + clientHeight >= scrollHeight - 4;
        }}
      >
        {log.map((line, index) => (
          // biome-ignore lint/suspicious/noArrayIndexKey: lines are only ever added
          <li key={index}>
            <time dateTime={line.at}>{clock(line.at)}</time> <span dir="auto">{line.text}</span>
          </li>
        ))}
      </ol>
    </details>
  );
}

type AttemptProps = { attempt: Attempt; issue: Issue; retries: boolean };

function AttemptSteps({ attempt, issue, retries }: AttemptProps) {
  const { t } = useSpeech();
  const agent = issue.runs[attempt.number - 1]?.agent;
  const offers = retries ? retriesOf(attempt) : undefined;
  return (
    <>
      {attempt.number > 0 && (
        <h3>
          {t("lane.attempt", { number: attempt.number })}
          {agent && <small className="soft"> {agent}</small>}
        </h3>
      )}
      <ol className="steps">
        {attempt.steps.map((step) => (
          <OneStep
            key={step.event.seq}
            step={step}
            calls={step.calls.length}
            number={issue.number}
            from={offers?.get(step.event.seq)}
          />
        ))}
      </ol>
    </>
  );
}

type StepProps = { step: Step; calls: number; number: number; from: RetryFrom | undefined };

const OneStep = memo(
  function OneStep({ step, number, from }: StepProps) {
    const { t, clock } = useSpeech();
    const { event, calls } = step;
    const evidence = evidenceOf(event);
    const refused = calls.filter((call) => (call.told.verdict ?? "allow") !== "allow").length;
    return (
      <li className={toneOf(event)}>
        <time dateTime={event.at}>{clock(event.at)}</time>
        <p>
          <span dir="auto">
            <Ticks text={event.summary} />
          </span>
          <small className="soft"> {event.actor}</small>
        </p>
        {evidence !== null && <StepEvidence evidence={evidence} />}
        {calls.length > 0 && (
          <details>
            <summary>
              {t(calls.length === 1 ? "lane.call" : "lane.calls", { count: calls.length })}
              {refused > 0 && <span className="bad"> {t("lane.refused", { count: refused })}</span>}
            </summary>
            <ul className="calls">
              {calls.map((call) => (
                <Call key={call.seq} call={call} />
              ))}
            </ul>
          </details>
        )}
        {from !== undefined && <Retry number={number} from={from} />}
      </li>
    );
  },
  // The events are appended to; only the last step may still gain calls or outcomes.
  (before, after) =>
    before.step.event.seq === after.step.event.seq &&
    before.calls === after.calls &&
    before.from === after.from &&
    before.step.calls.at(-1)?.outcome === after.step.calls.at(-1)?.outcome,
);

function StepEvidence({ evidence }: { evidence: Evidence }) {
  const { t } = useSpeech();
  const { checks, factors, files, words } = evidence;
  return (
    <details>
      <summary>{t("lane.evidence")}</summary>
      <div className="evidence">
        {words !== "" && (
          <p dir="auto">
            <Ticks text={words} />
          </p>
        )}
        {files.length > 0 && (
          <ul className="plain">
            {files.map((file) => (
              <li key={file}>
                <code dir="ltr">{file}</code>
              </li>
            ))}
          </ul>
        )}
        {factors.length > 0 && (
          <ul className="plain">
            {factors.map((factor) => (
              <li key={factor.name} dir="auto">
                <strong>+{factor.points}</strong> {factor.name}: {factor.evidence}
              </li>
            ))}
          </ul>
        )}
        {checks.length > 0 && <Checks checks={checks} />}
      </div>
    </details>
  );
}

function Call({ call }: { call: ToolCall }) {
  const { t } = useSpeech();
  const verdict = call.told.verdict ?? "allow";
  return (
    <li>
      <p>
        <strong>{call.tool}</strong> <span className={`verdict ${verdict}`}>{verdict}</span>
        {call.outcome && <small className="soft"> {call.outcome}</small>}
      </p>
      <code dir="ltr">{inputLine(call.input)}</code>
      {call.told.reason && (
        <p className="small" dir="auto">
          <code>{call.told.reason.rule}</code> {call.module && `(${call.module})`}:{" "}
          {call.told.reason.message}
          {call.told.reason.evidence && (
            <>
              {" "}
              {t("decision.evidence")} <code>{call.told.reason.evidence.text}</code>
            </>
          )}
        </p>
      )}
    </li>
  );
}
