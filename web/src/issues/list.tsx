// The tabs *Open Issues* and *History*: a query in the address, triage by keyboard.
import { lazy, Suspense, useCallback, useEffect, useMemo, useRef, useState } from "react";
import { useSearchParams } from "react-router";
import { type IssueSummary, problemOf } from "../api/client";
import { useSpeech } from "../i18n";
import { may, useSession } from "../session";
import { Live } from "../ui/live";
import { Empty, Failure, Loading } from "../ui/states";
import { useTitle } from "../ui/title";
import { Filters } from "./filters";
import { useIssuePages, useLiveList } from "./pages";
import { askedFor, type Tab, valueFor } from "./query";
import { Rows, type RowsHandle } from "./rows";
import { useSteady } from "./steady";
import { IssueTabs } from "./tabs";
import { type Bulk, useTriageKeys } from "./triage";

const BulkDialog = lazy(() => import("./bulk"));
const KeysDialog = lazy(() => import("./keys"));

const NONE: never[] = [];
/** How long before the end of the list is in sight more of it is loaded. */
const AHEAD = "1200px";

export function IssueListPage({ tab }: { tab: Tab }) {
  const { t } = useSpeech();
  const { role } = useSession();
  const [parameters] = useSearchParams();
  const query = parameters.get("query") ?? "";
  const asked = useMemo(
    () => ({ tab, text: askedFor(query, tab === "open" && may.seeAllIssues(role)) }),
    [tab, query, role],
  );
  const pages = useIssuePages(asked);
  const liveness = useLiveList(asked);
  const items = useMemo(() => pages.data?.pages.flatMap((page) => page.items), [pages.data]);
  const { rows, fresh, showFresh } = useSteady(
    items,
    pages.data?.pages[0]?.asked,
    valueFor(query, "sort") === "updated" ? "updated" : "created",
  );
  const [selected, setSelected] = useState<ReadonlySet<number>>(new Set());
  const [bulk, setBulk] = useState<Bulk | null>(null);
  const [keys, setKeys] = useState(false);
  const list = useRef<RowsHandle>(null);
  const decides = may.decide(role);
  const refused = pages.isError ? problemOf(pages.error).fields.get("query") : undefined;
  useTitle(t(tab === "open" ? "tab.open" : "tab.history"));

  const toggle = useCallback(
    (number: number) =>
      setSelected((before) => {
        const after = new Set(before);
        if (!after.delete(number)) after.add(number);
        return after;
      }),
    [],
  );
  const chosen = (at?: number): IssueSummary[] => {
    const numbers = selected.size > 0 ? selected : new Set(at === undefined ? [] : [at]);
    return (rows ?? []).map((row) => row.issue).filter((issue) => numbers.has(issue.number));
  };
  const begin = (action: Bulk["action"], at?: number) => {
    const issues = chosen(at);
    if (issues.length > 0) setBulk({ action, issues });
  };
  useTriageKeys({
    go: (step, from) => list.current?.go(step, from),
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
      <Filters tab={tab} refused={refused} />
      {fresh > 0 && (
        <button type="button" className="fresh" onClick={showFresh}>
          {t(fresh === 1 ? "list.fresh.one" : "list.fresh.many", { count: fresh })}
        </button>
      )}
      {pages.isError && refused === undefined && (
        <Failure error={pages.error} again={pages.refetch} />
      )}
      {!rows && !pages.isError && <Loading />}
      {rows?.length === 0 && !pages.isError && (
        <Empty>
          {t(query !== "" ? "list.nothing" : tab === "open" ? "list.calm" : "list.new")}
        </Empty>
      )}
      <Rows
        ref={list}
        rows={rows ?? NONE}
        busy={pages.isPlaceholderData}
        selected={selected}
        toggle={decides ? toggle : undefined}
      />
      {pages.hasNextPage && (
        <More busy={pages.isFetching} refused={pages.isError} load={pages.fetchNextPage} />
      )}
      {selected.size > 0 && (
        <section className="bulk" aria-label={t("bulk.title")}>
          <strong>{t("bulk.selected", { count: selected.size })}</strong>
          {(["approve", "reject", "snooze", "severity", "priority"] as const).map((action) => (
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

type MoreProps = { busy: boolean; refused: boolean; load: () => unknown };

/** Loads more when it is about to come into sight, and on a press. */
function More({ busy, refused, load }: MoreProps) {
  const { t } = useSpeech();
  const button = useRef<HTMLButtonElement>(null);
  useEffect(() => {
    if (busy || refused || button.current === null) return;
    const observer = new IntersectionObserver(
      ([entry]) => {
        if (entry?.isIntersecting) load();
      },
      { rootMargin: AHEAD },
    );
    observer.observe(button.current);
    return () => observer.disconnect();
  }, [busy, refused, load]);
  return (
    <button ref={button} type="button" disabled={busy} onClick={() => load()}>
      {t("list.more")}
    </button>
  );
}
