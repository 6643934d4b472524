// One's own account: who one is here, one's password, and one's tokens.
import { useMutation, useQueryClient } from "@tanstack/react-query";
import { type FormEvent, useRef } from "react";
import { api, data, problemOf } from "../api/client";
import { useSpeech } from "../i18n";
import { useSession } from "../session";
import { useTitle } from "../ui/title";
import { useProblemText } from "../ui/toast";
import { NewToken, Tokens } from "./tokens";

export default function AccountPage() {
  const { t } = useSpeech();
  const { username, role } = useSession();
  useTitle(t("account.title"));
  return (
    <>
      <div className="page-head">
        <h1>{t("account.title")}</h1>
      </div>
      <p>
        {t("account.who", { name: username, role: t(`role.${role}`) })} {t(`role.may.${role}`)}
      </p>
      <Password />
      <section className="card" aria-labelledby="own-tokens">
        <h2 id="own-tokens">{t("tokens.own")}</h2>
        <p className="soft">{t("tokens.about")}</p>
        <Tokens />
      </section>
      <NewToken role={role} />
    </>
  );
}

function Password() {
  const { t } = useSpeech();
  const { username, hasPassword, hasProvider } = useSession();
  const sentence = useProblemText();
  const queries = useQueryClient();
  const form = useRef<HTMLFormElement>(null);
  const change = useMutation({
    mutationFn: (body: { oldPassword: string; newPassword: string }) =>
      data(api.PUT("/api/v1/account/password", { body })),
    onSuccess: () => {
      form.current?.reset();
      return queries.invalidateQueries({ queryKey: ["session"] });
    },
  });
  const send = (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    const fields = new FormData(event.currentTarget);
    change.mutate({
      oldPassword: String(fields.get("old")),
      newPassword: String(fields.get("new")),
    });
  };
  const wrong = change.isError ? problemOf(change.error) : undefined;
  return (
    <section className="card" aria-labelledby="own-password">
      <h2 id="own-password">{t("account.password")}</h2>
      {hasProvider && <p className="soft">{t("account.password.tied")}</p>}
      {!hasProvider && (
        <form ref={form} onSubmit={send}>
          {/* For password managers, which keep it beside the name. */}
          <input type="hidden" name="username" value={username} autoComplete="username" />
          <div className="row fields">
            <label>
              <span>{t(hasPassword ? "password.old" : "password.old.token")}</span>
              <input
                name="old"
                type="password"
                required
                autoComplete="current-password"
                aria-invalid={wrong?.status === 403}
              />
            </label>
            <label>
              <span>{t("password.new")}</span>
              <input
                name="new"
                type="password"
                required
                minLength={12}
                autoComplete="new-password"
                aria-invalid={wrong?.fields.has("newPassword") ?? false}
              />
            </label>
            <button type="submit" disabled={change.isPending}>
              {t(hasPassword ? "account.password.change" : "people.password.set")}
            </button>
          </div>
          <p className="soft small">{t("account.password.about")}</p>
        </form>
      )}
      {change.isError && (
        <p className="field-error" role="alert">
          {sentence(change.error)}
        </p>
      )}
      {change.isSuccess && (
        <p className="good" role="status">
          {t("account.password.done")}
        </p>
      )}
    </section>
  );
}
