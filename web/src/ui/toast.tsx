// Short messages that go by themselves. One polite region reads them out.
import { createContext, type ReactNode, useCallback, useContext, useRef, useState } from "react";
import { OFFLINE, problemOf, STALE } from "../api/client";
import { useSpeech } from "../i18n";

type Tone = "good" | "bad";
type Toast = { id: number; text: string; tone: Tone };

const SHOWN_MS = 8_000;
const Context = createContext<(text: string, tone: Tone) => void>(() => {});

export function ToastProvider({ children }: { children: ReactNode }) {
  const [toasts, setToasts] = useState<Toast[]>([]);
  const next = useRef(0);
  const tell = useCallback((text: string, tone: Tone) => {
    const id = next.current++;
    const without = (all: Toast[]) => all.filter((toast) => toast.id !== id);
    setToasts((all) => [...all.slice(-2), { id, text, tone }]);
    setTimeout(() => setToasts(without), SHOWN_MS);
  }, []);
  return (
    <Context value={tell}>
      {children}
      <div className="toasts" role="status" aria-live="polite">
        {toasts.map((toast) => (
          <p key={toast.id} className={`toast ${toast.tone}`} dir="auto">
            {toast.text}
          </p>
        ))}
      </div>
    </Context>
  );
}

/** Says that something was done, or why not. */
export function useTell() {
  const tell = useContext(Context);
  const sentence = useProblemText();
  return {
    done: (text: string) => tell(text, "good"),
    failed: (error: unknown) => tell(sentence(error), "bad"),
  };
}

/** A problem as a sentence. */
export function useProblemText() {
  const { t } = useSpeech();
  return (error: unknown) => {
    const problem = problemOf(error);
    if (problem.status === OFFLINE) return t("state.offline");
    if (problem.status === STALE) return t("state.stale");
    const fields = [...problem.fields].map(([field, message]) => `${field} ${message}`);
    return fields.length > 0 ? fields.join("; ") : problem.message;
  };
}
