// The page's words. English is always there; German is loaded when it is chosen.
import { createContext, type ReactNode, useContext, useEffect, useMemo, useState } from "react";
import { en } from "./en";

export type Key = keyof typeof en;
export type Words = Readonly<Record<Key, string>>;
export type Language = "en" | "de";
export type Translate = (key: Key, values?: Record<string, string | number>) => string;

const KEPT = "selfheal.language";

function firstLanguage(): Language {
  const kept = localStorage.getItem(KEPT);
  if (kept === "en" || kept === "de") return kept;
  return navigator.languages[0]?.toLowerCase().startsWith("de") ? "de" : "en";
}

type Speech = {
  t: Translate;
  language: Language;
  setLanguage: (language: Language) => void;
  /** Date and time, short. */
  when: (time: string) => string;
  /** Date and time to the second. */
  exactly: (time: string) => string;
  /** Time of day to the second. */
  clock: (time: string) => string;
  /** How long ago, in words. */
  ago: (time: string) => string;
  number: (value: number, options?: Intl.NumberFormatOptions) => string;
};

const Context = createContext<Speech | null>(null);

export function useSpeech(): Speech {
  const speech = useContext(Context);
  if (speech === null) throw new Error("outside of <Language>");
  return speech;
}

const UNITS: [Intl.RelativeTimeFormatUnit, number][] = [
  ["day", 86_400],
  ["hour", 3_600],
  ["minute", 60],
];

function speechOf(
  words: Words,
  language: Language,
  setLanguage: (language: Language) => void,
): Speech {
  // The reader's own variety of the language, for the order of dates and hours.
  const locale = navigator.languages.find((one) => one.startsWith(language)) ?? language;
  const dates = new Intl.DateTimeFormat(locale, { dateStyle: "medium", timeStyle: "short" });
  const exact = new Intl.DateTimeFormat(locale, { dateStyle: "short", timeStyle: "medium" });
  const clock = new Intl.DateTimeFormat(locale, { timeStyle: "medium" });
  const relative = new Intl.RelativeTimeFormat(locale, { numeric: "auto" });
  return {
    language,
    setLanguage,
    t: (key, values) =>
      words[key].replace(/\{(\w+)\}/g, (whole, name: string) => String(values?.[name] ?? whole)),
    when: (time) => dates.format(new Date(time)),
    exactly: (time) => exact.format(new Date(time)),
    clock: (time) => clock.format(new Date(time)),
    ago: (time) => {
      const seconds = (new Date(time).getTime() - Date.now()) / 1000;
      const [unit, size] = UNITS.find(([, size]) => Math.abs(seconds) >= size) ?? ["second", 1];
      return relative.format(Math.round(seconds / size), unit);
    },
    number: (value, options) => new Intl.NumberFormat(locale, options).format(value),
  };
}

export function LanguageProvider({ children }: { children: ReactNode }) {
  const [language, choose] = useState<Language>(firstLanguage);
  const [loaded, setLoaded] = useState<{ language: Language; words: Words }>({
    language: "en",
    words: en,
  });
  useEffect(() => {
    let wanted = true;
    const words =
      language === "de" ? import("./de").then((module) => module.de) : Promise.resolve(en);
    words.then((words) => wanted && setLoaded({ language, words }));
    return () => {
      wanted = false;
    };
  }, [language]);
  useEffect(() => {
    document.documentElement.lang = loaded.language;
  }, [loaded.language]);
  const speech = useMemo(
    () =>
      speechOf(loaded.words, loaded.language, (next) => {
        localStorage.setItem(KEPT, next);
        choose(next);
      }),
    [loaded],
  );
  return <Context value={speech}>{children}</Context>;
}
