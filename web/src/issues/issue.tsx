// The page of one issue: plain words for its reporter, everything for admins and auditors.
import { useQuery, useQueryClient } from "@tanstack/react-query";
import { type FormEvent, lazy, Suspense, useEffect, useReducer, useRef, useState } from "react";
import { Link, Navigate, useParams } from "react-router";
import { api, data, type Event, type Issue } from "../api/client";
import { useSpeech } from "../i18n";
import { useStream } from "../live";
import { may, useSession } from "../session";
import { PriorityTag, SeverityTag, SnoozeNote, StatusBadge, Time } from "../ui/badges";
import { Live } from "../ui/live";
import { Failure, Loading } from "../ui/states";
import { useTitle } from "../ui/title";
import { useTell } from "../ui/toast";
import { useReadingPlace } from "./anchor";
import { Commits } from "./commits";
import { ControlBar, useIssueAction } from "./control";
import { Findings } from "./findings";
import { Lane, type Note } from "./lane";
import { Progress } from "./progress";
import { can, rests } from "./states";
import { IssueTabs } from "./tabs";
import { Talk } from "./talk";

const PatchSection = lazy(() => import("./patch"));

const SETTLE_MS = 150;
/** Notes that the live log keeps. */
const MOST_NOTES = 500;
/** The host's clock may be a little behind. */
const SKEW_MS = 2_000;

/** All events so far, in order; drawn at most once per frame however many arrive. */
function useEvents(number: number) {
  const queries = useQueryClient();
  const events = useRef<Event[]>([]);
  const [, draw] = useReducer((count: number) => count + 1, 0);
  const [log, setLog] = useState<readonly Note[]>([]);
  const say = (text: string, at: string) =>
    setLog((before) => [...before.slice(1 - MOST_NOTES), { at, text }]);
  const begun = useRef(Date.now() - SKEW_MS);
  const frame = useRef<number>(undefined);
  const timer = useRef<ReturnType<typeof setTimeout>>(undefined);
  useEffect(
    () => () => {
      clearTimeout(timer.current);
      if (frame.current !== undefined) cancelAnimationFrame(frame.current);
    },
    [],
  );
  const liveness = useStream(`/issues/${number}/stream`, {
    onEvent: (event) => {
      const last = events.current.at(-1);
      if (last !== undefined && event.seq <= last.seq) return;
      events.current = [...events.current, event];
      frame.current ??= requestAnimationFrame(() => {
        frame.current = undefined;
        draw();
      });
      // What happened before the page was there is in the lane.
      if (Date.parse(event.at) >= begun.current) say(event.summary, event.at);
      if (event.type.startsWith("tool.")) return;
      clearTimeout(timer.current);
      timer.current = setTimeout(() => {
        queries.invalidateQueries({ queryKey: ["issue", String(number)] });
      }, SETTLE_MS);
    },
    onProgress: (note) => say(note, new Date().toISOString()),
  });
  return { events: events.current, log, liveness };
}

export default function IssuePage() {
  const { issue: key = "" } = useParams();
  const issue = useQuery({
    queryKey: ["issue", key],
    queryFn: () =>
      data<Issue>(api.GET("/api/v1/issues/{issue}", { params: { path: { issue: key } } })),
  });
  useTitle(issue.data ? `#${issue.data.number} ${issue.data.title}` : `#${key}`);
  if (issue.data === undefined) {
    return issue.isError ? <Failure error={issue.error} again={issue.refetch} /> : <Loading />;
  }
  // By id, too, the page has one address.
  const { number } = issue.data;
  return String(number) === key ? (
    <Found issue={issue.data} />
  ) : (
    <Navigate to={`/issues/${number}`} replace />
  );
}

