// The tab *Report Issue*: help at each field, a kept draft, what is already reported, and
// nothing is sent without the button.
import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { type FormEvent, useDeferredValue, useEffect, useRef, useState } from "react";
import { flushSync } from "react-dom";
import { Link } from "react-router";
import {
  api,
  data,
  type Issue,
  type IssueSummary,
  newKey,
  problemOf,
  type ReportRequest,
} from "../api/client";
import { type Key, useSpeech } from "../i18n";
import { may, useSession } from "../session";
import { StatusBadge } from "../ui/badges";
import { useMedia } from "../ui/media";
import { useTitle } from "../ui/title";
import { useProblemText } from "../ui/toast";
import { alike } from "./alike";
import { words } from "./likeness";
import { CATEGORIES, PRIORITIES, SEVERITIES } from "./states";
import { IssueTabs } from "./tabs";

const MOST_TITLE = 200;
const MOST_BYTES = 64 * 1024;

type Name =
  | "title"
  | "description"
  | "stepsToReproduce"
  | "expectedBehavior"
  | "actualBehavior"
  | "service"
  | "category"
  | "severity"
  | "priority";
type Draft = Partial<Record<Name, string>>;

const TEXTS: { name: Name; rows?: number; required?: boolean }[] = [
  { name: "title", required: true },
  { name: "description", rows: 5, required: true },
  { name: "stepsToReproduce", rows: 4 },
  { name: "expectedBehavior", rows: 2 },
  { name: "actualBehavior", rows: 2 },
  { name: "service" },
];

/** A draft that outlives reloads and log-outs, per person. */
function useDraft(username: string) {
  const key = `selfheal.draft.${username}`;
  const [draft, setDraft] = useState<Draft>(() => {
    try {
      return JSON.parse(localStorage.getItem(key) ?? "{}") as Draft;
    } catch {
      return {};
    }
  });
  useEffect(() => {
    const filled = Object.values(draft).some((text) => text.trim() !== "");
    try {
      if (filled) localStorage.setItem(key, JSON.stringify(draft));
      else localStorage.removeItem(key);
    } catch {
      // A full or forbidden storage: the draft lives as long as the page.
    }
  }, [key, draft]);
  return [draft, setDraft] as const;
}

const bytes = (text: string) => new TextEncoder().encode(text).length;

export default function ReportPage() {
  const { t } = useSpeech();
  const { username, role } = useSession();
  const queries = useQueryClient();
  const sentence = useProblemText();
  const [draft, setDraft] = useDraft(username);
  const form = useRef<HTMLFormElement>(null);
  const wide = useMedia(WIDE);
  // The same report that is sent twice over a shaky network is one report.
  const sent = useRef({ text: "", key: "" });
  useTitle(t("tab.report"));

  const send = useMutation({
    mutationFn: (draft: Draft) => {
      const filled = Object.entries(draft).filter(([, text]) => text.trim() !== "");
      const body = Object.fromEntries(filled) as unknown as ReportRequest;
      const text = JSON.stringify(body);
      if (sent.current.text !== text) sent.current = { text, key: newKey() };
      const params = { header: { "Idempotency-Key": sent.current.key } };
      return data<Issue>(api.POST("/api/v1/issues", { params, body }));
    },
    onSuccess: () => {
      setDraft({});
      setTried(false);
      queries.invalidateQueries({ queryKey: ["issues"] });
    },
  });
  useEffect(() => {
    // Once the marks are drawn.
    if (send.error) form.current?.querySelector<HTMLElement>("[aria-invalid=true]")?.focus();
  }, [send.error]);
  const [tried, setTried] = useState(false);
  const wrong = new Map(send.isError ? problemOf(send.error).fields : []);
  let ready = true;
  for (const { name, required } of TEXTS) {
    const text = draft[name] ?? "";
    const most = name === "title" ? [...text].length > MOST_TITLE : bytes(text) > MOST_BYTES;
    const missing = required === true && text.trim() === "";
    if (most) wrong.set(name, t(name === "title" ? "report.long.title" : "report.long"));
    else if (missing && tried) wrong.set(name, t("report.missing"));
    ready &&= !most && !missing;
  }
  const set = (name: Name, text: string) => setDraft((before) => ({ ...before, [name]: text }));
  const submit = (event: FormEvent) => {
    event.preventDefault();
    if (ready) return send.mutate(draft);
    // The browser would say it in a language of its own.
    flushSync(() => setTried(true));
    form.current?.querySelector<HTMLElement>("[aria-invalid=true]")?.focus();
  };

  if (send.isSuccess) return <Sent issue={send.data} another={send.reset} />;
  const choice = (name: Name, values: readonly string[], first: Key, word: string) => (
    <Field name={name} wrong={wrong.get(name)}>
      {(attributes) => (
        <select
          {...attributes}
          value={draft[name] ?? ""}
          onChange={(event) => set(name, event.target.value)}
        >
          <option value="">{t(first)}</option>
          {values.map((value) => (
            <option key={value} value={value}>
              {t(`${word}.${value}` as Key)}
            </option>
          ))}
        </select>
      )}
    </Field>
  );
  return (
    <>
      <div className="page-head">
        <h1>{t("nav.issues")}</h1>
      </div>
      <IssueTabs />
      <div className="report">
        <form className="card" ref={form} onSubmit={submit} noValidate>
          <h2>{t("report.heading")}</h2>
          <p className="soft">{t("report.about")}</p>
          {(send.isError || (tried && !ready)) && (
            <p className="field-error" role="alert" dir="auto">
              {wrong.size > 0 ? t("report.check") : sentence(send.error)}
            </p>
          )}
          {TEXTS.map(({ name, rows, required }) => (
            <Field
              key={name}
              name={name}
              wrong={wrong.get(name)}
              required={required === true}
              after={
                // Where one looks while one types.
                name === "title" &&
                !wide &&
                (draft.title ?? "").trim() !== "" && <Alike title={draft.title ?? ""} />
              }
            >
              {(attributes) =>
                rows === undefined ? (
                  <input
                    {...attributes}
                    dir="auto"
                    required={required}
                    value={draft[name] ?? ""}
                    onChange={(event) => set(name, event.target.value)}
                  />
                ) : (
                  <textarea
                    {...attributes}
                    dir="auto"
                    rows={rows}
                    required={required}
                    value={draft[name] ?? ""}
                    onChange={(event) => set(name, event.target.value)}
                  />
                )
              }
            </Field>
          ))}
          {choice("category", CATEGORIES, "report.category.none", "category")}
          {may.decide(role) && (
            <div className="pair">
              {choice("severity", SEVERITIES, "report.default", "severity")}
              {choice("priority", PRIORITIES, "report.default", "priority")}
            </div>
          )}
          <footer>
            <button type="submit" className="primary" disabled={send.isPending}>
              {t("report.send")}
            </button>
            <span className="soft small" role="status">
              {Object.values(draft).some((text) => text.trim()) && t("report.kept")}
            </span>
          </footer>
        </form>
        {wide && <Alike title={draft.title ?? ""} />}
      </div>
    </>
  );
}

