import { expect, test } from "@playwright/test";
import { follow, START } from "../src/admin/links";
import { fromHex, leafHash, Tree, tileNumber } from "../src/admin/merkle";
import { trendOf } from "../src/admin/trend";
import { type Line, parseDiff, rowsOf } from "../src/diff/parse";
import { likeness, words } from "../src/issues/likeness";
import {
  askedFor,
  completionsAt,
  tabOf,
  termsOf,
  toKeep,
  valueFor,
  withValue,
} from "../src/issues/query";
import { snoozedUntil } from "../src/issues/snooze";
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

test("a diff is read by its counts, not by how its lines look", { tag: "@sample" }, () => {
  const [first, second, third] = parseDiff(DIFF);
  expect(first).toMatchObject({ path: "a b.py", change: "modified", added: 1, removed: 1 });
  expect(first?.hunks[0]?.lines.map((line: Line) => line.sign).join("")).toBe(" -+ ");
  expect(first?.hunks[0]?.lines[1]).toMatchObject({ text: "-- three", old: 3, other: "++ drei" });
  expect(second).toMatchObject({ path: "new.txt", change: "added", added: 1 });
  expect(third).toMatchObject({ path: "moved.py", from: "old.py", change: "renamed" });
});

test("unchanged lines are folded where the file is known", { tag: "@sample" }, () => {
  const original = new Map([["a b.py", "one\ntwo\n-- three\nfour\nfive\nsix\n"]]);
  const files = parseDiff(DIFF).slice(0, 1);
  const kinds = rowsOf(files, "split", original, new Set()).map((row) => row.kind);
  expect(kinds).toEqual(["file", "gap", "hunk", "pair", "pair", "pair", "gap"]);
  const rows = rowsOf(files, "unified", original, new Set(["g0.end"]));
  expect(rows.at(-1)).toMatchObject({ line: { text: "six", old: 6, new: 6 } });
});

test("titles are alike by the words they share", { tag: "@sample" }, () => {
  expect(words("The a bb Café café")).toEqual(["café"]);
  expect(likeness("Invoices arrive twice", "twice arrive invoices")).toBe(1);
  expect(likeness("Invoices arrive twice", "The logo is small")).toBe(0);
});

test("rows stay, leave a mark, and new ones wait", { tag: "@sample" }, () => {
  const issue = (number: number) => ({ number }) as never;
  const first = next(null, [issue(3), issue(2)], "x", "created");
  const second = next(first, [issue(4), issue(3), issue(1)], "x", "created");
  expect(second.rows.map((row) => [row.issue.number, row.gone])).toEqual([
    [3, false],
    [2, true],
    [1, false],
  ]);
  expect(second.fresh).toBe(1);
  expect(next(second, [issue(4)], "y", "created").rows).toHaveLength(1);
});

test("by last change, too, a row stays where it was read", { tag: "@sample" }, () => {
  const issue = (number: number, minute: number) =>
    ({ number, updatedAt: `2026-01-01T00:${minute}:00Z` }) as never;
  const first = next(null, [issue(1, 30), issue(2, 20)], "x", "updated");
  const changed = [issue(3, 50), issue(2, 40), issue(1, 30), issue(4, 25), issue(5, 10)];
  const second = next(first, changed, "x", "updated");
  expect(second.rows.map((row) => row.issue.number)).toEqual([1, 4, 2, 5]);
  expect(second.fresh).toBe(1);
});

test("a control sets one term of a query and leaves the others", { tag: "@sample" }, () => {
  const text = 'cart "a b" severity:high -source:ci';
  expect(termsOf(text)).toEqual(["cart", '"a b"', "severity:high", "-source:ci"]);
  expect(valueFor(text, "severity")).toBe("high");
  expect(valueFor(text, "source")).toBe("");
  expect(withValue(text, "severity", "low")).toBe('cart "a b" -source:ci severity:low');
  expect(withValue(text, "severity", "")).toBe('cart "a b" -source:ci');
  expect(askedFor("cart", true)).toBe("cart -is:snoozed");
  expect(askedFor("is:snoozed", true)).toBe("is:snoozed");
  expect(toKeep("cart", "history")).toBe("cart is:closed");
  expect(toKeep("status:failed", "open")).toBe("status:failed");
  expect(tabOf("cart is:closed")).toBe("history");
});

