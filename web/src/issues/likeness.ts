// How much two titles have in common.

const SHORTEST = 4;

/** Words of a text that say something, longest first. */
export function words(text: string): string[] {
  const found = text.toLowerCase().match(/[\p{L}\p{N}]+/gu) ?? [];
  return [...new Set(found.filter((word) => word.length >= SHORTEST))].sort(
    (a, b) => b.length - a.length,
  );
}

/** Share of words that two titles have in common, 0 to 1. */
export function likeness(one: string, other: string): number {
  const [left, right] = [new Set(words(one)), new Set(words(other))];
  const both = [...left].filter((word) => right.has(word)).length;
  return both === 0 ? 0 : both / (left.size + right.size - both);
}
