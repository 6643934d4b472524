// Unified diffs as rows to draw. Nothing here knows of the page.

export type Line = {
  sign: " " | "+" | "-";
  text: string;
  old: number | undefined;
  new: number | undefined;
  /** The line it replaces or is replaced by, for differences within it. */
  other?: string;
};
export type Hunk = { oldStart: number; newStart: number; section: string; lines: Line[] };
export type FileDiff = {
  path: string;
  /** Before a renaming. */
  from: string | undefined;
  change: "added" | "deleted" | "renamed" | "modified";
  hunks: Hunk[];
  added: number;
  removed: number;
};

const HUNK = /^@@ -(\d+)(?:,(\d+))? \+(\d+)(?:,(\d+))? @@ ?(.*)$/;

const bare = (path: string) => path.replace(/^[ab]\//, "").replace(/\t.*$/, "");

function nameOf(line: string): string {
  // `diff --git a/x b/x`: both halves are equal unless something was renamed.
  const rest = line.slice("diff --git ".length);
  return bare(rest.slice(Math.ceil(rest.length / 2)).trim());
}

export function parseDiff(text: string): FileDiff[] {
  const files: FileDiff[] = [];
  let file: FileDiff | undefined;
  let hunk: Hunk | undefined;
  let [oldLeft, newLeft, oldAt, newAt] = [0, 0, 0, 0];
  const open = (path: string) => {
    file = { path, from: undefined, change: "modified", hunks: [], added: 0, removed: 0 };
    hunk = undefined;
    files.push(file);
  };
  for (const line of text.split("\n")) {
    const sign = line[0];
    // Only the counts tell a line of a hunk from a header: a removed line may look like one.
    if (hunk && file && (oldLeft > 0 || newLeft > 0) && sign !== "\\") {
      if (sign === "+") {
        hunk.lines.push({ sign, text: line.slice(1), old: undefined, new: newAt++ });
        newLeft--;
        file.added++;
      } else if (sign === "-") {
        hunk.lines.push({ sign, text: line.slice(1), old: oldAt++, new: undefined });
        oldLeft--;
        file.removed++;
      } else {
        hunk.lines.push({ sign: " ", text: line.slice(1), old: oldAt++, new: newAt++ });
        oldLeft--;
        newLeft--;
      }
      continue;
    }
    const start = HUNK.exec(line);
    if (start && file) {
      oldAt = Number(start[1]);
      newAt = Number(start[3]);
      oldLeft = Number(start[2] ?? 1);
      newLeft = Number(start[4] ?? 1);
      hunk = { oldStart: oldAt, newStart: newAt, section: start[5] ?? "", lines: [] };
      file.hunks.push(hunk);
    } else if (line.startsWith("diff --git ")) open(nameOf(line));
    else if (line.startsWith("--- ")) {
      if (file === undefined || file.hunks.length > 0) open("");
      if (file && line !== "--- /dev/null") file.path = bare(line.slice(4));
    } else if (line.startsWith("+++ ") && file) {
      if (line !== "+++ /dev/null") file.path = bare(line.slice(4));
    } else if (file) {
      if (line.startsWith("new file")) file.change = "added";
      else if (line.startsWith("deleted file")) file.change = "deleted";
      else if (line.startsWith("rename from ")) {
        file.change = "renamed";
        file.from = line.slice("rename from ".length);
      } else if (line.startsWith("rename to ")) file.path = line.slice("rename to ".length);
    }
  }
  for (const { hunks } of files) for (const { lines } of hunks) pair(lines);
  return files;
}

/** Pairs removed lines with the added ones that follow them, first with first. */
function pair(lines: Line[]): void {
  let at = 0;
  while (at < lines.length) {
    const removed = run(lines, at, "-");
    const added = run(lines, at + removed.length, "+");
    for (const [index, line] of removed.entries()) {
      const other = added[index];
      if (other === undefined) break;
      line.other = other.text;
      other.other = line.text;
    }
    at += Math.max(1, removed.length + added.length);
  }
}

function run(lines: Line[], from: number, sign: Line["sign"]): Line[] {
  let to = from;
  while (lines[to]?.sign === sign) to++;
  return lines.slice(from, to);
}

export type Row =
  | { kind: "file"; key: string; file: FileDiff }
  | { kind: "hunk"; key: string; hunk: Hunk; index: number }
  | { kind: "gap"; key: string; count: number }
  | { kind: "pair"; key: string; left: Line | undefined; right: Line | undefined }
  | { kind: "line"; key: string; line: Line };

export type Layout = "unified" | "split";

function* lineRows(lines: Line[], layout: Layout, key: string): Generator<Row> {
  if (layout === "unified") {
    for (const [index, line] of lines.entries()) {
      yield { kind: "line", key: `${key}.${index}`, line };
    }
    return;
  }
  let at = 0;
  while (at < lines.length) {
    const line = lines[at];
    if (line?.sign === " ") {
      yield { kind: "pair", key: `${key}.${at}`, left: line, right: line };
      at++;
      continue;
    }
    const removed = run(lines, at, "-");
    const added = run(lines, at + removed.length, "+");
    for (let index = 0; index < Math.max(removed.length, added.length); index++) {
      yield {
        kind: "pair",
        key: `${key}.${at + index}`,
        left: removed[index],
        right: added[index],
      };
    }
    at += Math.max(1, removed.length + added.length);
  }
}

/** The lines between two hunks, from the file as it was. */
function between(original: string[], old: number, until: number, shift: number): Line[] {
  const lines: Line[] = [];
  for (let at = old; at < until; at++) {
    lines.push({ sign: " ", text: original[at - 1] ?? "", old: at, new: at + shift });
  }
  return lines;
}

/** All rows; unchanged lines between hunks are one `gap` each until they are `shown`. */
export function rowsOf(
  files: readonly FileDiff[],
  layout: Layout,
  originals: ReadonlyMap<string, string>,
  shown: ReadonlySet<string>,
): Row[] {
  const rows: Row[] = [];
  let index = 0;
  for (const [number, file] of files.entries()) {
    rows.push({ kind: "file", key: `f${number}`, file });
    const text = originals.get(file.from ?? file.path);
    const original = text ? text.replace(/\n$/, "").split("\n") : undefined;
    let [old, shift] = [1, 0];
    const gap = (until: number, key: string) => {
      if (original === undefined || until <= old) return;
      if (shown.has(key)) {
        for (const row of lineRows(between(original, old, until, shift), layout, key)) {
          rows.push(row);
        }
      } else rows.push({ kind: "gap", key, count: until - old });
    };
    for (const [at, hunk] of file.hunks.entries()) {
      gap(hunk.oldStart, `g${number}.${at}`);
      const key = `h${number}.${at}`;
      rows.push({ kind: "hunk", key, hunk, index: index++ });
      for (const row of lineRows(hunk.lines, layout, key)) rows.push(row);
      const kept = hunk.lines.filter((line) => line.sign !== "+").length;
      const made = hunk.lines.filter((line) => line.sign !== "-").length;
      old = hunk.oldStart + kept;
      shift = hunk.newStart + made - old;
    }
    if (original !== undefined && file.hunks.length > 0) {
      gap(original.length + 1, `g${number}.end`);
    }
  }
  return rows;
}
