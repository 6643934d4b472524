// The rows of a list. Of a long one only those in sight are drawn, and the one that has
// the keyboard.
import { defaultRangeExtractor, useWindowVirtualizer } from "@tanstack/react-virtual";
import {
  memo,
  type Ref,
  useCallback,
  useImperativeHandle,
  useLayoutEffect,
  useRef,
  useState,
} from "react";
import { Link } from "react-router";
import { useSpeech } from "../i18n";
import { PriorityTag, SeverityTag, SnoozeNote, StatusBadge, Time } from "../ui/badges";
import type { SteadyRow } from "./steady";

/** Up to so many rows all are drawn, so that the browser's own search finds everything. */
const ALL_DRAWN = 200;
const ROW_PIXELS = 66;
/** Frames until a row that was scrolled to must be there. */
const MOST_FRAMES = 10;

export type RowsHandle = {
  /** Gives the keyboard to the row so many further than that of the issue. */
  go: (step: 1 | -1, from: number | undefined) => void;
};

type Props = {
  ref: Ref<RowsHandle>;
  rows: readonly SteadyRow[];
  busy: boolean;
  selected: ReadonlySet<number>;
  /** Where the reader may choose rows. */
  toggle: ((number: number) => void) | undefined;
};

export function Rows({ ref, rows, busy, selected, toggle }: Props) {
  const list = useRef<HTMLUListElement>(null);
  const [margin, setMargin] = useState(0);
  const focused = useRef(-1);
  const drawAll = rows.length <= ALL_DRAWN;
  useLayoutEffect(() => {
    const top = list.current?.getBoundingClientRect().top ?? 0;
    setMargin(Math.round(top + scrollY));
  });
  const virtual = useWindowVirtualizer({
    count: rows.length,
    estimateSize: () => ROW_PIXELS,
    getItemKey: (index) => rows[index]?.issue.number ?? index,
    overscan: 12,
    scrollMargin: margin,
    enabled: !drawAll,
    rangeExtractor: (range) => {
      const indexes = defaultRangeExtractor(range);
      const also = focused.current;
      if (also < 0 || also >= rows.length || indexes.includes(also)) return indexes;
      return [...indexes, also].sort((a, b) => a - b);
    },
  });

  const linkOf = (number: number) =>
    list.current?.querySelector<HTMLElement>(`[data-issue="${number}"]`);
  useImperativeHandle(ref, () => ({
    go: (step, from) => {
      const at = rows.findIndex((row) => row.issue.number === from);
      const index = at < 0 ? 0 : Math.min(Math.max(at + step, 0), rows.length - 1);
      const number = rows[index]?.issue.number;
      if (number === undefined) return;
      let frames = 0;
      const focus = () => {
        const link = linkOf(number);
        if (link) link.focus();
        else if (frames++ < MOST_FRAMES) requestAnimationFrame(focus);
      };
      if (!linkOf(number)) virtual.scrollToIndex(index);
      focus();
    },
  }));
  const measure = useCallback((row: Element | null) => virtual.measureElement(row), [virtual]);

  const draw = (index: number, top?: number) => {
    const row = rows[index];
    return (
      row && (
        <Row
          key={row.issue.number}
          row={row}
          index={index}
          count={rows.length}
          {...(top !== undefined && { top: top - margin, measure })}
          {...(toggle && { selected: selected.has(row.issue.number), toggle })}
        />
      )
    );
  };
  return (
    <ul
      className={drawAll ? "issues" : "issues long"}
      ref={list}
      aria-busy={busy}
      onFocus={(event) => {
        const row = event.target.closest<HTMLElement>("[data-row]");
        focused.current = Number(row?.dataset.index ?? -1);
      }}
      onBlur={() => {
        focused.current = -1;
      }}
      {...(!drawAll && { style: { height: virtual.getTotalSize() } })}
    >
      {drawAll
        ? rows.map((_, index) => draw(index))
        : virtual.getVirtualItems().map((item) => draw(item.index, item.start))}
    </ul>
  );
}

type RowProps = {
  row: SteadyRow;
  index: number;
  count: number;
  /** Where it is drawn, where not all are. */
  top?: number;
  measure?: (row: Element | null) => void;
  selected?: boolean;
  toggle?: (number: number) => void;
};

const Row = memo(function Row({
  row: { issue, gone },
  index,
  count,
  top,
  measure,
  selected,
  toggle,
}: RowProps) {
  const { t } = useSpeech();
  const classes = ["issue", gone && "gone", selected && "selected", toggle && "choosable"];
  return (
    <li
      ref={measure}
      data-row
      data-index={index}
      className={classes.filter(Boolean).join(" ")}
      {...(top !== undefined && {
        style: { transform: `translateY(${top}px)` },
        "aria-posinset": index + 1,
        "aria-setsize": count,
      })}
    >
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
          {issue.snooze && (
            <>
              {" · "}
              <SnoozeNote snooze={issue.snooze} />
            </>
          )}
          {gone && <em> · {t("list.gone")}</em>}
        </p>
      </div>
      <SeverityTag severity={issue.severity} />
      <PriorityTag priority={issue.priority} />
      <StatusBadge status={issue.status} />
    </li>
  );
});
