// Dialogs, and the one that asks for a reason before something is done.
import { type FormEvent, type ReactNode, useId, useState } from "react";
import { Dialog, Heading, Modal, ModalOverlay } from "react-aria-components";
import { problemOf } from "../api/client";
import { useSpeech } from "../i18n";
import { useProblemText } from "./toast";

type DialogProps = { title: string; onClose: () => void; children: ReactNode; wide?: boolean };

export function ModalDialog({ title, onClose, children, wide = false }: DialogProps) {
  const { t } = useSpeech();
  return (
    <ModalOverlay
      className="overlay"
      isOpen
      isDismissable
      onOpenChange={(open) => open || onClose()}
    >
      <Modal className={wide ? "modal wide" : "modal"}>
        <Dialog>
          <header>
            <Heading slot="title">{title}</Heading>
            <button
              type="button"
              className="quiet"
              aria-label={t("action.close")}
              onClick={onClose}
            >
              ✕
            </button>
          </header>
          {children}
        </Dialog>
      </Modal>
    </ModalOverlay>
  );
}

type ReasonProps = {
  title: string;
  /** What will happen. */
  about?: ReactNode;
  confirm: string;
  danger?: boolean;
  /** Further fields, read by the caller. */
  children?: ReactNode;
  onClose: () => void;
  act: (reason: string) => Promise<unknown>;
};

export function ReasonDialog({
  title,
  about,
  confirm,
  danger = false,
  children,
  onClose,
  act,
}: ReasonProps) {
  const { t } = useSpeech();
  const sentence = useProblemText();
  const [busy, setBusy] = useState(false);
  const [refused, setRefused] = useState<unknown>(null);
  const help = useId();
  const send = async (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    const reason = String(new FormData(event.currentTarget).get("reason")).trim();
    setBusy(true);
    try {
      await act(reason);
      onClose();
    } catch (error) {
      setRefused(problemOf(error));
      setBusy(false);
    }
  };
  return (
    <ModalDialog title={title} onClose={onClose}>
      <form onSubmit={send}>
        {about}
        {children}
        <label>
          <span>{t("reason.label")}</span>
          <textarea name="reason" required rows={3} aria-describedby={help} />
        </label>
        <p id={help} className="soft small">
          {t("reason.help")}
        </p>
        {refused !== null && (
          <p className="field-error" role="alert">
            {sentence(refused)}
          </p>
        )}
        <footer>
          <button type="button" onClick={onClose}>
            {t("action.cancel")}
          </button>
          <button type="submit" className={danger ? "danger" : "primary"} disabled={busy}>
            {confirm}
          </button>
        </footer>
      </form>
    </ModalDialog>
  );
}
