// Follows the chain of hashes from the first record to the checkpoint, in the browser.
import { api, data } from "../api/client";
import { follow, START } from "./links";

export type ChainResult = { ok: true; records: number } | { ok: false; seq: number };

const PAGE = 200;

/** The checkpoint is asked for first: the log may only grow meanwhile. */
export async function checkChain(progress: (records: number) => void): Promise<ChainResult> {
  const checkpoint = await data(api.GET("/api/v1/audit/checkpoint"));
  let at = START;
  while (at.seq < checkpoint.size) {
    const limit = Math.min(PAGE, checkpoint.size - at.seq);
    const query = { cursor: String(at.seq), limit };
    const page = await data(api.GET("/api/v1/audit", { params: { query } }));
    const next = follow(at, page.items);
    if ("broken" in next) return { ok: false, seq: next.broken };
    if (next.seq === at.seq) return { ok: false, seq: at.seq };
    at = next;
    progress(at.seq);
  }
  return at.hash === checkpoint.head || checkpoint.size === 0
    ? { ok: true, records: at.seq }
    : { ok: false, seq: at.seq - 1 };
}
