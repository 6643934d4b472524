// What a view shows while it has nothing to show.
import { type ReactNode, useEffect, useState, useSyncExternalStore } from "react";
import { OFFLINE, problemOf } from "../api/client";
import { useSpeech } from "../i18n";
import { useProblemText } from "./toast";

/** Says that something is under way, once that takes noticeably long. */
export function Loading() {
  const { t } = useSpeech();
  const [slow, setSlow] = useState(false);
  useEffect(() => {
    const timer = setTimeout(() => setSlow(true), 250);
    return () => clearTimeout(timer);
  }, []);
  return (
    <div className="loading" role="status">
      {slow && (
        <>
          <span className="spinner" aria-hidden="true" />
          {t("state.loading")}
        </>
      )}
    </div>
  );
}

/** An empty, forbidden or missing view, with what to do about it. */
export function Note({ title, children }: { title: string; children?: ReactNode }) {
  return (
    <section className="note">
      <h1 tabIndex={-1}>{title}</h1>
      <div>{children}</div>
    </section>
  );
}

/** An empty list within a view. */
export function Empty({ children }: { children: ReactNode }) {
  return <p className="empty">{children}</p>;
}

/** What went wrong, and the button that tries again. */
export function Failure({ error, again }: { error: unknown; again?: () => unknown }) {
  const { t } = useSpeech();
  const sentence = useProblemText();
  const { status } = problemOf(error);
  const title =
    status === 404 ? "state.nowhere" : status === 403 ? "state.forbidden" : "state.failed";
  return (
    <section className="note" role="alert">
      <h2>{status === OFFLINE ? t("state.offline.title") : t(title)}</h2>
      <p dir="auto">{sentence(error)}</p>
      {again && (
        <button type="button" onClick={() => again()}>
          {t("action.again")}
        </button>
      )}
    </section>
  );
}

function watchNetwork(changed: () => void) {
  addEventListener("online", changed);
  addEventListener("offline", changed);
  return () => {
    removeEventListener("online", changed);
    removeEventListener("offline", changed);
  };
}

/** Said on top of every page while the browser has no network. */
export function OfflineBanner() {
  const { t } = useSpeech();
  const online = useSyncExternalStore(watchNetwork, () => navigator.onLine);
  return online ? null : (
    <p className="banner" role="status">
      {t("state.offline")}
    </p>
  );
}
