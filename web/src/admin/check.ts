// Checks the whole log in the browser: that each record follows the one before, that the
// published tiles hold exactly these records, that they are the tree whose root the
// installation signed, and that what this browser saw last time is still in it.
import { type AuditRecord, api, data, Problem } from "../api/client";
import { follow, START } from "./links";
import { type Bytes, fromBase64, fromHex, leafHash, same, Tree, tileNumber } from "./merkle";
import { openNote } from "./note";

/** What does not hold. */
export type Breach = "signature" | "link" | "tile" | "root" | "shorter" | "rewritten";
export type CheckResult =
  | {
      ok: true;
      records: number;
      signature: "good" | "unchecked";
      /** The key is not the one of last time. */
      otherKey: boolean;
      /** Records that this browser had checked before and found again. */
      known: number;
    }
  | { ok: false; breach: Breach; seq: number };

const WIDTH = 256;
const HASH_BYTES = 32;
const PAGE = 200;
const BUSY = 429;
const BUSY_MS = 3_000;

/** The checkpoint is asked for first: the log may only grow meanwhile. */
export async function checkLog(progress: (records: number) => void): Promise<CheckResult> {
  const broken = (breach: Breach, seq: number): CheckResult => ({ ok: false, breach, seq });
  const { checkpoint, key, head: last } = await data(api.GET("/api/v1/audit/checkpoint"));
  const head = await openNote(checkpoint, key);
  if (head === undefined) return broken("signature", 0);
  const before = remembered(head.origin);
  if (before !== undefined && before.size > head.size) return broken("shorter", head.size);

  const tree = new Tree();
  const seen = async () =>
    before === undefined || before.size !== tree.size || same(await tree.root(), before.root);
  let at = START;
  if (!(await seen())) return broken("rewritten", 0);
  while (tree.size < head.size) {
    const begin = tree.size;
    const width = Math.min(WIDTH, head.size - begin);
    const tile = await tileOf(begin / WIDTH, width);
    const records = await recordsOf(begin, width);
    const next = follow(at, records);
    if ("broken" in next) return broken("link", next.broken);
    if (next.seq !== begin + width) return broken("link", next.seq);
    at = next;
    const leaves = await Promise.all(records.map((record) => leafHash(fromHex(record.hash))));
    for (const [index, leaf] of leaves.entries()) {
      const published = tile.slice(index * HASH_BYTES, (index + 1) * HASH_BYTES);
      if (!same(leaf, published)) return broken("tile", begin + index);
      await tree.push(leaf);
      if (!(await seen())) return broken("rewritten", tree.size - 1);
    }
    progress(tree.size);
  }
  if (head.size > 0 && at.hash !== last) return broken("link", at.seq - 1);
  if (!same(await tree.root(), head.root)) return broken("root", head.size);
  remember(head.origin, { key, size: head.size, root: btoa(String.fromCharCode(...head.root)) });
  return {
    ok: true,
    records: head.size,
    signature: head.signature,
    otherKey: before !== undefined && before.key !== key,
    known: before?.size ?? 0,
  };
}

async function recordsOf(begin: number, count: number): Promise<AuditRecord[]> {
  const records: AuditRecord[] = [];
  while (records.length < count) {
    const limit = Math.min(PAGE, count - records.length);
    const query = { cursor: String(begin + records.length), limit };
    const page = await patiently(() => data(api.GET("/api/v1/audit", { params: { query } })));
    if (page.items.length === 0) break;
    records.push(...page.items);
  }
  return records;
}

/** A tile of leaves, full or partial (C2SP tlog-tiles). */
async function tileOf(index: number, width: number): Promise<Bytes> {
  const tile = `0/${tileNumber(index)}${width < WIDTH ? `.p/${width}` : ""}`;
  const bytes = await patiently(async () => {
    const response = await fetch(`/api/v1/audit/tlog/tile/${tile}`);
    if (!response.ok) throw new Problem(response.status, await response.json().catch(() => ({})));
    return response.arrayBuffer();
  });
  return new Uint8Array(bytes);
}

/** A long log takes more requests than one may send at once. */
async function patiently<T>(ask: () => Promise<T>): Promise<T> {
  for (;;) {
    try {
      return await ask();
    } catch (error) {
      if (!(error instanceof Problem) || error.status !== BUSY) throw error;
      await new Promise((over) => setTimeout(over, BUSY_MS));
    }
  }
}

type Kept = { key: string; size: number; root: string };
const place = (origin: string) => `selfheal.log.${origin}`;

/** The head that this browser saw last. */
function remembered(origin: string) {
  try {
    const kept = JSON.parse(localStorage.getItem(place(origin)) ?? "null") as Kept | null;
    return kept === null ? undefined : { ...kept, root: fromBase64(kept.root) };
  } catch {
    return undefined;
  }
}

function remember(origin: string, head: Kept): void {
  try {
    localStorage.setItem(place(origin), JSON.stringify(head));
  } catch {
    // A full or forbidden storage: the next check compares with nothing.
  }
}
