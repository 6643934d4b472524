// The links of the audit log: each record names the hash of the one before.
import type { AuditRecord } from "../api/client";

const GENESIS = "0".repeat(64);

/** Where the next record must go on. */
export type Link = { seq: number; hash: string };
export const START: Link = { seq: 0, hash: GENESIS };

/** Follows records that must come right after `link`; the position that breaks the chain. */
export function follow(link: Link, records: readonly AuditRecord[]): Link | { broken: number } {
  let at = link;
  for (const record of records) {
    if (record.seq !== at.seq || record.previous !== at.hash) return { broken: at.seq };
    at = { seq: record.seq + 1, hash: record.hash };
  }
  return at;
}
