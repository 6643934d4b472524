// Likely duplicates: the host finds issues by words, this ranks them by how much of the
// title they share.
import { api, data, type IssueSummary } from "../api/client";
import { likeness, words } from "./likeness";

const MOST = 5;
/** Share of common words from which a title counts as alike. */
const ENOUGH = 0.25;

export async function alike(title: string): Promise<IssueSummary[]> {
  const telling = words(title).slice(0, 3);
  const pages = await Promise.all(
    telling.map((q) => data(api.GET("/api/v1/issues", { params: { query: { q, limit: 20 } } }))),
  );
  const byNumber = new Map(pages.flatMap((page) => page.items).map((item) => [item.number, item]));
  return [...byNumber.values()]
    .map((issue) => ({ issue, share: likeness(title, issue.title) }))
    .filter(({ share }) => share >= ENOUGH)
    .sort((a, b) => b.share - a.share)
    .slice(0, MOST)
    .map(({ issue }) => issue);
}
