// Says on every page of an admin that nothing is healed: whoever approves something would
// wait for ever.
import { queryOptions, useQuery } from "@tanstack/react-query";
import { type Autonomy, api, data } from "./api/client";
import { useSpeech } from "./i18n";

export const AUTONOMY = queryOptions({
  queryKey: ["host", "autonomy"],
  queryFn: () => data<Autonomy>(api.GET("/api/v1/autonomy")),
});
/** How old it may be where no stream tells. */
const REFRESH_MS = 30_000;

export function FrozenBanner() {
  const { t } = useSpeech();
  const autonomy = useQuery({ ...AUTONOMY, refetchInterval: REFRESH_MS });
  if (autonomy.data?.frozen !== true) return null;
  return (
    <p className="banner" role="status">
      {t("autonomy.frozen")}
    </p>
  );
}
