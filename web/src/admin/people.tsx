// Accounts and their roles. A new account's token is shown this once.
import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { type FormEvent, useRef, useState } from "react";
import { api, data, everything, problemOf, type Role, type User } from "../api/client";
import { useSpeech } from "../i18n";
import { Command } from "../issues/commits";
import { Badge } from "../ui/badges";
import { Failure, Loading } from "../ui/states";
import { useTitle } from "../ui/title";
import { useProblemText } from "../ui/toast";
import { PersonDialog } from "./person";

const ROLES: Role[] = ["user", "admin", "auditor", "guest", "hook"];
const TONES = { open: "good", disabled: "warn", closed: "calm" } as const;

export default function PeoplePage() {
  const { t } = useSpeech();
  useTitle(t("nav.people"));
  const [shown, setShown] = useState<string>();
  const people = useQuery({
    queryKey: ["people"],
    queryFn: () => everything((query) => api.GET("/api/v1/users", { params: { query } })),
  });
  const person = people.data?.find((person) => person.name === shown);
  return (
    <>
      <div className="page-head">
        <h1>{t("nav.people")}</h1>
      </div>
      <NewPerson />
      {people.isPending && <Loading />}
      {people.isError && <Failure error={people.error} again={people.refetch} />}
      {people.data && (
        <section className="card scroll">
          <table>
            <caption className="hidden">{t("nav.people")}</caption>
            <thead>
              <tr>
                <th scope="col">{t("people.name")}</th>
                <th scope="col" className="roomy">
                  {t("people.role")}
                </th>
                <th scope="col">{t("people.standing")}</th>
                <th scope="col" className="roomy">
                  {t("people.by")}
                </th>
                <th scope="col">
                  <span className="hidden">{t("tokens.actions")}</span>
                </th>
              </tr>
            </thead>
            <tbody>
              {people.data.map((person) => (
                <Row key={person.name} person={person} show={() => setShown(person.name)} />
              ))}
            </tbody>
          </table>
        </section>
      )}
      {person && <PersonDialog person={person} onClose={() => setShown(undefined)} />}
    </>
  );
}

function Row({ person, show }: { person: User; show: () => void }) {
  const { t } = useSpeech();
  const by = [
    person.hasToken && t("people.token"),
    person.hasPassword && t("people.password"),
    person.hasProvider && t("people.provider"),
  ].filter(Boolean);
  return (
    <tr>
      <th scope="row">
        <bdi>{person.name}</bdi>
        <small className="soft narrow">{[t(`role.${person.role}`), ...by].join(", ")}</small>
      </th>
      <td className="roomy">{t(`role.${person.role}`)}</td>
      <td>
        <Badge tone={TONES[person.standing]}>{t(`standing.${person.standing}`)}</Badge>
      </td>
      <td className="soft roomy">{by.length > 0 ? by.join(", ") : t("people.by.nothing")}</td>
      <td className="act">
        {person.standing !== "closed" && (
          <button
            type="button"
            aria-label={t("people.manage.it", { name: person.name })}
            onClick={show}
          >
            {t("people.manage")}
          </button>
        )}
      </td>
    </tr>
  );
}

function NewPerson() {
  const { t } = useSpeech();
  const sentence = useProblemText();
  const queries = useQueryClient();
  const form = useRef<HTMLFormElement>(null);
  const add = useMutation({
    mutationFn: (body: { name: string; role: Role; password?: string }) =>
      data(api.POST("/api/v1/users", { body })),
    onSuccess: () => {
      form.current?.reset();
      queries.invalidateQueries({ queryKey: ["people"] });
    },
  });
  const send = (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    const fields = new FormData(event.currentTarget);
    const password = String(fields.get("password"));
    add.mutate({
      name: String(fields.get("name")),
      role: String(fields.get("role")) as Role,
      ...(password !== "" && { password }),
    });
  };
  const wrong = add.isError ? problemOf(add.error).fields : new Map<string, string>();
  return (
    <section className="card" aria-labelledby="new-person">
      <h2 id="new-person">{t("people.new")}</h2>
      <form ref={form} className="row fields" onSubmit={send}>
        <label>
          <span>{t("people.name")}</span>
          <input
            name="name"
            required
            maxLength={64}
            autoComplete="off"
            aria-invalid={wrong.has("name")}
          />
        </label>
        <label>
          <span>{t("people.role")}</span>
          <select name="role">
            {ROLES.map((role) => (
              <option key={role} value={role}>
                {t(`role.${role}`)}
              </option>
            ))}
          </select>
        </label>
        <label>
          <span>{t("people.password.optional")}</span>
          <input
            name="password"
            type="password"
            minLength={12}
            autoComplete="new-password"
            aria-invalid={wrong.has("password")}
          />
        </label>
        <button type="submit" disabled={add.isPending}>
          {t("people.add")}
        </button>
      </form>
      {add.isError && (
        <p className="field-error" role="alert">
          {sentence(add.error)}
        </p>
      )}
      {add.data && (
        <div role="status">
          <p>{t("people.once", { name: add.data.name })}</p>
          <Command command={add.data.token} />
        </div>
      )}
    </section>
  );
}