function Found({ issue }: { issue: Issue }) {
  const { t } = useSpeech();
  const { role } = useSession();
  const { events, log, liveness } = useEvents(issue.number);
  const full = may.seeAllIssues(role);
  const page = useRef<HTMLElement>(null);
  useReadingPlace(page);
  return (
    <article className="issue-page" ref={page}>
      <IssueTabs />
      <header className="issue-head">
        <h1 dir="auto">
          <span className="number">#{issue.number}</span> {issue.title}
        </h1>
        <p className="facts">
          <StatusBadge status={issue.status} />
          <SeverityTag severity={issue.severity} />
          <PriorityTag priority={issue.priority} />
          <SnoozeNote snooze={issue.snooze} />
          <span className="soft">
            <bdi>{t("list.by", { name: issue.reportedBy })}</bdi>, <Time at={issue.createdAt} />
          </span>
          <Live state={liveness} />
        </p>
      </header>
      {may.decide(role) && <ControlBar issue={issue} />}
      {!full && <Progress issue={issue} />}
      <div className={full ? "lanes" : ""}>
        {full && (
          <Lane
            issue={issue}
            events={events}
            log={log}
            active={!rests(issue.status)}
            retries={may.decide(role) && can.retry(issue)}
          />
        )}
        <div className="reasoning">
          <Report issue={issue} />
          <Findings issue={issue} full={full} />
          {issue.patchDiff !== undefined && (
            <Suspense fallback={<Loading />}>
              <PatchSection issue={issue} decides={may.decide(role)} />
            </Suspense>
          )}
          {full && <Commits issue={issue} />}
          <Talk issue={issue} />
        </div>
      </div>
    </article>
  );
}

/** What the reporter said, as they said it. */
function Report({ issue }: { issue: Issue }) {
  const { t } = useSpeech();
  const { role } = useSession();
  const parts = [
    [t("report.stepsToReproduce"), issue.stepsToReproduce],
    [t("report.expectedBehavior"), issue.expectedBehavior],
    [t("report.actualBehavior"), issue.actualBehavior],
    [t("report.service"), issue.service],
    [t("issue.occurrences"), issue.occurrences > 1 ? String(issue.occurrences) : undefined],
  ].filter((part): part is [string, string] => part[1] !== undefined);
  return (
    <section className="card" aria-labelledby="reported">
      <h2 id="reported">{t("issue.reported")}</h2>
      <p className="text" dir="auto">
        {issue.description}
      </p>
      <dl>
        {parts.map(([name, text]) => (
          <div key={name}>
            <dt>{name}</dt>
            <dd className="text" dir="auto">
              {text}
            </dd>
          </div>
        ))}
        {(issue.relatedIssueIds.length > 0 || may.decide(role)) && (
          <div>
            <dt>{t("issue.related")}</dt>
            <dd>
              {issue.relatedIssueIds.map((id) => (
                <Related key={id} id={id} />
              ))}
              {may.decide(role) && <Relate number={issue.number} />}
            </dd>
          </div>
        )}
      </dl>
    </section>
  );
}

/** A link to another issue; nothing where it is somebody else's. */
function Related({ id }: { id: string }) {
  const other = useQuery({
    queryKey: ["issue", id],
    queryFn: () =>
      data<Issue>(api.GET("/api/v1/issues/{issue}", { params: { path: { issue: id } } })),
  });
  if (other.data === undefined) return null;
  return (
    <p>
      <Link to={`/issues/${other.data.number}`}>
        #{other.data.number} <bdi>{other.data.title}</bdi>
      </Link>{" "}
      <StatusBadge status={other.data.status} />
    </p>
  );
}

/** Relates the issue to another one, by its number. */
function Relate({ number }: { number: number }) {
  const { t } = useSpeech();
  const { failed } = useTell();
  const settle = useIssueAction(number);
  const relate = async (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    const form = event.currentTarget;
    const id = String(new FormData(form).get("other")).trim().replace(/^#/, "");
    const path = { issue: String(number), id };
    try {
      await settle(api.PUT("/api/v1/issues/{issue}/related/{id}", { params: { path }, body: {} }));
      form.reset();
    } catch (error) {
      failed(error);
    }
  };
  return (
    <form className="relate" onSubmit={relate}>
      <input
        name="other"
        required
        inputMode="numeric"
        pattern="#?[0-9]+"
        maxLength={12}
        aria-label={t("issue.relate.number")}
        placeholder={t("issue.relate.number")}
      />
      <button type="submit">{t("issue.relate")}</button>
    </form>
  );
}
