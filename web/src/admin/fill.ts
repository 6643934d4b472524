// A filter over what is loaded step by step: as long as it shows little, more is loaded.
import { useEffect } from "react";

/** So many make a page to read. */
const ENOUGH = 25;

type Steps = {
  hasNextPage: boolean;
  isFetching: boolean;
  isError: boolean;
  fetchNextPage: () => unknown;
};

/** Loads on while a filter is set, `shown` is too little for a page, and `loaded` is not
 * more than `most`; whoever wants to see still older ones says so. */
export function useFill(
  steps: Steps,
  filter: { on: boolean; shown: number; loaded: number; most: number },
): void {
  const { hasNextPage, isFetching, isError, fetchNextPage } = steps;
  const { on, shown, loaded, most } = filter;
  const wants = on && shown < ENOUGH && loaded < most && hasNextPage && !isFetching && !isError;
  useEffect(() => {
    if (wants) fetchNextPage();
  }, [wants, fetchNextPage]);
}
