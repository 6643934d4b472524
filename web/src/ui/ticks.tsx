/** A sentence in which `code` stands between backticks. */
export function Ticks({ text }: { text: string }) {
  return text.split("`").map((part, index) =>
    index % 2 === 1 ? (
      // biome-ignore lint/suspicious/noArrayIndexKey: parts have no other identity
      <code key={index}>{part}</code>
    ) : (
      part
    ),
  );
}
