// One account, as an admin changes it. Every change ends the sessions of its owner.
import { useMutation, useQueryClient } from "@tanstack/react-query";
import { type FormEvent, useState } from "react";
import { api, data, type Role, type User } from "../api/client";
import { useSpeech } from "../i18n";
import { useSession } from "../session";
import { ModalDialog } from "../ui/dialog";
import { useProblemText, useTell } from "../ui/toast";
import { Sure, Tokens } from "./tokens";

/** What a person can be; an agent's hook stays one. */
const ROLES: Role[] = ["user", "admin", "auditor", "guest"];

type Props = { person: User; onClose: () => void };

export function PersonDialog({ person, onClose }: Props) {
  const { t } = useSpeech();
  return (
    <ModalDialog title={t("people.account", { name: person.name })} onClose={onClose} wide>
      {person.role !== "hook" && <RoleForm person={person} />}
      <PasswordForm person={person} />
      <section className="part" aria-labelledby="their-tokens">
        <h3 id="their-tokens">{t("people.tokens")}</h3>
        <Tokens name={person.name} />
      </section>
      <Access person={person} onClosed={onClose} />
    </ModalDialog>
  );
}

/** Does something to an account and tells that it is done. */
function useChange<T>(act: (what: T) => Promise<User>, done: (user: User) => string) {
  const queries = useQueryClient();
  const tell = useTell();
  return useMutation({
    mutationFn: act,
    onSuccess: (user) => {
      tell.done(done(user));
      return queries.invalidateQueries({ queryKey: ["people"] });
    },
  });
}

function Refusal({ of }: { of: { isError: boolean; error: unknown } }) {
  const sentence = useProblemText();
  return of.isError ? (
    <p className="field-error" role="alert">
      {sentence(of.error)}
    </p>
  ) : null;
}

function RoleForm({ person }: { person: User }) {
  const { t } = useSpeech();
  const { name } = person;
  const [role, setRole] = useState(person.role);
  const change = useChange(
    (role: Role) =>
      data(api.PUT("/api/v1/users/{name}/role", { params: { path: { name } }, body: { role } })),
    (user) => t("people.role.done", { name, role: t(`role.${user.role}`) }),
  );
  const send = (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    change.mutate(role);
  };
  return (
    <form className="part" onSubmit={send}>
      <div className="row fields">
        <label>
          <span>{t("people.role")}</span>
          <select value={role} onChange={(event) => setRole(event.target.value as Role)}>
            {ROLES.map((role) => (
              <option key={role} value={role}>
                {t(`role.${role}`)}
              </option>
            ))}
          </select>
        </label>
        <button type="submit" disabled={change.isPending || role === person.role}>
          {t("people.role.change")}
        </button>
      </div>
      <p className="soft small">{t(`role.may.${role}`)}</p>
      <Refusal of={change} />
    </form>
  );
}

function PasswordForm({ person }: { person: User }) {
  const { t } = useSpeech();
  const { name } = person;
  const own = useSession().username === name;
  const change = useChange(
    (password: string) =>
      data(
        api.PUT("/api/v1/users/{name}/password", {
          params: { path: { name } },
          body: { password },
        }),
      ),
    () => t("people.password.done", { name }),
  );
  const send = (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    const form = event.currentTarget;
    change.mutate(String(new FormData(form).get("password")), { onSuccess: () => form.reset() });
  };
  if (person.role === "hook") return null;
  if (own) return <p className="part soft">{t("people.password.own")}</p>;
  return (
    <form className="part" onSubmit={send}>
      <div className="row fields">
        <label>
          <span>{t("password.new")}</span>
          <input
            name="password"
            type="password"
            required
            minLength={12}
            autoComplete="new-password"
          />
        </label>
        <button type="submit" disabled={change.isPending}>
          {t("people.password.set")}
        </button>
      </div>
      <p className="soft small">
        {t(person.hasProvider ? "people.password.tied" : "people.password.about")}
      </p>
      <Refusal of={change} />
    </form>
  );
}

/** Off, on, and closed for good. */
function Access({ person, onClosed }: { person: User; onClosed: () => void }) {
  const { t } = useSpeech();
  const { name } = person;
  const [closing, setClosing] = useState(false);
  const queries = useQueryClient();
  const disabled = person.standing === "disabled";
  const change = useChange(
    () => {
      const params = { path: { name } };
      return data(
        disabled
          ? api.POST("/api/v1/users/{name}/enable", { params, body: {} })
          : api.POST("/api/v1/users/{name}/disable", { params, body: {} }),
      );
    },
    (user) => t(`people.now.${user.standing}`, { name }),
  );
  return (
    <section className="part" aria-labelledby="their-access">
      <h3 id="their-access">{t("people.access")}</h3>
      <p className="soft small">{t(disabled ? "people.enable.about" : "people.disable.about")}</p>
      <div className="row">
        <button type="button" disabled={change.isPending} onClick={() => change.mutate(undefined)}>
          {t(disabled ? "people.enable" : "people.disable")}
        </button>
        <button type="button" className="danger" onClick={() => setClosing(true)}>
          {t("people.close")}
        </button>
      </div>
      <Refusal of={change} />
      {closing && (
        <Sure
          title={t("people.close.title", { name })}
          about={t("people.close.about")}
          confirm={t("people.close")}
          onClose={() => setClosing(false)}
          act={async () => {
            const params = { path: { name } };
            await api.POST("/api/v1/users/{name}/close", { params, body: {} });
            await queries.invalidateQueries({ queryKey: ["people"] });
            onClosed();
          }}
        />
      )}
    </section>
  );
}
