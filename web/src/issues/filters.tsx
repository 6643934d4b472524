// Filters of a list, kept in the address, and views that are saved under a name.
import { type FormEvent, useEffect, useRef, useState } from "react";
import { Link, useSearchParams } from "react-router";
import type { IssueStatus, paths } from "../api/client";
import { type Key, useSpeech } from "../i18n";
import { may, useSession } from "../session";
import { CLOSED_STATES, OPEN_STATES, PRIORITIES, SEVERITIES, SOURCES } from "./states";

type Everything = NonNullable<paths["/api/v1/issues"]["get"]["parameters"]["query"]>;
export type IssueQuery = Omit<Everything, "limit" | "cursor" | "status"> & {
  status?: IssueStatus;
};

const CLOSED_SETS: Record<string, readonly string[]> = {
  status: [...OPEN_STATES, ...CLOSED_STATES],
  severity: SEVERITIES,
  priority: PRIORITIES,
  source: SOURCES,
};
/** Folded away unless one of them is set. */
const FURTHER = ["source", "service", "reportedBy"];
const FREE_TEXTS = ["q", "service", "reportedBy"];

/** What the address asks for; what makes no sense is left out. */
export function queryOf(parameters: URLSearchParams): IssueQuery {
  const query: Record<string, string> = {};
  for (const [name, values] of Object.entries(CLOSED_SETS)) {
    const value = parameters.get(name);
    if (value !== null && values.includes(value)) query[name] = value;
  }
  for (const name of FREE_TEXTS) {
    const value = parameters.get(name)?.trim();
    if (value) query[name] = value.slice(0, 200);
  }
  return query as IssueQuery;
}

const TYPING_MS = 300;

export function Filters({ tab }: { tab: "open" | "history" }) {
  const { t } = useSpeech();
  const { role } = useSession();
  const [parameters, setParameters] = useSearchParams();
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
  const choice = (name: string, values: readonly string[], word: (value: string) => Key) => (
    <select
      aria-label={t(`filter.${name}` as Key)}
      value={parameters.get(name) ?? ""}
      onChange={(event) => set(name, event.target.value)}
    >
      <option value="">{t(`filter.${name}` as Key)}</option>
      {values.map((value) => (
        <option key={value} value={value}>
          {t(word(value))}
        </option>
      ))}
    </select>
  );
  const text = (name: string, type = "text") => (
    <TextFilter
      type={type}
      label={t(`filter.${name}` as Key)}
      value={parameters.get(name) ?? ""}
      set={(value) => set(name, value)}
    />
  );
  const states = tab === "open" ? OPEN_STATES : CLOSED_STATES;
  return (
    <search className="filters">
      {text("q", "search")}
      {choice("status", states, (value) => `status.${value}` as Key)}
      {choice("severity", SEVERITIES, (value) => `severity.${value}` as Key)}
      {choice("priority", PRIORITIES, (value) => `priority.${value}` as Key)}
      <details open={FURTHER.some((name) => parameters.has(name))}>
        <summary>{t("filter.further")}</summary>
        <div className="further">
          {choice("source", SOURCES, (value) => `source.${value}` as Key)}
          {text("service")}
          {may.seeAllIssues(role) && text("reportedBy")}
        </div>
      </details>
      {parameters.size > 0 && (
        <button type="button" className="quiet" onClick={() => setParameters({})}>
          {t("filter.clear")}
        </button>
      )}
      <SavedViews tab={tab} search={parameters.toString()} />
    </search>
  );
}

type TextProps = { type: string; label: string; value: string; set: (value: string) => void };

/** A text that is looked for once the typing pauses; another view brings another text. */
function TextFilter({ type, label, value, set }: TextProps) {
  const [text, setText] = useState(value);
  const known = useRef(value);
  const timer = useRef<ReturnType<typeof setTimeout>>(undefined);
  useEffect(() => () => clearTimeout(timer.current), []);
  useEffect(() => {
    if (value === known.current) return;
    known.current = value;
    clearTimeout(timer.current);
    setText(value);
  }, [value]);
  const typed = (next: string) => {
    setText(next);
    clearTimeout(timer.current);
    timer.current = setTimeout(() => {
      known.current = next.trim();
      set(known.current);
    }, TYPING_MS);
  };
  return (
    <input
      type={type}
      aria-label={label}
      placeholder={label}
      value={text}
      onChange={(event) => typed(event.target.value)}
      maxLength={200}
    />
  );
}

type View = { name: string; tab: string; search: string };
const KEPT = "selfheal.views";

function keptViews(): View[] {
  try {
    const kept: unknown = JSON.parse(localStorage.getItem(KEPT) ?? "[]");
    return Array.isArray(kept) ? (kept as View[]) : [];
  } catch {
    return [];
  }
}

function SavedViews({ tab, search }: { tab: string; search: string }) {
  const { t } = useSpeech();
  const [views, setViews] = useState(keptViews);
  const keep = (next: View[]) => {
    localStorage.setItem(KEPT, JSON.stringify(next));
    setViews(next);
  };
  const save = (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    const name = String(new FormData(event.currentTarget).get("name")).trim();
    keep([...views.filter((view) => view.name !== name), { name, tab, search }]);
    event.currentTarget.reset();
  };
  if (views.length === 0 && search === "") return null;
  return (
    <div className="views">
      {views.map((view) => (
        <span key={view.name} className="chip">
          <Link to={`/issues/${view.tab}?${view.search}`}>
            <bdi>{view.name}</bdi>
          </Link>
          <button
            type="button"
            aria-label={t("view.forget", { name: view.name })}
            onClick={() => keep(views.filter((other) => other !== view))}
          >
            ✕
          </button>
        </span>
      ))}
      {search !== "" && (
        <form onSubmit={save}>
          <input
            name="name"
            required
            maxLength={40}
            aria-label={t("view.name")}
            placeholder={t("view.name")}
          />
          <button type="submit">{t("view.save")}</button>
        </form>
      )}
    </div>
  );
}
