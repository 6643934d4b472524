// A diff to read: side by side or unified, differences within lines, by keyboard from hunk
// to hunk. Long ones draw only what is in sight.
import { useVirtualizer } from "@tanstack/react-virtual";
import { diffWordsWithSpace } from "diff";
import {
  type KeyboardEvent,
  memo,
  useEffect,
  useEffectEvent,
  useMemo,
  useRef,
  useState,
} from "react";
import { useSpeech } from "../i18n";
import { useMedia } from "../ui/media";
import { type Layout, type Line, parseDiff, type Row, rowsOf } from "./parse";

/** Up to so many rows all are drawn, so that the browser's own search finds everything. */
const ALL_DRAWN = 500;
const ROW_PIXELS = 22;
/** Longer lines are shown without differences within them. */
const MOST_WORDS = 1_000;
const KEPT = "selfheal.diff";
/** Narrower pages show one column, unless somebody wants two. */
const SPLIT_FROM = "(min-width: 900px)";

type Props = { diff: string; originals: ReadonlyMap<string, string> };

export function DiffView({ diff, originals }: Props) {
  const { t } = useSpeech();
  const wide = useMedia(SPLIT_FROM);
  const [chosen, setChosen] = useState<Layout | null>(null);
  const usual = wide && localStorage.getItem(KEPT) !== "unified" ? "split" : "unified";
  const layout: Layout = chosen ?? usual;
  const [shown, setShown] = useState<ReadonlySet<string>>(new Set());
  const [place, setPlace] = useState({ hunk: -1 });
  const { hunk } = place;
  const scroll = useRef<HTMLElement>(null);
  const files = useMemo(() => parseDiff(diff), [diff]);
  const rows = useMemo(
    () => rowsOf(files, layout, originals, shown),
    [files, layout, originals, shown],
  );
  const hunks = useMemo(
    () => rows.flatMap((row, index) => (row.kind === "hunk" ? [index] : [])),
    [rows],
  );
  const drawAll = rows.length <= ALL_DRAWN;
  const virtual = useVirtualizer({
    count: rows.length,
    getScrollElement: () => scroll.current,
    estimateSize: () => ROW_PIXELS,
    overscan: 30,
    enabled: !drawAll,
  });

  const choose = (next: Layout) => {
    localStorage.setItem(KEPT, next);
    setChosen(next);
  };
  const go = (step: number) =>
    setPlace({ hunk: Math.min(Math.max(hunk + step, 0), hunks.length - 1) });
  const showHunk = useEffectEvent(() => {
    const row = hunks[hunk];
    if (row === undefined) return;
    if (drawAll) {
      const element = scroll.current?.querySelector(`[data-row="${row}"]`);
      element?.scrollIntoView({ block: "nearest" });
    } else virtual.scrollToIndex(row, { align: "start" });
  });
  // In another layout one reads on at the same change.
  // biome-ignore lint/correctness/useExhaustiveDependencies: these are what moves it
  useEffect(showHunk, [place, layout]);
  const pressed = (event: KeyboardEvent) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "n") go(1);
    else if (event.key === "p") go(-1);
    else if (event.key === "s") choose("split");
    else if (event.key === "u") choose("unified");
    else return;
    event.preventDefault();
  };

  const draw = (index: number, top?: number) => {
    const row = rows[index];
    if (row === undefined) return null;
    return (
      <div
        key={row.key}
        data-row={index}
        className={`diff-row ${row.kind} ${row.kind === "hunk" && row.index === hunk ? "current" : ""}`}
        {...(top !== undefined && {
          // Long lines wrap: how high a row is, only the browser knows.
          ref: virtual.measureElement,
          "data-index": index,
          style: { transform: `translateY(${top}px)` },
        })}
      >
        <Content row={row} show={(key) => setShown((before) => new Set(before).add(key))} />
      </div>
    );
  };
  if (files.length === 0) return <pre tabIndex={0}>{diff}</pre>;
  return (
    <div className="diff">
      <div className="diff-bar">
        <fieldset className="segments" aria-label={t("diff.layout")}>
          {(["split", "unified"] as const).map((name) => (
            <button
              key={name}
              type="button"
              aria-pressed={layout === name}
              onClick={() => choose(name)}
            >
              {t(`diff.${name}`)}
            </button>
          ))}
        </fieldset>
        <button type="button" onClick={() => go(-1)} disabled={hunk <= 0}>
          {t("diff.previous")} <kbd>p</kbd>
        </button>
        <button type="button" onClick={() => go(1)} disabled={hunk >= hunks.length - 1}>
          {t("diff.next")} <kbd>n</kbd>
        </button>
        <span className="soft small" role="status">
          {hunk >= 0
            ? t("diff.at", { number: hunk + 1, count: hunks.length })
            : t(hunks.length === 1 ? "diff.one" : "diff.many", { count: hunks.length })}
        </span>
      </div>
      <section
        className={`diff-scroll ${layout} ${drawAll ? "" : "long"}`}
        ref={scroll}
        aria-label={t("diff.label")}
        tabIndex={0}
        onKeyDown={pressed}
        dir="ltr"
      >
        <div className="diff-rows" {...(!drawAll && { style: { height: virtual.getTotalSize() } })}>
          {drawAll
            ? rows.map((_, index) => draw(index))
            : virtual.getVirtualItems().map((item) => draw(item.index, item.start))}
        </div>
      </section>
    </div>
  );
}