type Attributes = {
  id: string;
  name: string;
  "aria-describedby": string;
  "aria-invalid": boolean;
};
type FieldProps = {
  name: Name;
  wrong: string | undefined;
  required?: boolean;
  after?: React.ReactNode;
  children: (attributes: Attributes) => React.ReactNode;
};

/** A field with its help, and what is wrong with it. */
function Field({ name, wrong, required = false, after, children }: FieldProps) {
  const { t } = useSpeech();
  const id = `report-${name}`;
  return (
    <div className="field">
      <label htmlFor={id}>
        {t(`report.${name}` as Key)}
        {required && <small className="soft"> {t("report.required")}</small>}
      </label>
      <p id={`${id}-help`} className="soft small">
        {t(`report.${name}.help` as Key)}
      </p>
      {children({
        id,
        name,
        "aria-describedby": `${id}-help ${id}-wrong`,
        "aria-invalid": wrong !== undefined,
      })}
      <p id={`${id}-wrong`} className="field-error" dir="auto">
        {wrong}
      </p>
      {after}
    </div>
  );
}

/** What was reported already and sounds alike. */
function Alike({ title }: { title: string }) {
  const { t } = useSpeech();
  const settled = useSettled(title);
  const found = useQuery({
    queryKey: ["issues", "alike", settled],
    enabled: words(settled).length > 0,
    placeholderData: (before: IssueSummary[] | undefined) => before,
    queryFn: () => alike(settled),
  });
  const issues = useDeferredValue(words(title).length > 0 ? (found.data ?? []) : []);
  return (
    <aside className="card alike" aria-label={t("alike.title")}>
      <h2>{t("alike.title")}</h2>
      <p className="soft" role="status">
        {t(issues.length > 0 ? "alike.some" : "alike.none")}
      </p>
      <ul>
        {issues.map((issue) => (
          <li key={issue.number}>
            <Link to={`/issues/${issue.number}`}>
              #{issue.number} <bdi>{issue.title}</bdi>
            </Link>{" "}
            <StatusBadge status={issue.status} />
          </li>
        ))}
      </ul>
    </aside>
  );
}

/** There is room for two columns. */
const WIDE = "(min-width: 70.01rem)";

const TYPING_MS = 350;

function useSettled(text: string): string {
  const [settled, setSettled] = useState(text);
  useEffect(() => {
    const timer = setTimeout(() => setSettled(text), TYPING_MS);
    return () => clearTimeout(timer);
  }, [text]);
  return settled;
}

function Sent({ issue, another }: { issue: Issue; another: () => void }) {
  const { t } = useSpeech();
  const heading = useRef<HTMLHeadingElement>(null);
  useEffect(() => heading.current?.focus(), []);
  return (
    <>
      <IssueTabs />
      <section className="card sent">
        <h1 ref={heading} tabIndex={-1}>
          {t("sent.title", { number: issue.number })}
        </h1>
        <p>{t("sent.about")}</p>
        <p className="buttons">
          <Link className="button primary" to={`/issues/${issue.number}`}>
            {t("sent.follow", { number: issue.number })}
          </Link>
          <button type="button" onClick={another}>
            {t("sent.another")}
          </button>
        </p>
      </section>
    </>
  );
}
