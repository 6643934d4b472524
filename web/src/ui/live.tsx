import { useSpeech } from "../i18n";
import type { Liveness } from "../live";

/** Whether what is shown follows what happens. */
export function Live({ state }: { state: Liveness }) {
  const { t } = useSpeech();
  return (
    <span className={`liveness ${state}`}>
      <span className="dot" aria-hidden="true" />
      {t(`live.${state}`)}
    </span>
  );
}
