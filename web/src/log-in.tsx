// Where everybody without a session ends up; the address stays, to go on from there.
import { useQuery } from "@tanstack/react-query";
import { type FormEvent, useEffect, useRef, useState } from "react";
import { api, data } from "./api/client";
import { framed } from "./embed/framed";
import { useSpeech } from "./i18n";
import { useLogIn } from "./session";
import { Preferences } from "./shell";
import { useProblemText } from "./ui/toast";

const REASONS = ["refused", "unknown", "disabled", "unavailable"] as const;

/** Why the provider's answer was not enough, as the address says. */
function reason(search: string) {
  const said = new URLSearchParams(search).get("login");
  return REASONS.find((known) => known === said) ?? null;
}

export function LogInPage() {
  const { t } = useSpeech();
  const { logIn } = useLogIn();
  const sentence = useProblemText();
  const name = useRef<HTMLInputElement>(null);
  const [busy, setBusy] = useState(false);
  const [refused, setRefused] = useState<unknown>(null);

  useEffect(() => {
    document.title = `${t("login.title")} · Selfheal`;
  }, [t]);
  useEffect(() => name.current?.focus(), []);
  const options = useQuery({
    queryKey: ["login"],
    queryFn: () => data(api.GET("/api/v1/session/options")),
    staleTime: Number.POSITIVE_INFINITY,
  });
  // A provider shows itself in no frame.
  const provider = framed ? undefined : options.data?.provider;
  const { pathname, search } = location;
  const came = reason(search);
  const here = came === null ? pathname + search : "/";

  const send = async (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    const form = new FormData(event.currentTarget);
    setBusy(true);
    setRefused(null);
    try {
      await logIn(String(form.get("username")), String(form.get("password")));
    } catch (error) {
      setRefused(error);
      setBusy(false);
      name.current?.focus();
    }
  };

  return (
    <div className="gate">
      <main>
        <form className="card" onSubmit={send} aria-describedby="login-about">
          <img src="/icon.svg" alt="" width="48" height="48" />
          <h1>{t("login.title")}</h1>
          <p id="login-about" className="soft">
            {t("login.about")}
          </p>
          <label>
            <span>{t("login.name")}</span>
            <input ref={name} name="username" autoComplete="username" required />
          </label>
          <label>
            <span>{t("login.password")}</span>
            <input name="password" type="password" autoComplete="current-password" required />
          </label>
          {refused === null && came !== null && (
            <p className="field-error" role="alert">
              {t(`login.${came}`)}
            </p>
          )}
          {refused !== null && (
            <p className="field-error" role="alert">
              {sentence(refused)}
            </p>
          )}
          <button className="primary wide" disabled={busy} type="submit">
            {t("login.enter")}
          </button>
          {provider && (
            <a
              className="button wide"
              href={`${provider.url}?returnTo=${encodeURIComponent(here)}`}
            >
              {t("login.provider", { name: provider.label })}
            </a>
          )}
        </form>
        <Preferences />
      </main>
    </div>
  );
}
