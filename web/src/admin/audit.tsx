// The audit log as a timeline, its checkpoint, and the check that the chain holds.
import { useInfiniteQuery, useQuery } from "@tanstack/react-query";
import { useMemo, useState } from "react";
import { Link, useSearchParams } from "react-router";
import { type AuditRecord, api, data } from "../api/client";
import { useSpeech } from "../i18n";
import { Command } from "../issues/commits";
import { useStream } from "../live";
import { Live } from "../ui/live";
import { Empty, Failure, Loading } from "../ui/states";
import { useTitle } from "../ui/title";
import { useProblemText } from "../ui/toast";
import { type CheckResult, checkLog } from "./check";
import { useFill } from "./fill";

const PAGE = 200;
/** Records that a filter looks through by itself. */
const MOST_LOOKED_AT = 20_000;

export default function AuditPage() {
  const { t } = useSpeech();
  useTitle(t("nav.audit"));
  const checkpoint = useQuery({
    queryKey: ["audit", "checkpoint"],
    queryFn: () => data(api.GET("/api/v1/audit/checkpoint")),
  });
  const [grown, setGrown] = useState(0);
  const liveness = useStream("/stream", { onEvent: () => setGrown((count) => count + 1) });
  const refresh = () => {
    setGrown(0);
    checkpoint.refetch();
  };
  return (
    <>
      <div className="page-head">
        <h1>{t("nav.audit")}</h1>
        <Live state={liveness} />
      </div>
      {checkpoint.isPending && <Loading />}
      {checkpoint.isError && <Failure error={checkpoint.error} again={checkpoint.refetch} />}
      {checkpoint.data && (
        <>
          <section className="card" aria-labelledby="checkpoint">
            <h2 id="checkpoint">{t("audit.checkpoint")}</h2>
            <dl>
              <div>
                <dt>{t("audit.size")}</dt>
                <dd>{checkpoint.data.size}</dd>
              </div>
              <div>
                <dt>{t("audit.head")}</dt>
                <dd>
                  <code className="digest">{checkpoint.data.head}</code>
                </dd>
              </div>
              <div>
                <dt>{t("audit.key")}</dt>
                <dd>
                  <code className="digest">{checkpoint.data.key}</code>
                </dd>
              </div>
              <div>
                <dt>{t("audit.signed")}</dt>
                <dd>
                  <pre tabIndex={0}>{checkpoint.data.checkpoint}</pre>
                  <a href="/api/v1/audit/tlog/checkpoint" download="checkpoint.txt">
                    {t("audit.signed.get")}
                  </a>
                </dd>
              </div>
            </dl>
            <Verify />
          </section>
          {grown > 0 && (
            <button type="button" className="fresh" onClick={refresh}>
              {t("audit.grown", { count: grown })}
            </button>
          )}
          <Timeline size={checkpoint.data.size} key={checkpoint.data.size} />
        </>
      )}
    </>
  );
}

function Verify() {
  const { t } = useSpeech();
  const sentence = useProblemText();
  const [progress, setProgress] = useState<number | null>(null);
  const [result, setResult] = useState<CheckResult | null>(null);
  const [refused, setRefused] = useState<unknown>(null);
  const verify = async () => {
    setResult(null);
    setRefused(null);
    try {
      setResult(await checkLog(setProgress));
    } catch (error) {
      setRefused(error);
    } finally {
      setProgress(null);
    }
  };
  // Browsers hash on encrypted connections and localhost only.
  const able = window.isSecureContext;
  return (
    <>
      <p className="row">
        <button
          type="button"
          className="primary"
          disabled={progress !== null || !able}
          onClick={verify}
        >
          {t("audit.verify")}
        </button>
        <span role="status">
          {progress !== null && t("audit.verifying", { count: progress })}
          {result && <Verdict result={result} />}
          {refused !== null && <span className="bad">{sentence(refused)}</span>}
          {!able && t("audit.insecure")}
        </span>
      </p>
      <p className="soft small">{t("audit.verify.about")}</p>
      <Command command="selfheal audit verify" />
    </>
  );
}

function Verdict({ result }: { result: CheckResult }) {
  const { t } = useSpeech();
  if (!result.ok) {
    return (
      <strong className="bad">{t(`audit.breach.${result.breach}`, { seq: result.seq })}</strong>
    );
  }
  return (
    <>
      <strong className="good">{t("audit.holds", { count: result.records })}</strong>{" "}
      {result.known > 0 && t("audit.known", { count: result.known })}{" "}
      {result.signature === "unchecked" && <strong className="bad">{t("audit.unchecked")}</strong>}
      {result.otherKey && <strong className="bad">{t("audit.other-key")}</strong>}
    </>
  );
}

