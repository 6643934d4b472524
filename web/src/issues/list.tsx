// The tabs *Open Issues* and *History*: filters in the address, triage by keyboard.
import { useInfiniteQuery, useQueryClient } from "@tanstack/react-query";
import { lazy, Suspense, useEffect, useMemo, useRef, useState } from "react";
import { Link, useSearchParams } from "react-router";
import { api, data, type IssueStatus, type IssueSummary } from "../api/client";
import { useSpeech } from "../i18n";
import { useStream } from "../live";
import { may, useSession } from "../session";
import { PriorityTag, SeverityTag, StatusBadge, Time } from "../ui/badges";
import { Live } from "../ui/live";
import { Empty, Failure, Loading } from "../ui/states";
import { useTitle } from "../ui/title";
import { Filters, type IssueQuery, queryOf } from "./filters";
import { CLOSED_STATES, OPEN_STATES } from "./states";
import { type SteadyRow, useSteady } from "./steady";
import { IssueTabs } from "./tabs";
import { type Bulk, useTriageKeys } from "./triage";

const BulkDialog = lazy(() => import("./bulk"));
const KeysDialog = lazy(() => import("./keys"));

const PAGE = 50;
/** Pages that hold nothing are skipped, up to so many in a row. */
const MOST_EMPTY = 20;
const SETTLE_MS = 300;

type Tab = "open" | "history";

function usePages(tab: Tab, query: IssueQuery) {
  const states: readonly IssueStatus[] = tab === "open" ? OPEN_STATES : CLOSED_STATES;
  const status = query.status === undefined ? [...states] : [query.status];
  return useInfiniteQuery({
    queryKey: ["issues", tab, query],
    initialPageParam: "",
    queryFn: async ({ pageParam }) => {
      let cursor = pageParam;
      for (let round = 0; ; round++) {
        const page = await data(
          api.GET("/api/v1/issues", {
            params: { query: { ...query, status, limit: PAGE, ...(cursor && { cursor }) } },
          }),
        );
        // The host looks at a bounded number of issues and may answer with none so far.
        if (page.items.length > 0 || page.nextCursor === undefined || round === MOST_EMPTY) {
          return page;
        }
        cursor = page.nextCursor;
      }
    },
    getNextPageParam: (page) => page.nextCursor,
  });
}

/** Loads again once things have settled after a change. */
function useLiveList() {
  const queries = useQueryClient();
  const timer = useRef<ReturnType<typeof setTimeout>>(undefined);
  useEffect(() => () => clearTimeout(timer.current), []);
  return useStream("/stream", {
    onEvent: (event) => {
      if (event.issue === undefined || event.type.startsWith("tool.")) return;
      clearTimeout(timer.current);
      timer.current = setTimeout(
        () => queries.invalidateQueries({ queryKey: ["issues"] }),
        SETTLE_MS,
      );
    },
  });
}