test("a term is completed by key, then by value", { tag: "@sample" }, () => {
  const at = (text: string) => completionsAt(text, text.length).all.map(({ text }) => text);
  expect(at("cart sev")).toEqual(["severity:"]);
  expect(at("-s")).toEqual(["-status:", "-severity:", "-source:", "-service:"]);
  expect(at("status:open,pat")).toEqual(["status:open,patch-pending", "status:open,patching"]);
  expect(at("cart")).toEqual([]);
  expect(completionsAt("a b", 3).from).toBe(2);
});

test("a snooze ends in the reader's own morning", { tag: "@sample" }, () => {
  const sunday = new Date(2026, 10, 22, 21, 30);
  const until = (snooze: Parameters<typeof snoozedUntil>[0]) => snoozedUntil(snooze, "", sunday);
  expect(until("news")).toBeNull();
  expect(until("hours")).toEqual(new Date(2026, 10, 23, 1, 30));
  expect(until("tomorrow")).toEqual(new Date(2026, 10, 23, 8, 0));
  expect(until("monday")).toEqual(new Date(2026, 10, 23, 8, 0));
  expect(until("week")).toEqual(new Date(2026, 10, 29, 8, 0));
  const monday = new Date(2026, 10, 23, 7, 0);
  expect(snoozedUntil("monday", "", monday)).toEqual(new Date(2026, 10, 30, 8, 0));
});

test("a chain breaks where a record does not follow the one before", { tag: "@sample" }, () => {
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

test("a tree has the root of RFC 6962", { tag: "@sample" }, async () => {
  // Leaves and roots of the vectors that certificate transparency's own tests use.
  const leaves = ["", "00", "10", "2021", "3031", "40414243"];
  const roots = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
  ];
  const tree = new Tree();
  expect(await tree.root()).toEqual(fromHex(roots[0] ?? ""));
  for (const [index, leaf] of leaves.entries()) {
    await tree.push(await leafHash(fromHex(leaf)));
    expect(await tree.root()).toEqual(fromHex(roots[index + 1] ?? ""));
  }
});

test("tiles are called as C2SP says", { tag: "@sample" }, () => {
  expect(tileNumber(0)).toBe("000");
  expect(tileNumber(1_234_067)).toBe("x001/x234/067");
});

test("a trend counts days, also those on which nothing happened", { tag: "@sample" }, () => {
  const record = (type: string, at: string, issue: number) => ({ type, at, issue }) as never;
  const trend = trendOf([
    record("issue.opened", "2026-11-01T10:00:00Z", 1),
    record("issue.opened", "2026-11-01T11:00:00Z", 2),
    record("run.failed", "2026-11-01T11:30:00Z", 2),
    record("issue.resolved", "2026-11-01T10:30:00Z", 1),
    record("issue.resolved", "2026-11-03T11:00:00Z", 2),
    record("rollback.committed", "2026-11-03T12:00:00Z", 2),
    record("issue.reopened", "2026-11-03T12:00:00Z", 2),
    record("issue.resolved", "2026-11-03T12:10:00Z", 2),
    // Refuted and tried again, then given up; that one failed is said once.
    record("diagnosis.started", "2026-11-04T10:00:00Z", 3),
    record("patch.refuted", "2026-11-04T10:01:00Z", 3),
    record("run.retried", "2026-11-04T10:01:00Z", 3),
    record("diagnosis.started", "2026-11-04T10:02:00Z", 3),
    record("run.failed", "2026-11-04T10:03:00Z", 3),
    record("issue.escalated", "2026-11-04T10:03:00Z", 3),
    // Stopped by people, or with its host.
    record("issue.retried", "2026-11-04T11:00:00Z", 3),
    record("diagnosis.started", "2026-11-04T11:00:00Z", 3),
    record("run.interrupted", "2026-11-04T11:01:00Z", 3),
    record("diagnosis.started", "2026-11-04T11:02:00Z", 3),
    record("issue.aborted", "2026-11-04T11:03:00Z", 3),
    record("issue.retried", "2026-11-04T11:04:00Z", 3),
  ]);
  expect(trend.days).toEqual([
    { day: "2026-11-01", reported: 2, resolved: 1, failed: 1, undone: 0, minutes: 30 },
    { day: "2026-11-02", reported: 0, resolved: 0, failed: 0, undone: 0 },
    { day: "2026-11-03", reported: 0, resolved: 2, failed: 0, undone: 1, minutes: 1445 },
    { day: "2026-11-04", reported: 0, resolved: 0, failed: 2, undone: 0 },
  ]);
  expect(trend.success).toBe(0.5);
  expect(trend.minutes).toBe(30);
  expect(trendOf([])).toEqual({ days: [] });
});
