// The policies in force: modules and how they do, what waits for a second admin, what is
// on trial, and the way to change them, plan first.
import { useQuery, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { api, data, type PolicyModule, type PolicySet } from "../api/client";
import { useSpeech } from "../i18n";
import { useStream } from "../live";
import { may, useSession } from "../session";
import { Badge, Time } from "../ui/badges";
import { ReasonDialog } from "../ui/dialog";
import { Live } from "../ui/live";
import { Failure, Loading } from "../ui/states";
import { useTitle } from "../ui/title";
import { useTell } from "../ui/toast";
import { ChangeDialog } from "./change";
import { Enforcement } from "./host";
import { Differences, PlanSummary } from "./plan";

const KEY = ["policies"];

export default function PoliciesPage() {
  const { t } = useSpeech();
  const { role } = useSession();
  const queries = useQueryClient();
  useTitle(t("nav.policies"));
  const liveness = useStream("/stream", {
    onEvent: (event) => {
      if (event.type.startsWith("policy.") || event.type.startsWith("enforcement.")) {
        queries.invalidateQueries({ queryKey: KEY });
      }
    },
  });
  const policies = useQuery({
    queryKey: KEY,
    queryFn: () => data<PolicySet>(api.GET("/api/v1/policies")),
  });
  const [changing, setChanging] = useState<PolicyModule | "new" | null>(null);
  if (policies.isPending) return <Loading />;
  if (policies.data === undefined) {
    return <Failure error={policies.error} again={policies.refetch} />;
  }
  const set = policies.data;
  const decides = may.decide(role);
  return (
    <>
      <div className="page-head">
        <h1>{t("nav.policies")}</h1>
        <Live state={liveness} />
        {decides && (
          <button type="button" className="primary end" onClick={() => setChanging("new")}>
            {t("policies.upload")}
          </button>
        )}
      </div>
      <Notices set={set} />
      <section className="card" aria-labelledby="in-force">
        <h2 id="in-force">{t("policies.generation", { generation: set.generation })}</h2>
        <p className="facts">
          <Enforcement proof={set.enforcement} />
          {set.since && (
            <span className="soft">
              {t("policies.since")} <Time at={set.since} />
            </span>
          )}
          {set.environment && <span className="soft">{set.environment}</span>}
          {set.fourEyes && <Badge tone="calm">{t("policies.four-eyes")}</Badge>}
        </p>
        <p>
          <code className="digest">{set.digest}</code>
        </p>
        <details>
          <summary>{t("policies.points", { count: set.enforcement.points.length })}</summary>
          <ul className="points-list">
            {set.enforcement.points.map((point) => (
              <li key={point.name}>
                <Badge tone={point.refused ? "good" : "bad"}>
                  {t(point.refused ? "policies.refused" : "policies.let-through")}
                </Badge>{" "}
                <code>{point.name}</code> <span className="soft small">{point.detail}</span>
              </li>
            ))}
          </ul>
        </details>
      </section>
      <Proposals set={set} decides={decides} />
      <Trial set={set} decides={decides} />
      <Grants set={set} decides={decides} />
      <h2>{t("policies.modules")}</h2>
      <ul className="modules">
        {set.items.map((module) => (
          <Module
            key={module.name}
            module={module}
            {...(decides && { change: () => setChanging(module) })}
          />
        ))}
      </ul>
      <Kept set={set} decides={decides} />
      {changing && (
        <ChangeDialog
          module={changing === "new" ? null : changing}
          onClose={() => setChanging(null)}
        />
      )}
    </>
  );
}

/** What somebody should look at before anything else. */
function Notices({ set }: { set: PolicySet }) {
  const { t } = useSpeech();
  const quarantined = set.items.filter((module) => module.state === "quarantined");
  return (
    <div role="status">
      {set.notInForce && (
        <p className="banner" dir="auto">
          {t("policies.not-in-force", { reason: set.notInForce })}
        </p>
      )}
      {quarantined.map((module) => (
        <p key={module.name} className="banner" dir="auto">
          {t("policies.quarantined", { name: module.name, reason: module.reason ?? "" })}
        </p>
      ))}
    </div>
  );
}

type Part = { set: PolicySet; decides: boolean };

/** Sends a change and loads the page's data again. */
function useChange() {
  const { done, failed } = useTell();
  const { t } = useSpeech();
  const queries = useQueryClient();
  const settle = async (answer: Promise<unknown>) => {
    await answer;
    done(t("policies.done"));
    queries.invalidateQueries({ queryKey: KEY });
  };
  return { settle, act: (answer: Promise<unknown>) => settle(answer).catch(failed) };
}

function Proposals({ set, decides }: Part) {
  const { t } = useSpeech();
  const { username } = useSession();
  const { act, settle } = useChange();
  const [withdrawing, setWithdrawing] = useState<number | null>(null);
  if (set.proposals === undefined || set.proposals.length === 0) return null;
  return (
    <section className="card" aria-labelledby="proposals">
      <h2 id="proposals">{t("proposals.title")}</h2>
      {set.proposals.map((proposal) => {
        const params = { path: { number: String(proposal.number) } };
        return (
          <article key={proposal.number} className="proposal">
            <p dir="auto">
              <strong>#{proposal.number}</strong> {proposal.by ?? t("proposals.file")}:{" "}
              {proposal.reason} <Time at={proposal.at} />
            </p>
            <PlanSummary plan={proposal.plan} />
            {decides && (
              <p className="row">
                <button
                  type="button"
                  className="primary"
                  disabled={proposal.by === username}
                  onClick={() =>
                    act(
                      api.POST("/api/v1/policies/proposals/{number}/confirm", { params, body: {} }),
                    )
                  }
                >
                  {t("proposals.confirm")}
                </button>
                <button type="button" onClick={() => setWithdrawing(proposal.number)}>
                  {t("proposals.withdraw")}
                </button>
                {proposal.by === username && (
                  <span className="soft small">{t("proposals.other")}</span>
                )}
              </p>
            )}
          </article>
        );
      })}
      {withdrawing !== null && (
        <ReasonDialog
          title={t("proposals.withdraw")}
          confirm={t("proposals.withdraw")}
          onClose={() => setWithdrawing(null)}
          act={(reason) =>
            settle(
              api.DELETE("/api/v1/policies/proposals/{number}", {
                params: { path: { number: String(withdrawing) } },
                body: { reason },
              }),
            )
          }
        />
      )}
    </section>
  );
}

function Trial({ set, decides }: Part) {
  const { t } = useSpeech();
  const { settle } = useChange();
  const [asking, setAsking] = useState<"promote" | "end" | null>(null);
  const { trial } = set;
  if (trial === undefined) return null;
  return (
    <section className="card" aria-labelledby="trial">
      <h2 id="trial">{t("trial.title", { generation: trial.generation })}</h2>
      <p>
        {t("trial.numbers", {
          asked: trial.asked,
          stricter: trial.stricter,
          looser: trial.looser,
          faults: trial.faults,
        })}{" "}
        <span className="soft">
          {t(`rollout.${trial.rollout}`)}
          {trial.percent !== undefined && ` ${trial.percent} %`}, <bdi>{trial.by}</bdi>,{" "}
          <Time at={trial.since} />
        </span>
      </p>
      <Differences title={t("trial.differences")} changes={trial.differences} />
      {decides && (
        <p className="row">
          <button type="button" className="primary" onClick={() => setAsking("promote")}>
            {t("trial.promote")}
          </button>
          <button type="button" onClick={() => setAsking("end")}>
            {t("trial.end")}
          </button>
        </p>
      )}
      {asking && (
        <ReasonDialog
          title={t(`trial.${asking}`)}
          confirm={t(`trial.${asking}`)}
          onClose={() => setAsking(null)}
          act={(reason) =>
            settle(
              asking === "promote"
                ? api.POST("/api/v1/policies/trial/promote", { body: { reason } })
                : api.POST("/api/v1/policies/trial/end", { body: { reason } }),
            )
          }
        />
      )}
    </section>
  );
}

function Grants({ set, decides }: Part) {
  const { t, when } = useSpeech();
  const { settle } = useChange();
  const [ending, setEnding] = useState<number | null>(null);
  if (set.grants === undefined || set.grants.length === 0) return null;
  return (
    <section className="card" aria-labelledby="grants">
      <h2 id="grants">{t("grants.title")}</h2>
      <ul className="plain">
        {set.grants.map((grant) => (
          <li key={grant.number} className="row" dir="auto">
            <code>{grant.rule}</code>
            <span>
              {t("grants.until", { until: when(grant.until), by: grant.by, reason: grant.reason })}
            </span>
            {decides && (
              <button type="button" className="end" onClick={() => setEnding(grant.number)}>
                {t("grants.end")}
              </button>
            )}
          </li>
        ))}
      </ul>
      {ending !== null && (
        <ReasonDialog
          title={t("grants.end")}
          confirm={t("grants.end")}
          onClose={() => setEnding(null)}
          act={(reason) =>
            settle(
              api.DELETE("/api/v1/policies/grants/{number}", {
                params: { path: { number: String(ending) } },
                body: { reason },
              }),
            )
          }
        />
      )}
    </section>
  );
}

const STATE_TONES = {
  enforcing: "good",
  shadow: "warn",
  off: "calm",
  quarantined: "bad",
} as const;

function Module({ module, change }: { module: PolicyModule; change?: () => void }) {
  const { t, number } = useSpeech();
  const { settle } = useChange();
  const [releasing, setReleasing] = useState(false);
  const hits = Object.entries(module.hits ?? {}).sort((a, b) => b[1] - a[1]);
  const total = hits.reduce((sum, [, count]) => sum + count, 0);
  const micros = (value: number) =>
    number(value / 1000, { style: "unit", unit: "millisecond", maximumFractionDigits: 2 });
  return (
    <li className="card module">
      <header>
        <h3>{module.name}</h3>
        {module.state && (
          <Badge tone={STATE_TONES[module.state]}>{t(`module.${module.state}`)}</Badge>
        )}
        <span className="soft small">
          {t(`kind.${module.kind}` as "kind.guardrail")} {module.version}
        </span>
      </header>
      {module.reason && (
        <p className="bad" dir="auto">
          {module.reason}
        </p>
      )}
      {module.asked !== undefined && (
        <dl className="numbers">
          <div>
            <dt>{t("module.asked")}</dt>
            <dd>{number(module.asked)}</dd>
          </div>
          <div>
            <dt>{t("module.hits")}</dt>
            <dd>{number(total)}</dd>
          </div>
          <div>
            <dt>{t("module.faults")}</dt>
            <dd className={module.faults ? "bad" : ""}>{number(module.faults ?? 0)}</dd>
          </div>
          <div>
            <dt>p50 / p99</dt>
            <dd>
              {micros(module.p50Micros ?? 0)} / {micros(module.p99Micros ?? 0)}
            </dd>
          </div>
        </dl>
      )}
      <p className="soft small">
        {module.source}
        {module.publisher && `, ${t("module.publisher", { name: module.publisher })}`}
        {module.since && (
          <>
            , {t("module.since", { generation: module.generation ?? 0 })} <Time at={module.since} />
          </>
        )}
      </p>
      <details>
        <summary>{t("module.rules", { count: hits.length })}</summary>
        <ul className="rules">
          {hits.map(([rule, count]) => (
            <li key={rule}>
              <code>{rule}</code> <span className={count ? "" : "soft"}>{number(count)}</span>
            </li>
          ))}
        </ul>
        <code className="digest">{module.digest}</code>
        {module.lastFault && <p className="bad">{module.lastFault}</p>}
      </details>
      {change && (
        <p className="row">
          <button type="button" onClick={change}>
            {t("module.change")}
            <span className="hidden"> {module.name}</span>
          </button>
          {module.state === "quarantined" && (
            <button type="button" onClick={() => setReleasing(true)}>
              {t("module.release")}
            </button>
          )}
        </p>
      )}
      {releasing && (
        <ReasonDialog
          title={t("module.release")}
          confirm={t("module.release")}
          onClose={() => setReleasing(false)}
          act={(reason) =>
            settle(
              api.POST("/api/v1/policies/quarantine/{module}/release", {
                params: { path: { module: module.name } },
                body: { reason },
              }),
            )
          }
        />
      )}
    </li>
  );
}

function Kept({ set, decides }: Part) {
  const { t } = useSpeech();
  const { settle } = useChange();
  const [back, setBack] = useState<number | null>(null);
  if (set.kept === undefined || set.kept.length === 0) return null;
  return (
    <section className="card" aria-labelledby="kept">
      <h2 id="kept">{t("kept.title")}</h2>
      <ul className="plain">
        {set.kept.map((kept) => (
          <li key={kept.generation} className="row">
            <strong>{kept.generation}</strong> <Time at={kept.at} />
            <code className="digest">{kept.digest.slice(0, 16)}</code>
            {decides && (
              <button type="button" className="end" onClick={() => setBack(kept.generation)}>
                {t("kept.back")}
                <span className="hidden"> {kept.generation}</span>
              </button>
            )}
          </li>
        ))}
      </ul>
      {back !== null && (
        <ReasonDialog
          title={t("kept.back.to", { generation: back })}
          confirm={t("kept.back")}
          onClose={() => setBack(null)}
          act={(reason) =>
            settle(api.POST("/api/v1/policies/rollback", { body: { generation: back, reason } }))
          }
        />
      )}
    </section>
  );
}
