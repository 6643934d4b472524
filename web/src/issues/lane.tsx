// The execution lane: each attempt's steps with time and evidence, the live note at its end.
import { memo, useMemo } from "react";
import type { Event, Issue } from "../api/client";
import { useSpeech } from "../i18n";
import { Ticks } from "../ui/ticks";
import { type Attempt, attemptsOf, inputLine, type Step, type ToolCall, toneOf } from "./events";

type Props = { events: readonly Event[]; note: string; runs: Issue["runs"] };

export function Lane({ events, note, runs }: Props) {
  const { t } = useSpeech();
  const attempts = useMemo(() => attemptsOf(events), [events]);
  return (
    <section className="card lane" aria-labelledby="lane">
      <h2 id="lane">{t("lane.title")}</h2>
      {attempts.map((attempt) => (
        <AttemptSteps
          key={attempt.number}
          attempt={attempt}
          agent={runs[attempt.number - 1]?.agent}
        />
      ))}
      {note !== "" && (
        <p className="note-line" aria-live="off" dir="auto">
          <span className="spinner" aria-hidden="true" />
          {note}
        </p>
      )}
    </section>
  );
}

type AttemptProps = { attempt: Attempt; agent: string | undefined };

function AttemptSteps({ attempt, agent }: AttemptProps) {
  const { t } = useSpeech();
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
          <OneStep key={step.event.seq} step={step} calls={step.calls.length} />
        ))}
      </ol>
    </>
  );
}

const OneStep = memo(
  function OneStep({ step }: { step: Step; calls: number }) {
    const { t, clock } = useSpeech();
    const { event, calls } = step;
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
      </li>
    );
  },
  // The events are appended to; only the last step may still gain calls or outcomes.
  (before, after) =>
    before.step.event.seq === after.step.event.seq &&
    before.calls === after.calls &&
    before.step.calls.at(-1)?.outcome === after.step.calls.at(-1)?.outcome,
);

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
