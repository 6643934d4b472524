// The search box: a query in the address, completed while it is typed, refused at the box.
import { type KeyboardEvent, useEffect, useId, useRef, useState } from "react";
import { useSpeech } from "../i18n";
import { completionsAt } from "./query";

const TYPING_MS = 300;

type Props = { value: string; set: (value: string) => void; refused: string | undefined };

export function SearchBox({ value, set, refused }: Props) {
  const { t } = useSpeech();
  const id = useId();
  const [text, setText] = useState(value);
  const [caret, setCaret] = useState(0);
  const [open, setOpen] = useState(false);
  const [chosen, setChosen] = useState(-1);
  const known = useRef(value);
  const timer = useRef<ReturnType<typeof setTimeout>>(undefined);
  const box = useRef<HTMLInputElement>(null);
  useEffect(() => () => clearTimeout(timer.current), []);
  // Another view, or a control beside the box, brings another text.
  useEffect(() => {
    if (value === known.current) return;
    known.current = value;
    clearTimeout(timer.current);
    setText(value);
  }, [value]);

  const { from, all } = completionsAt(text, caret);
  const shown = open && all.length > 0;

  const apply = (next: string) => {
    clearTimeout(timer.current);
    known.current = next.trim();
    set(known.current);
  };
  const typed = (next: string, at: number) => {
    setText(next);
    setCaret(at);
    setChosen(-1);
    setOpen(true);
    clearTimeout(timer.current);
    timer.current = setTimeout(() => apply(next), TYPING_MS);
  };
  const complete = (index: number) => {
    const completion = all[index];
    if (completion === undefined) return;
    const begin = text.slice(0, from) + completion.text + (completion.whole ? " " : "");
    typed(begin + text.slice(caret).trimStart(), begin.length);
    requestAnimationFrame(() => {
      box.current?.focus();
      box.current?.setSelectionRange(begin.length, begin.length);
    });
  };
  const pressed = (event: KeyboardEvent) => {
    if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      setOpen(true);
      const step = event.key === "ArrowDown" ? 1 : -1;
      if (all.length > 0) setChosen((chosen + step + all.length) % all.length);
    } else if (event.key === "Escape" && shown) {
      setOpen(false);
    } else if (event.key === "Tab" && shown && chosen >= 0) {
      complete(chosen);
    } else if (event.key === "Enter") {
      if (shown && chosen >= 0) complete(chosen);
      else {
        setOpen(false);
        apply(text);
      }
    } else return;
    event.preventDefault();
  };

  return (
    <div className="search-box">
      <input
        ref={box}
        type="text"
        role="combobox"
        aria-label={t("filter.query")}
        placeholder={t("filter.query.example")}
        aria-autocomplete="list"
        aria-expanded={shown}
        aria-controls={`${id}-list`}
        aria-activedescendant={shown && chosen >= 0 ? `${id}-${chosen}` : undefined}
        aria-invalid={refused !== undefined}
        aria-describedby={refused === undefined ? undefined : `${id}-refused`}
        autoComplete="off"
        autoCapitalize="off"
        spellCheck={false}
        dir="auto"
        maxLength={1000}
        value={text}
        onChange={(event) => typed(event.target.value, event.target.selectionStart ?? 0)}
        onSelect={(event) => setCaret(event.currentTarget.selectionStart ?? 0)}
        onKeyDown={pressed}
        onBlur={() => setOpen(false)}
      />
      {shown && (
        <div
          className="completions"
          role="listbox"
          id={`${id}-list`}
          aria-label={t("filter.terms")}
        >
          {all.map((completion, index) => (
            // biome-ignore lint/a11y/useFocusableInteractive: the box keeps the focus
            <div
              key={completion.text}
              id={`${id}-${index}`}
              role="option"
              aria-selected={index === chosen}
              onPointerDown={(event) => {
                event.preventDefault();
                complete(index);
              }}
            >
              <bdi>{completion.text}</bdi>
            </div>
          ))}
        </div>
      )}
      {refused !== undefined && !shown && (
        <p className="field-error" id={`${id}-refused`} role="alert">
          {refused}
        </p>
      )}
    </div>
  );
}
