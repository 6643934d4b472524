// What healing came to: heals, failures and rollbacks by day, and how long they took. As
// charts, and as a table for whoever reads numbers rather than bars.
import { useInfiniteQuery } from "@tanstack/react-query";
import { useMemo } from "react";
import {
  Bar,
  BarChart,
  CartesianGrid,
  Legend,
  Line,
  LineChart,
  ResponsiveContainer,
  Tooltip,
  XAxis,
  YAxis,
} from "recharts";
import { api, data } from "../api/client";
import { useSpeech } from "../i18n";
import { useStream } from "../live";
import { Live } from "../ui/live";
import { Empty, Failure, Loading } from "../ui/states";
import { useTitle } from "../ui/title";
import { type Trend, trendOf } from "./trend";

/** Records per step: some requests of the largest page. */
const STEP = 1_000;
const PAGE = 200;
const HEIGHT = 260;

/** The records from `from` up to `to`, oldest first. */
async function recordsOf(from: number, to: number) {
  const begins = Array.from(
    { length: Math.ceil((to - from) / PAGE) },
    (_, index) => from + index * PAGE,
  );
  const pages = await Promise.all(
    begins.map((begin) => {
      const query = { cursor: String(begin), limit: Math.min(PAGE, to - begin) };
      return data(api.GET("/api/v1/audit", { params: { query } }));
    }),
  );
  return pages.flatMap((page) => page.items);
}

export default function InsightsPage() {
  const { t, number } = useSpeech();
  useTitle(t("nav.insights"));
  const log = useInfiniteQuery({
    queryKey: ["insights"],
    initialPageParam: -1,
    queryFn: async ({ pageParam }) => {
      const end =
        pageParam >= 0 ? pageParam : (await data(api.GET("/api/v1/audit/checkpoint"))).size;
      const from = Math.max(0, end - STEP);
      return { from, items: await recordsOf(from, end) };
    },
    getNextPageParam: (page) => (page.from > 0 ? page.from : undefined),
  });
  const liveness = useStream("/stream", {
    onEvent: (event) => {
      if (/^(issue\.(opened|resolved)|run\.failed|rollback\.committed)$/.test(event.type)) {
        log.refetch();
      }
    },
  });
  const trend = useMemo(
    () => trendOf((log.data?.pages ?? []).toReversed().flatMap((page) => page.items)),
    [log.data],
  );
  const sum = (what: "reported" | "resolved" | "failed" | "undone") =>
    number(trend.days.reduce((sum, day) => sum + day[what], 0));
  const numbers: [string, string][] = [
    [t("insights.reported"), sum("reported")],
    [t("insights.resolved"), sum("resolved")],
    [
      t("insights.success"),
      trend.success === undefined ? "–" : number(trend.success, { style: "percent" }),
    ],
    [
      t("insights.minutes"),
      trend.minutes === undefined ? "–" : number(trend.minutes, { maximumFractionDigits: 1 }),
    ],
    [t("insights.undone"), sum("undone")],
  ];
  return (
    <>
      <div className="page-head">
        <h1>{t("nav.insights")}</h1>
        <Live state={liveness} />
      </div>
      {log.isPending && <Loading />}
      {log.isError && <Failure error={log.error} again={log.refetch} />}
      {log.data && (
        <>
          <section className="card" aria-label={t("insights.numbers")}>
            <dl className="numbers large">
              {numbers.map(([name, value]) => (
                <div key={name}>
                  <dt>{name}</dt>
                  <dd>{value}</dd>
                </div>
              ))}
            </dl>
          </section>
          {trend.days.length === 0 ? <Empty>{t("insights.empty")}</Empty> : <Charts of={trend} />}
          {log.hasNextPage && (
            <button type="button" disabled={log.isFetching} onClick={() => log.fetchNextPage()}>
              {t("insights.older")}
            </button>
          )}
        </>
      )}
    </>
  );
}

const AXIS = { stroke: "var(--soft)", fontSize: 12, tickLine: false } as const;
const BOX = {
  background: "var(--card)",
  border: "1px solid var(--line)",
  borderRadius: "0.5rem",
} as const;

function Charts({ of: { days } }: { of: Trend }) {
  const { t, number } = useSpeech();
  const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
  const healed = days.some((day) => day.minutes !== undefined);
  const bars = [
    ["resolved", "var(--good)"],
    ["failed", "var(--bad)"],
    ["undone", "var(--warn)"],
  ] as const;
  return (
    <>
      <section className="card" aria-labelledby="by-day">
        <h2 id="by-day">{t("insights.by-day")}</h2>
        <div className="chart" aria-hidden="true">
          <ResponsiveContainer width="100%" height={HEIGHT}>
            <BarChart data={days} accessibilityLayer={false}>
              <CartesianGrid stroke="var(--line)" vertical={false} />
              <XAxis dataKey="day" {...AXIS} />
              <YAxis allowDecimals={false} width={36} {...AXIS} />
              <Tooltip contentStyle={BOX} cursor={{ fill: "var(--sunk)" }} />
              <Legend itemSorter={null} />
              {bars.map(([what, colour]) => (
                <Bar
                  key={what}
                  dataKey={what}
                  name={t(`insights.${what}`)}
                  fill={colour}
                  maxBarSize={48}
                  isAnimationActive={!still}
                />
              ))}
            </BarChart>
          </ResponsiveContainer>
        </div>
      </section>
      <section className="card" aria-labelledby="time">
        <h2 id="time">{t("insights.time")}</h2>
        {healed ? (
          <div className="chart" aria-hidden="true">
            <ResponsiveContainer width="100%" height={HEIGHT}>
              <LineChart data={days} accessibilityLayer={false}>
                <CartesianGrid stroke="var(--line)" vertical={false} />
                <XAxis dataKey="day" {...AXIS} />
                <YAxis width={36} {...AXIS} />
                <Tooltip contentStyle={BOX} />
                <Line
                  dataKey="minutes"
                  name={t("insights.minutes")}
                  stroke="var(--accent)"
                  strokeWidth={2}
                  dot={{ r: 4, fill: "var(--accent)" }}
                  connectNulls
                  isAnimationActive={!still}
                />
              </LineChart>
            </ResponsiveContainer>
          </div>
        ) : (
          <Empty>{t("insights.time.none")}</Empty>
        )}
      </section>
      <section className="card scroll" aria-labelledby="as-table">
        <h2 id="as-table">{t("insights.table")}</h2>
        <table>
          <thead>
            <tr>
              <th scope="col">{t("insights.day")}</th>
              <th scope="col">{t("insights.reported")}</th>
              <th scope="col">{t("insights.resolved")}</th>
              <th scope="col">{t("insights.failed")}</th>
              <th scope="col">{t("insights.undone")}</th>
              <th scope="col">{t("insights.minutes")}</th>
            </tr>
          </thead>
          <tbody>
            {days.toReversed().map((day) => (
              <tr key={day.day}>
                <th scope="row">{day.day}</th>
                <td>{day.reported}</td>
                <td>{day.resolved}</td>
                <td>{day.failed}</td>
                <td>{day.undone}</td>
                <td>
                  {day.minutes === undefined
                    ? "–"
                    : number(day.minutes, { maximumFractionDigits: 1 })}
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      </section>
    </>
  );
}
