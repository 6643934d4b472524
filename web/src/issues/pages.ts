// The pages of a list, and how they stay as new as the host.
import { type InfiniteData, useInfiniteQuery, useQueryClient } from "@tanstack/react-query";
import { useEffect, useRef } from "react";
import { api, data, type Issue, type IssueStatus, type IssueSummary } from "../api/client";
import { type Liveness, useStream } from "../live";
import type { Tab } from "./query";
import { CLOSED_STATES, OPEN_STATES } from "./states";

const FIRST_PAGE = 50;
const NEXT_PAGES = 200;
/** Pages that hold nothing are skipped, up to so many in a row. */
const MOST_EMPTY = 20;
const SETTLE_MS = 300;
/** Snoozes end without an event. */
const LOOK_AGAIN_MS = 60_000;
/** Lists with more pages are not loaded anew as a whole whenever something happens. */
const FEW_PAGES = 3;
/** Changed issues that are asked for one by one. */
const MOST_SINGLE = 20;

export type Asked = { tab: Tab; text: string };
type Page = { items: IssueSummary[]; nextCursor?: string; asked: string };
type Pages = InfiniteData<Page, string>;

const nameOf = ({ tab, text }: Asked) => `${tab} ${text}`;
const statesOf = (tab: Tab): readonly IssueStatus[] =>
  tab === "open" ? OPEN_STATES : CLOSED_STATES;

async function load(asked: Asked, after: string): Promise<Page> {
  const { tab, text } = asked;
  let cursor = after;
  for (let round = 0; ; round++) {
    const page = await data(
      api.GET("/api/v1/issues", {
        params: {
          query: {
            status: [...statesOf(tab)],
            limit: after === "" ? FIRST_PAGE : NEXT_PAGES,
            ...(text && { query: text }),
            ...(cursor && { cursor }),
          },
        },
      }),
    );
    // The host looks at a bounded number of issues and may answer with none so far.
    if (page.items.length > 0 || page.nextCursor === undefined || round === MOST_EMPTY) {
      return { ...page, asked: nameOf(asked) };
    }
    cursor = page.nextCursor;
  }
}

const keyOf = ({ tab, text }: Asked) => ["issues", tab, text];

export function useIssuePages(asked: Asked) {
  return useInfiniteQuery({
    queryKey: keyOf(asked),
    initialPageParam: "",
    queryFn: ({ pageParam }) => load(asked, pageParam),
    getNextPageParam: (page) => page.nextCursor,
    // What was there stays in sight until what was asked for is there.
    placeholderData: (before) => before,
    refetchInterval: ({ state }) =>
      (state.data?.pages.length ?? 0) > FEW_PAGES ? false : LOOK_AGAIN_MS,
    refetchOnWindowFocus: ({ state }) => (state.data?.pages.length ?? 0) <= FEW_PAGES,
  });
}

/** What changed of a long list: its newest page, and the issues that something happened to. */
async function news(asked: Asked, happened: ReadonlySet<number>) {
  const newest = await load(asked, "");
  const there = new Map(newest.items.map((issue) => [issue.number, issue]));
  const single = [...happened].filter((number) => !there.has(number)).slice(-MOST_SINGLE);
  const gone = new Set<number>();
  for (const number of single) {
    const path = { issue: String(number) };
    try {
      const issue = await data<Issue>(api.GET("/api/v1/issues/{issue}", { params: { path } }));
      if (statesOf(asked.tab).includes(issue.status)) there.set(number, issue);
      else gone.add(number);
    } catch {
      // Somebody else's, or no answer: it stays as it was shown.
    }
  }
  return { there, gone, newest };
}

function merged(before: Pages, { there, gone, newest }: Awaited<ReturnType<typeof news>>): Pages {
  const had = new Set(before.pages.flatMap((page) => page.items.map((issue) => issue.number)));
  const fresh = newest.items.filter((issue) => !had.has(issue.number));
  const pages = before.pages.map((page, index) => ({
    ...page,
    items: [...(index === 0 ? fresh : []), ...page.items]
      .filter((issue) => !gone.has(issue.number))
      .map((issue) => there.get(issue.number) ?? issue),
  }));
  return { ...before, pages };
}

/** Loads again once things have settled after a change. */
export function useLiveList(asked: Asked): Liveness {
  const queries = useQueryClient();
  const timer = useRef<ReturnType<typeof setTimeout>>(undefined);
  const happened = useRef(new Set<number>());
  useEffect(() => () => clearTimeout(timer.current), []);
  const settle = async () => {
    const numbers = happened.current;
    happened.current = new Set();
    const key = keyOf(asked);
    const shown = queries.getQueryData<Pages>(key);
    if (shown === undefined || shown.pages.length <= FEW_PAGES) {
      return queries.invalidateQueries({ queryKey: ["issues"] });
    }
    const change = await news(asked, numbers).catch(() => null);
    if (change === null) return;
    queries.setQueryData<Pages>(key, (before) => before && merged(before, change));
  };
  return useStream("/stream", {
    onEvent: (event) => {
      if (event.issue === undefined || event.type.startsWith("tool.")) return;
      happened.current.add(event.issue);
      clearTimeout(timer.current);
      timer.current = setTimeout(settle, SETTLE_MS);
    },
  });
}
