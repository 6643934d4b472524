// The Merkle tree of RFC 6962 over the hashes of the log's records.

export type Bytes = Uint8Array<ArrayBuffer>;

/** SHA-256 of the parts one after the other. */
export async function sha256(...parts: Bytes[]): Promise<Bytes> {
  const joined = new Uint8Array(parts.reduce((length, part) => length + part.length, 0));
  let at = 0;
  for (const part of parts) {
    joined.set(part, at);
    at += part.length;
  }
  return new Uint8Array(await crypto.subtle.digest("SHA-256", joined));
}

const LEAF = Uint8Array.of(0);
const NODE = Uint8Array.of(1);

export const leafHash = (data: Bytes) => sha256(LEAF, data);

/** A growing tree; keeps the roots of its full subtrees only, largest first. */
export class Tree {
  size = 0;
  private readonly peaks: { height: number; hash: Bytes }[] = [];

  async push(leaf: Bytes): Promise<void> {
    let node = { height: 0, hash: leaf };
    for (let left = this.peaks.at(-1); left?.height === node.height; left = this.peaks.at(-1)) {
      this.peaks.pop();
      node = { height: node.height + 1, hash: await sha256(NODE, left.hash, node.hash) };
    }
    this.peaks.push(node);
    this.size += 1;
  }

  /** Of an empty tree it is the hash of nothing. */
  async root(): Promise<Bytes> {
    let root: Bytes | undefined;
    for (const { hash } of this.peaks.toReversed()) {
      root = root === undefined ? hash : await sha256(NODE, hash, root);
    }
    return root ?? sha256();
  }
}

export const same = (one: Bytes | undefined, other: Bytes | undefined) =>
  one !== undefined && one.length === other?.length && one.every((byte, at) => byte === other[at]);

export function fromHex(text: string): Bytes {
  const pairs = /^([0-9a-f]{2})*$/.test(text) ? (text.match(/../g) ?? []) : [];
  return Uint8Array.from(pairs, (pair) => Number.parseInt(pair, 16));
}

export const fromBase64 = (text: string): Bytes =>
  Uint8Array.from(atob(text), (char) => char.charCodeAt(0));

/** How C2SP tlog-tiles names a tile, as in `x001/x234/067`. */
export function tileNumber(index: number): string {
  let number = String(index % 1000).padStart(3, "0");
  for (let rest = Math.floor(index / 1000); rest > 0; rest = Math.floor(rest / 1000)) {
    number = `x${String(rest % 1000).padStart(3, "0")}/${number}`;
  }
  return number;
}