export function IssueListPage({ tab }: { tab: Tab }) {
  const { t } = useSpeech();
  const { role } = useSession();
  const [parameters] = useSearchParams();
  const query = useMemo(() => queryOf(parameters), [parameters]);
  const pages = usePages(tab, query);
  const liveness = useLiveList();
  const items = useMemo(() => pages.data?.pages.flatMap((page) => page.items), [pages.data]);
  const { rows, fresh, showFresh } = useSteady(items, `${tab} ${parameters}`);
  const [selected, setSelected] = useState<ReadonlySet<number>>(new Set());
  const [bulk, setBulk] = useState<Bulk | null>(null);
  const [keys, setKeys] = useState(false);
  const list = useRef<HTMLUListElement>(null);
  const decides = may.decide(role);
  useTitle(t(tab === "open" ? "tab.open" : "tab.history"));

  const toggle = (number: number) =>
    setSelected((before) => {
      const after = new Set(before);
      if (!after.delete(number)) after.add(number);
      return after;
    });
  const chosen = (at?: number): IssueSummary[] => {
    const numbers = selected.size > 0 ? selected : new Set(at === undefined ? [] : [at]);
    return (rows ?? []).map((row) => row.issue).filter((issue) => numbers.has(issue.number));
  };
  const begin = (action: Bulk["action"], at?: number) => {
    const issues = chosen(at);
    if (issues.length > 0) setBulk({ action, issues });
  };
  useTriageKeys(list, {
    toggle: decides ? toggle : undefined,
    begin: decides ? begin : undefined,
    help: () => setKeys(true),
  });

  return (
    <>
      <div className="page-head">
        <h1>{t("nav.issues")}</h1>
        <Live state={liveness} />
        <button type="button" className="quiet end" onClick={() => setKeys(true)}>
          {t("keys.open")} <kbd>?</kbd>
        </button>
      </div>
      <IssueTabs />
      <Filters tab={tab} />
      {fresh > 0 && (
        <button type="button" className="fresh" onClick={showFresh}>
          {t(fresh === 1 ? "list.fresh.one" : "list.fresh.many", { count: fresh })}
        </button>
      )}
      {pages.isError && <Failure error={pages.error} again={pages.refetch} />}
      {rows === undefined && !pages.isError && <Loading />}
      {rows?.length === 0 && (
        <Empty>
          {t(parameters.size > 0 ? "list.nothing" : tab === "open" ? "list.calm" : "list.new")}
        </Empty>
      )}
      <ul className="issues" ref={list}>
        {rows?.map((row) => (
          <Row
            key={row.issue.number}
            row={row}
            {...(decides && { selected: selected.has(row.issue.number), toggle })}
          />
        ))}
      </ul>
      {pages.hasNextPage && (
        <button type="button" disabled={pages.isFetching} onClick={() => pages.fetchNextPage()}>
          {t("list.more")}
        </button>
      )}
      {selected.size > 0 && (
        <section className="bulk" aria-label={t("bulk.title")}>
          <strong>{t("bulk.selected", { count: selected.size })}</strong>
          {(["approve", "reject", "severity", "priority"] as const).map((action) => (
            <button key={action} type="button" onClick={() => begin(action)}>
              {t(`bulk.${action}`)}
            </button>
          ))}
          <button type="button" className="quiet" onClick={() => setSelected(new Set())}>
            {t("bulk.clear")}
          </button>
        </section>
      )}
      <Suspense>
        {bulk && (
          <BulkDialog
            {...bulk}
            onClose={() => setBulk(null)}
            onDone={() => setSelected(new Set())}
          />
        )}
        {keys && <KeysDialog decides={decides} onClose={() => setKeys(false)} />}
      </Suspense>
    </>
  );
}

type RowProps = { row: SteadyRow; selected?: boolean; toggle?: (number: number) => void };

function Row({ row: { issue, gone }, selected, toggle }: RowProps) {
  const { t } = useSpeech();
  return (
    <li className={`issue ${gone ? "gone" : ""} ${selected ? "selected" : ""}`}>
      {toggle && (
        <input
          type="checkbox"
          aria-label={t("list.select", { number: issue.number })}
          checked={selected}
          onChange={() => toggle(issue.number)}
        />
      )}
      <div className="what">
        <Link to={`/issues/${issue.number}`} data-issue={issue.number}>
          <span className="number">#{issue.number}</span> <bdi>{issue.title}</bdi>
        </Link>
        <p className="soft small">
          <bdi>{t("list.by", { name: issue.reportedBy })}</bdi>
          {issue.service && (
            <>
              {" · "}
              <bdi>{issue.service}</bdi>
            </>
          )}
          {" · "}
          <Time at={issue.updatedAt} />
          {gone && <em> · {t("list.gone")}</em>}
        </p>
      </div>
      <SeverityTag severity={issue.severity} />
      <PriorityTag priority={issue.priority} />
      <StatusBadge status={issue.status} />
    </li>
  );
}
