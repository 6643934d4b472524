import { type Key, useSpeech } from "../i18n";
import { ModalDialog } from "../ui/dialog";

const ALL: [string, Key][] = [
  ["j", "keys.next"],
  ["k", "keys.previous"],
  ["Enter", "keys.enter"],
  ["?", "keys.help"],
];
const DECIDING: [string, Key][] = [
  ["x", "keys.select"],
  ["a", "bulk.approve"],
  ["r", "bulk.reject"],
  ["s", "bulk.snooze"],
  ["v", "bulk.severity"],
  ["p", "bulk.priority"],
];

/** The keys of the list. */
export default function KeysDialog({
  decides,
  onClose,
}: {
  decides: boolean;
  onClose: () => void;
}) {
  const { t } = useSpeech();
  return (
    <ModalDialog title={t("keys.title")} onClose={onClose}>
      <dl className="keys">
        {[...ALL, ...(decides ? DECIDING : [])].map(([key, word]) => (
          <div key={key}>
            <dt>
              <kbd>{key}</kbd>
            </dt>
            <dd>{t(word)}</dd>
          </div>
        ))}
      </dl>
    </ModalDialog>
  );
}
