// The commits that an issue made, and how to check them without this page.
import { useQuery } from "@tanstack/react-query";
import { useState } from "react";
import { api, data, type Issue } from "../api/client";
import { useSpeech } from "../i18n";
import { Failure } from "../ui/states";
import { useTell } from "../ui/toast";

type Commit = { kind: "heal" | "rollback"; commit: string };

function commitsOf(issue: Issue): { run: Issue["runs"][number]; commits: Commit[] }[] {
  return issue.runs.map((run) => ({
    run,
    commits: [
      ...(run.healCommit ? [{ kind: "heal" as const, commit: run.healCommit }] : []),
      ...(run.rollbackCommit ? [{ kind: "rollback" as const, commit: run.rollbackCommit }] : []),
    ],
  }));
}

export function Commits({ issue }: { issue: Issue }) {
  const { t } = useSpeech();
  if (issue.runs.length === 0) return null;
  const commands = commitsOf(issue).flatMap(({ run, commits }) => [
    ...(commits.length === 0
      ? [`git log --oneline ${run.baseCommit.slice(0, 12)}..${run.branch}`]
      : []),
    ...commits.map(
      ({ commit }) => `git show --show-signature --format=full ${commit.slice(0, 12)}`,
    ),
    ...commits.map(({ commit }) => `git log -1 --format='%(trailers)' ${commit.slice(0, 12)}`),
  ]);
  return (
    <section className="card" aria-labelledby="commits">
      <h2 id="commits">{t("commits.title")}</h2>
      <ul className="commits">
        {commitsOf(issue).map(({ run, commits }) => (
          <li key={run.id}>
            <strong>{t("lane.attempt", { number: run.number })}</strong> <code>{run.branch}</code>{" "}
            <span className="soft small">
              {t("commits.base")} <code>{run.baseCommit.slice(0, 12)}</code>,{" "}
              {t("commits.generation", { generation: run.policyGeneration })}, {run.agent}
            </span>
            {commits.map(({ kind, commit }) => (
              <div key={commit}>
                <p>
                  {t(`commits.${kind}`)} <code className="digest">{commit}</code>
                </p>
                <Trailers issue={issue.number} commit={commit} />
              </div>
            ))}
          </li>
        ))}
      </ul>
      <p>
        <a className="button" href={`/api/v1/issues/${issue.number}/pack`} download>
          {t("commits.pack")}
        </a>{" "}
        <span className="soft small">{t("commits.pack.about")}</span>
      </p>
      <p className="soft">{t("commits.about")}</p>
      {[...new Set([...commands, "selfheal audit verify"])].map((command) => (
        <Command key={command} command={command} />
      ))}
    </section>
  );
}

/** What a commit says about itself, read from the repository when somebody wants to see it. */
function Trailers({ issue, commit }: { issue: number; commit: string }) {
  const { t } = useSpeech();
  const [open, setOpen] = useState(false);
  const made = useQuery({
    queryKey: ["issue", String(issue), "commits", commit],
    enabled: open,
    queryFn: () =>
      data(
        api.GET("/api/v1/issues/{issue}/commits", { params: { path: { issue: String(issue) } } }),
      ),
  });
  const found = made.data?.commits.find((one) => one.commit === commit);
  return (
    <details className="trailers" onToggle={(event) => setOpen(event.currentTarget.open)}>
      <summary>{t("commits.trailers")}</summary>
      {made.isError && <Failure error={made.error} again={made.refetch} />}
      {made.isSuccess && found?.trailers === undefined && (
        <p className="soft">{t("commits.gone")}</p>
      )}
      {found?.trailers !== undefined && (
        <dl>
          {found.trailers.map(({ name, value }) => (
            <div key={`${name}: ${value}`}>
              <dt>
                <code>{name}</code>
              </dt>
              <dd dir="auto">{value}</dd>
            </div>
          ))}
        </dl>
      )}
    </details>
  );
}

/** A command to copy. */
export function Command({ command }: { command: string }) {
  const { t } = useSpeech();
  const { done, failed } = useTell();
  const copy = () =>
    navigator.clipboard.writeText(command).then(() => done(t("action.copied")), failed);
  return (
    <p className="command">
      <code>{command}</code>
      {navigator.clipboard !== undefined && (
        <button type="button" className="quiet" onClick={copy}>
          {t("action.copy")}
          <span className="hidden">: {command}</span>
        </button>
      )}
    </p>
  );
}