/** Newest first: the log is read from its end in steps. */
function Timeline({ size }: { size: number }) {
  const { t } = useSpeech();
  const [parameters, setParameters] = useSearchParams();
  const wanted = parameters.get("type") ?? "";
  const issue = parameters.get("issue") ?? "";
  const words = (parameters.get("q") ?? "").toLowerCase();
  const log = useInfiniteQuery({
    queryKey: ["audit", "records", size],
    initialPageParam: size,
    queryFn: async ({ pageParam }) => {
      const from = Math.max(0, pageParam - PAGE);
      const page = await data(
        api.GET("/api/v1/audit", {
          params: { query: { cursor: String(from), limit: Math.max(1, pageParam - from) } },
        }),
      );
      return { from, items: page.items.filter((record) => record.seq < pageParam).toReversed() };
    },
    getNextPageParam: (page) => (page.from > 0 ? page.from : undefined),
    staleTime: Number.POSITIVE_INFINITY,
  });
  const records = useMemo(() => log.data?.pages.flatMap((page) => page.items) ?? [], [log.data]);
  const kinds = [...new Set(records.map((record) => record.type))].sort();
  const shown = records.filter(
    (record) =>
      (wanted === "" || record.type === wanted) &&
      (issue === "" || String(record.issue) === issue) &&
      (words === "" || `${record.actor} ${record.summary}`.toLowerCase().includes(words)),
  );
  useFill(log, {
    on: wanted !== "" || issue !== "" || words !== "",
    shown: shown.length,
    loaded: records.length,
    most: MOST_LOOKED_AT,
  });
  const set = (name: string, value: string) =>
    setParameters(
      () => {
        // Of the address as it is: a change before this one may not be drawn yet.
        const after = new URLSearchParams(location.search);
        if (value === "") after.delete(name);
        else after.set(name, value);
        return after;
      },
      { replace: true },
    );
  return (
    <section aria-labelledby="timeline">
      <h2 id="timeline">{t("audit.timeline")}</h2>
      <search className="filters">
        <input
          type="search"
          aria-label={t("filter.query")}
          placeholder={t("filter.query")}
          defaultValue={parameters.get("q") ?? ""}
          onChange={(event) => set("q", event.target.value)}
        />
        <select
          aria-label={t("audit.type")}
          value={wanted}
          onChange={(event) => set("type", event.target.value)}
        >
          <option value="">{t("audit.type")}</option>
          {kinds.map((kind) => (
            <option key={kind}>{kind}</option>
          ))}
        </select>
        <input
          inputMode="numeric"
          aria-label={t("audit.issue")}
          placeholder={t("audit.issue")}
          defaultValue={issue}
          onChange={(event) => set("issue", event.target.value.trim())}
        />
        <span className="soft small" role="status">
          {t("audit.shown", { shown: shown.length, loaded: records.length, size })}
        </span>
      </search>
      {log.isPending && <Loading />}
      {log.isError && <Failure error={log.error} again={log.refetch} />}
      {log.isSuccess && !log.isFetching && shown.length === 0 && <Empty>{t("list.nothing")}</Empty>}
      <ol className="timeline">
        {shown.map((record) => (
          <OneRecord key={record.seq} record={record} />
        ))}
      </ol>
      {log.hasNextPage && (
        <button type="button" disabled={log.isFetching} onClick={() => log.fetchNextPage()}>
          {t("audit.older")}
        </button>
      )}
    </section>
  );
}

function OneRecord({ record }: { record: AuditRecord }) {
  const { t, exactly } = useSpeech();
  const [open, setOpen] = useState(false);
  return (
    <li>
      <time dateTime={record.at}>{exactly(record.at)}</time>
      <details onToggle={(event) => setOpen(event.currentTarget.open)}>
        <summary>
          <span className="seq">{record.seq}</span> <code>{record.type}</code>{" "}
          <span dir="auto">{record.summary}</span>{" "}
          <small className="soft" dir="auto">
            {record.actor}
          </small>
        </summary>
        {open && (
          <>
            {record.issue !== undefined && (
              <p>
                <Link to={`/issues/${record.issue}`}>
                  {t("audit.of", { number: record.issue })}
                </Link>
              </p>
            )}
            <dl>
              <div>
                <dt>{t("audit.hash")}</dt>
                <dd>
                  <code className="digest">{record.hash}</code>
                </dd>
              </div>
              <div>
                <dt>{t("audit.previous")}</dt>
                <dd>
                  <code className="digest">{record.previous}</code>
                </dd>
              </div>
            </dl>
            <p>
              <a href={`/api/v1/audit/proof/${record.seq}`} download={`proof-${record.seq}.json`}>
                {t("audit.proof")}
              </a>
            </p>
            {record.data !== undefined && (
              <pre tabIndex={0}>{JSON.stringify(record.data, null, 2)}</pre>
            )}
          </>
        )}
      </details>
    </li>
  );
}