const Content = memo(function Content({ row, show }: { row: Row; show: (key: string) => void }) {
  const { t } = useSpeech();
  switch (row.kind) {
    case "file":
      return (
        <strong>
          {row.file.from && `${row.file.from} → `}
          {row.file.path} <span className="soft">{t(`diff.${row.file.change}`)}</span>{" "}
          <span className="added">+{row.file.added}</span>{" "}
          <span className="removed">−{row.file.removed}</span>
        </strong>
      );
    case "hunk":
      return (
        <span>
          @@ {row.hunk.oldStart} → {row.hunk.newStart} @@ {row.hunk.section}
        </span>
      );
    case "gap":
      return (
        <button type="button" onClick={() => show(row.key)}>
          {t(row.count === 1 ? "diff.gap.one" : "diff.gap", { count: row.count })}
        </button>
      );
    case "pair":
      return (
        <>
          <Side line={row.left} number={row.left?.old} />
          <Side line={row.right} number={row.right?.new} />
        </>
      );
    case "line":
      return <Side line={row.line} number={row.line.old} second={row.line.new ?? ""} />;
  }
});

const SIGNS = { "+": "add", "-": "del", " ": "same" } as const;

type SideProps = { line: Line | undefined; number: number | undefined; second?: number | "" };

function Side({ line, number, second }: SideProps) {
  const { t } = useSpeech();
  if (line === undefined) return <span className="side none" />;
  return (
    <span className={`side ${SIGNS[line.sign]}`}>
      <span className="line-number" aria-hidden="true">
        {number}
      </span>
      {second !== undefined && (
        <span className="line-number" aria-hidden="true">
          {second}
        </span>
      )}
      <span className="sign" aria-hidden="true">
        {line.sign}
      </span>
      {line.sign !== " " && (
        <span className="hidden">{t(line.sign === "+" ? "diff.sign.add" : "diff.sign.del")}</span>
      )}
      <code>
        <Words line={line} />
      </code>
    </span>
  );
}

function Words({ line }: { line: Line }) {
  const { text, other, sign } = line;
  if (other === undefined || text.length > MOST_WORDS || other.length > MOST_WORDS) return text;
  const [old, now] = sign === "-" ? [text, other] : [other, text];
  const parts = diffWordsWithSpace(old, now);
  return parts
    .filter((part) => (sign === "-" ? !part.added : !part.removed))
    .map((part, index) =>
      part.added || part.removed ? (
        // biome-ignore lint/suspicious/noArrayIndexKey: parts have no other identity
        <mark key={index}>{part.value}</mark>
      ) : (
        part.value
      ),
    );
}
