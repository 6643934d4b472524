// The decision explorer: every decision of the policies, and why it came out as it did.
import { useInfiniteQuery, useQuery } from "@tanstack/react-query";
import { useState } from "react";
import { Link, useSearchParams } from "react-router";
import { api, type Decision, type DecisionKind, data } from "../api/client";
import { type Key, useSpeech } from "../i18n";
import { inputLine } from "../issues/events";
import { Answers, Why } from "../issues/findings";
import { Time } from "../ui/badges";
import { Empty, Failure, Loading } from "../ui/states";
import { useTitle } from "../ui/title";
import { useFill } from "./fill";

const KINDS = ["toolCall", "patch", "risk", "autonomy", "admission"] as const;
const PAGE = 100;
const MOST_EMPTY = 20;
/** Decisions that a filter looks through by itself. */
const MOST_LOOKED_AT = 5_000;

export default function DecisionsPage() {
  const { t } = useSpeech();
  useTitle(t("nav.decisions"));
  const [parameters, setParameters] = useSearchParams();
  const kind = (KINDS.find((kind) => kind === parameters.get("kind")) ??
    "toolCall") as DecisionKind;
  const refused = parameters.get("refused") === "yes";
  const decisions = useInfiniteQuery({
    queryKey: ["decisions", kind],
    initialPageParam: "",
    queryFn: async ({ pageParam }) => {
      let cursor = pageParam;
      for (let round = 0; ; round++) {
        const query = {
          kind,
          order: "newest" as const,
          limit: PAGE,
          ...(cursor && { cursor }),
        };
        const page = await data(api.GET("/api/v1/decisions", { params: { query } }));
        if (page.items.length > 0 || page.nextCursor === undefined || round === MOST_EMPTY) {
          return page;
        }
        cursor = page.nextCursor;
      }
    },
    getNextPageParam: (page) => page.nextCursor,
  });
  const all = decisions.data?.pages.flatMap((page) => page.items) ?? [];
  const items = refused ? all.filter((one) => toneOf(one) !== "allow") : all;
  useFill(decisions, {
    on: refused,
    shown: items.length,
    loaded: all.length,
    most: MOST_LOOKED_AT,
  });
  return (
    <>
      <div className="page-head">
        <h1>{t("nav.decisions")}</h1>
      </div>
      <p className="soft">{t("decisions.about")}</p>
      <search className="filters">
        <select
          aria-label={t("decisions.kind")}
          value={kind}
          onChange={(event) => setParameters({ kind: event.target.value }, { replace: true })}
        >
          {KINDS.map((kind) => (
            <option key={kind} value={kind}>
              {t(`decisions.${kind}` as Key)}
            </option>
          ))}
        </select>
        <label className="check">
          <input
            type="checkbox"
            checked={refused}
            onChange={(event) =>
              setParameters(event.target.checked ? { kind, refused: "yes" } : { kind }, {
                replace: true,
              })
            }
          />
          {t("decisions.refused")}
        </label>
      </search>
      {decisions.isPending && <Loading />}
      {decisions.isError && <Failure error={decisions.error} again={decisions.refetch} />}
      {decisions.isSuccess && !decisions.isFetching && items.length === 0 && (
        <Empty>{t("decisions.empty")}</Empty>
      )}
      <ol className="timeline">
        {items.map((decision) => (
          <OneDecision key={decision.seq} decision={decision} />
        ))}
      </ol>
      {decisions.hasNextPage && (
        <button
          type="button"
          disabled={decisions.isFetching}
          onClick={() => decisions.fetchNextPage()}
        >
          {t("list.more")}
        </button>
      )}
    </>
  );
}

const TONES: Record<string, string> = { deny: "deny", ask: "ask", stop: "deny", review: "ask" };

const toneOf = (decision: Decision) => TONES[decision.answer.split(" ")[0] ?? ""] ?? "allow";

function OneDecision({ decision }: { decision: Decision }) {
  const { t } = useSpeech();
  const [open, setOpen] = useState(false);
  return (
    <li>
      <Time at={decision.at} />
      <details onToggle={(event) => setOpen(event.currentTarget.open)}>
        <summary>
          <span className="seq">{decision.seq}</span>{" "}
          <span className={`verdict ${toneOf(decision)}`}>{decision.answer}</span>{" "}
          {decision.tool && <strong>{decision.tool}</strong>}{" "}
          {decision.input && <code dir="ltr">{inputLine(decision.input).slice(0, 200)}</code>}
          {decision.because && <span dir="auto">{decision.because}</span>}
        </summary>
        {open && (
          <>
            <p className="soft small">
              <bdi>{decision.actor}</bdi>
              {decision.issue !== undefined && (
                <>
                  {", "}
                  <Link to={`/issues/${decision.issue}`}>
                    {t("audit.of", { number: decision.issue })}
                  </Link>
                </>
              )}
              {", "}
              {t("commits.generation", { generation: decision.policyGeneration })}
            </p>
            {decision.reason && (
              <p>
                <Why reason={decision.reason} />
              </p>
            )}
            {decision.factors !== undefined && decision.factors.length > 0 && (
              <ul className="factors">
                {decision.factors.map((factor) => (
                  <li key={`${factor.name} ${factor.evidence}`}>
                    <span className="points">+{factor.points}</span> {factor.name}{" "}
                    <code>{factor.evidence}</code>
                  </li>
                ))}
              </ul>
            )}
            <Answers modules={decision.modules} />
            <Explanation seq={decision.seq} />
            <Facts seq={decision.seq} />
          </>
        )}
      </details>
    </li>
  );
}

/** What the set in force says to the same question now. */
function Explanation({ seq }: { seq: number }) {
  const { t } = useSpeech();
  const answer = useQuery({
    queryKey: ["decisions", "why", seq],
    queryFn: () =>
      data(
        api.GET("/api/v1/decisions/{id}/explanation", { params: { path: { id: String(seq) } } }),
      ),
  });
  if (answer.isPending) return <Loading />;
  if (answer.isError) return <p className="soft small">{t("decisions.unexplained")}</p>;
  return (
    <p className="small">
      {t(answer.data.same ? "decisions.same" : "decisions.changed", {
        under: answer.data.under,
        answer: answer.data.answer,
      })}
    </p>
  );
}

function Facts({ seq }: { seq: number }) {
  const { t } = useSpeech();
  const [open, setOpen] = useState(false);
  const decision = useQuery({
    queryKey: ["decisions", "one", seq],
    enabled: open,
    queryFn: () =>
      data(api.GET("/api/v1/decisions/{id}", { params: { path: { id: String(seq) } } })),
  });
  return (
    <details onToggle={(event) => setOpen(event.currentTarget.open)}>
      <summary>{t("decisions.facts")}</summary>
      {decision.data && (
        <pre tabIndex={0}>
          {JSON.stringify({ facts: decision.data.facts, outcome: decision.data.outcome }, null, 2)}
        </pre>
      )}
    </details>
  );
}
