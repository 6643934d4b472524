// Signed checkpoints (C2SP tlog-checkpoint, signed-note with Ed25519), checked in the
// browser.
import { type Bytes, fromBase64, same, sha256 } from "./merkle";

export type Head = {
  origin: string;
  size: number;
  root: Bytes;
  /** `unchecked` where this browser knows no Ed25519. */
  signature: "good" | "unchecked";
};

const ED25519 = 1;
const ID_BYTES = 4;

/** What a checkpoint says that `key` (`NAME+ID+KEY`) signed; nothing when it did not. */
export async function openNote(note: string, key: string): Promise<Head | undefined> {
  const [, name = "", id = "", encoded = ""] = /^([^\s+]+)\+([0-9a-f]{8})\+(\S+)$/.exec(key) ?? [];
  const end = note.lastIndexOf("\n\n");
  if (name === "" || end < 0) return undefined;
  const text = note.slice(0, end + 1);
  const [origin, size = "", root = ""] = text.split("\n");
  if (origin !== name || !/^\d{1,15}$/.test(size)) return undefined;
  const lines = note.slice(end + 2).split("\n");
  const line = lines.find((line) => line.startsWith(`\u2014 ${name} `));
  try {
    const marked = fromBase64(encoded);
    const named = await sha256(new TextEncoder().encode(`${name}\n`), marked);
    const signed = fromBase64(line?.split(" ").at(2) ?? "");
    const hint = signed.slice(0, ID_BYTES);
    const fits =
      marked[0] === ED25519 && hexOf(hint) === id && same(named.slice(0, ID_BYTES), hint);
    if (!fits) return undefined;
    const head = { origin, size: Number(size), root: fromBase64(root) };
    const known = await importKey(marked.slice(1));
    if (known === undefined) return { ...head, signature: "unchecked" };
    const message = new TextEncoder().encode(text);
    const good = await crypto.subtle.verify("Ed25519", known, signed.slice(ID_BYTES), message);
    return good ? { ...head, signature: "good" } : undefined;
  } catch {
    // Not Base64, or no key.
    return undefined;
  }
}

async function importKey(raw: Bytes): Promise<CryptoKey | undefined> {
  try {
    return await crypto.subtle.importKey("raw", raw, "Ed25519", false, ["verify"]);
  } catch (error) {
    if (error instanceof DOMException && error.name === "NotSupportedError") return undefined;
    throw error;
  }
}

const hexOf = (bytes: Bytes) =>
  Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
