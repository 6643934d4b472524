// The query of a list, kept in the address: typed in the search box or set by the controls
// beside it.
import { useSearchParams } from "react-router";
import { type Key, useSpeech } from "../i18n";
import { type Tab, valueFor, withValue } from "./query";
import { SearchBox } from "./search";
import { CATEGORIES, CLOSED_STATES, OPEN_STATES, PRIORITIES, SEVERITIES, SOURCES } from "./states";
import { Views } from "./views";

/** Folded away unless one of them is set. */
const FURTHER = ["source", "category", "sort"];

export function Filters({ tab, refused }: { tab: Tab; refused: string | undefined }) {
  const { t } = useSpeech();
  const [parameters, setParameters] = useSearchParams();
  const query = parameters.get("query") ?? "";
  const set = (change: (query: string) => string) =>
    setParameters(
      () => {
        // Of the address as it is: a change before this one may not be drawn yet.
        const after = new URLSearchParams(location.search);
        const next = change(after.get("query") ?? "");
        if (next === "") after.delete("query");
        else after.set("query", next);
        return after;
      },
      { replace: true },
    );
  const choice = (key: string, values: readonly string[], word: (value: string) => Key) => (
    <select
      aria-label={t(`filter.${key}` as Key)}
      value={valueFor(query, key)}
      onChange={(event) => set((before) => withValue(before, key, event.target.value))}
    >
      <option value="">{t(`filter.${key}` as Key)}</option>
      {values.map((value) => (
        <option key={value} value={value.toLowerCase().replace("_", "-")}>
          {t(word(value))}
        </option>
      ))}
    </select>
  );
  const states = tab === "open" ? OPEN_STATES : CLOSED_STATES;
  return (
    <search className="filters">
      <SearchBox value={query} set={(next) => set(() => next)} refused={refused} />
      {choice("status", states, (value) => `status.${value}` as Key)}
      {choice("severity", SEVERITIES, (value) => `severity.${value}` as Key)}
      {choice("priority", PRIORITIES, (value) => `priority.${value}` as Key)}
      <details open={FURTHER.some((key) => valueFor(query, key) !== "")}>
        <summary>{t("filter.further")}</summary>
        <div className="further">
          {choice("source", SOURCES, (value) => `source.${value}` as Key)}
          {choice("category", CATEGORIES, (value) => `category.${value}` as Key)}
          {choice("sort", ["created", "updated"], (value) => `sort.${value}` as Key)}
        </div>
      </details>
      {query !== "" && (
        <button type="button" className="quiet" onClick={() => set(() => "")}>
          {t("filter.clear")}
        </button>
      )}
      <Views tab={tab} query={query} />
    </search>
  );
}
