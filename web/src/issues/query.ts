// The query language as far as the page must know it: single terms, to set one by a
// control and to complete what is typed. What a query means, the host decides.
import { CATEGORIES, CLOSED_STATES, OPEN_STATES, PRIORITIES, SEVERITIES, SOURCES } from "./states";

export type Tab = "open" | "history";

const asTyped = (values: readonly string[]) =>
  values.map((value) => value.toLowerCase().replace("_", "-"));
const AGES = ["<1d", "<7d", "<30d", ">7d", ">30d"];

/** Keys with values that can be named; a key with none takes any text. */
export const KEYS: Readonly<Record<string, readonly string[]>> = {
  status: asTyped([...OPEN_STATES, ...CLOSED_STATES]),
  severity: [...asTyped(SEVERITIES), ">=high", ">=medium"],
  priority: [...asTyped(PRIORITIES), ">=p1"],
  source: SOURCES,
  category: CATEGORIES,
  service: [],
  "reported-by": ["me"],
  is: ["waiting", "snoozed", "open", "closed"],
  created: AGES,
  updated: AGES,
  sort: ["updated", "created"],
};

/** The terms of a query; quotes keep theirs together. */
export const termsOf = (text: string): string[] =>
  text.match(/(?:"(?:\\.|[^"\\])*"?|[^\s"])+/g) ?? [];

/** The value that a control shows for a key; empty where the query says more than that. */
export function valueFor(text: string, key: string): string {
  const found = termsOf(text).filter((term) => term.startsWith(`${key}:`));
  return found.length === 1 ? (found[0]?.slice(key.length + 1).toLowerCase() ?? "") : "";
}

/** The query with this value, or none, for the key. */
export function withValue(text: string, key: string, value: string): string {
  const others = termsOf(text).filter((term) => !term.startsWith(`${key}:`));
  return [...others, ...(value === "" ? [] : [`${key}:${value}`])].join(" ");
}

export type Completion = {
  /** What the term becomes. */
  text: string;
  /** Nothing more belongs to the term. */
  whole: boolean;
};

/** What the term that ends at the caret may become, and where it begins. */
export function completionsAt(text: string, caret: number): { from: number; all: Completion[] } {
  const typed = /\S*$/.exec(text.slice(0, caret))?.[0] ?? "";
  const sign = typed.startsWith("-") ? "-" : "";
  const bare = typed.slice(sign.length);
  const from = caret - typed.length;
  const colon = bare.indexOf(":");
  if (colon < 0) {
    const fits = (key: string) => key.startsWith(bare) && bare !== "";
    // There is no opposite of an order.
    const keys = Object.keys(KEYS).filter((key) => fits(key) && !(sign && key === "sort"));
    return { from, all: keys.map((key) => ({ text: `${sign}${key}:`, whole: false })) };
  }
  const key = bare.slice(0, colon);
  const values = bare.slice(colon + 1);
  const comma = values.lastIndexOf(",") + 1;
  const part = values.slice(comma).toLowerCase();
  const begin = `${sign}${key}:${values.slice(0, comma)}`;
  const fitting = (KEYS[key] ?? []).filter((value) => value.startsWith(part) && value !== part);
  return { from, all: fitting.map((value) => ({ text: begin + value, whole: true })) };
}

/** What the host is asked with; the page's own term comes last, so that places in what
 * was typed stay right. */
export const askedFor = (text: string, hidesSnoozed: boolean): string =>
  [text, ...(hidesSnoozed && !/(^|\s)-?is:snoozed/.test(text) ? ["-is:snoozed"] : [])]
    .join(" ")
    .trim();

/** A query that says by itself what the tab adds to it, to be kept under a name. */
export const toKeep = (text: string, tab: Tab): string =>
  termsOf(text).some((term) => /^-?(is:(open|closed)|status:)/.test(term))
    ? text
    : `${text} is:${tab === "open" ? "open" : "closed"}`.trim();

/** Where a kept query is shown. */
export const tabOf = (query: string): Tab =>
  termsOf(query).includes("is:closed") ? "history" : "open";
