// The commits that an issue made, and how to check them without this page.
import type { Issue } from "../api/client";
import { useSpeech } from "../i18n";
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
              <p key={commit}>
                {t(`commits.${kind}`)} <code className="digest">{commit}</code>
              </p>
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
