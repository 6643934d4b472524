import { expect, test } from "@playwright/test";
import { follow, START } from "../src/admin/links";
import { type Line, parseDiff, rowsOf } from "../src/diff/parse";
import { likeness, words } from "../src/issues/likeness";
import { next } from "../src/issues/steady";

const DIFF = `diff --git a/a b.py b/a b.py
--- a/a b.py
+++ b/a b.py
@@ -2,3 +2,3 @@ def f():
 two
--- three
+++ drei
 four
diff --git a/new.txt b/new.txt
new file mode 100644
--- /dev/null
+++ b/new.txt
@@ -0,0 +1 @@
+hello
\\ No newline at end of file
diff --git a/old.py b/moved.py
similarity index 90%
rename from old.py
rename to moved.py
`;

test("a diff is read by its counts, not by how its lines look", () => {
  const [first, second, third] = parseDiff(DIFF);
  expect(first).toMatchObject({ path: "a b.py", change: "modified", added: 1, removed: 1 });
  expect(first?.hunks[0]?.lines.map((line: Line) => line.sign).join("")).toBe(" -+ ");
  expect(first?.hunks[0]?.lines[1]).toMatchObject({ text: "-- three", old: 3, other: "++ drei" });
  expect(second).toMatchObject({ path: "new.txt", change: "added", added: 1 });
  expect(third).toMatchObject({ path: "moved.py", from: "old.py", change: "renamed" });
});

test("unchanged lines are folded where the file is known", () => {
  const original = new Map([["a b.py", "one\ntwo\n-- three\nfour\nfive\nsix\n"]]);
  const files = parseDiff(DIFF).slice(0, 1);
  const kinds = rowsOf(files, "split", original, new Set()).map((row) => row.kind);
  expect(kinds).toEqual(["file", "gap", "hunk", "pair", "pair", "pair", "gap"]);
  const rows = rowsOf(files, "unified", original, new Set(["g0.end"]));
  expect(rows.at(-1)).toMatchObject({ line: { text: "six", old: 6, new: 6 } });
});

test("titles are alike by the words they share", () => {
  expect(words("The a bb Café café")).toEqual(["café"]);
  expect(likeness("Invoices arrive twice", "twice arrive invoices")).toBe(1);
  expect(likeness("Invoices arrive twice", "The logo is small")).toBe(0);
});

test("rows stay, leave a mark, and new ones wait", () => {
  const issue = (number: number) => ({ number }) as never;
  const first = next(null, [issue(3), issue(2)], "x");
  const second = next(first, [issue(4), issue(3), issue(1)], "x");
  expect(second.rows.map((row) => [row.issue.number, row.gone])).toEqual([
    [3, false],
    [2, true],
    [1, false],
  ]);
  expect(second.fresh).toBe(1);
  expect(next(second, [issue(4)], "y").rows).toHaveLength(1);
});

test("a chain breaks where a record does not follow the one before", () => {
  const record = (seq: number, previous: string, hash: string) =>
    ({ seq, previous, hash }) as never;
  const zero = "0".repeat(64);
  expect(follow(START, [record(0, zero, "a"), record(1, "a", "b")])).toEqual({
    seq: 2,
    hash: "b",
  });
  expect(follow(START, [record(0, zero, "a"), record(1, "x", "b")])).toEqual({ broken: 1 });
  expect(follow(START, [record(1, zero, "a")])).toEqual({ broken: 0 });
});
