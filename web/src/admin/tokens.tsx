// Tokens: the own ones, and those of others. One is shown once, when it is made.
import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { type FormEvent, useRef, useState } from "react";
import { api, data, problemOf, type Role, type Scope, type Token } from "../api/client";
import { useSpeech } from "../i18n";
import { Command } from "../issues/commits";
import { ModalDialog } from "../ui/dialog";
import { Empty, Failure, Loading } from "../ui/states";
import { useProblemText } from "../ui/toast";

/** What tokens of a role can be good for (the host checks again). */
const SCOPES: Record<Role, Scope[]> = {
  guest: [],
  hook: ["hook"],
  user: ["read", "report", "accounts"],
  auditor: ["read", "accounts"],
  admin: ["read", "report", "triage", "operate", "policies", "accounts"],
};
/** Nobody has as many as fit on one page. */
const ALL = { limit: 200 };
const DAYS = [7, 30, 90, 365];

/** The tokens of somebody, or the own ones without `name`. */
export function Tokens({ name }: { name?: string }) {
  const { t, ago, when } = useSpeech();
  const queries = useQueryClient();
  const [doomed, setDoomed] = useState<Token>();
  const key = ["tokens", name ?? null];
  const tokens = useQuery({
    queryKey: key,
    queryFn: () =>
      data(
        name === undefined
          ? api.GET("/api/v1/tokens", { params: { query: ALL } })
          : api.GET("/api/v1/users/{name}/tokens", { params: { path: { name }, query: ALL } }),
      ),
  });
  if (tokens.isPending) return <Loading />;
  if (tokens.isError) return <Failure error={tokens.error} again={tokens.refetch} />;
  const { items } = tokens.data;
  if (items.length === 0) return <Empty>{t("tokens.none")}</Empty>;
  const called = (token: Token) => (token.createdAt ? token.name : t("tokens.initial"));
  const scopes = (token: Token) => token.scopes.map((scope) => t(`scope.${scope}`)).join(", ");
  const used = (token: Token) => {
    if (token.lastUsedAt !== undefined) return ago(token.lastUsedAt);
    // What becomes of an initial token is known since the host started.
    return t(token.createdAt === undefined ? "tokens.unused" : "tokens.never");
  };
  const until = (end?: string) => {
    if (end === undefined) return t("tokens.days.ever");
    return new Date(end) < new Date() ? t("tokens.over") : when(end);
  };
  return (
    <div className="scroll">
      <table>
        <caption className="hidden">
          {name === undefined ? t("tokens.own") : t("tokens.of", { name })}
        </caption>
        <thead>
          <tr>
            <th scope="col">{t("tokens.name")}</th>
            <th scope="col" className="roomy">
              {t("tokens.scopes")}
            </th>
            <th scope="col" className="roomy">
              {t("tokens.until")}
            </th>
            <th scope="col" className="roomy">
              {t("tokens.used")}
            </th>
            <th scope="col">
              <span className="hidden">{t("tokens.actions")}</span>
            </th>
          </tr>
        </thead>
        <tbody>
          {items.map((token) => (
            <tr key={token.id}>
              <th scope="row">
                <bdi>{called(token)}</bdi> <small className="soft">{token.id}</small>
                <small className="soft narrow">{scopes(token)}</small>
                <small className="soft narrow">
                  {t("tokens.until")}: {until(token.expiresAt)}. {t("tokens.used")}: {used(token)}
                </small>
              </th>
              <td className="roomy">{scopes(token)}</td>
              <td className="roomy">{until(token.expiresAt)}</td>
              <td className="roomy">{used(token)}</td>
              <td className="act">
                <button
                  type="button"
                  aria-label={t("tokens.revoke.it", { name: called(token) })}
                  onClick={() => setDoomed(token)}
                >
                  {t("tokens.revoke")}
                </button>
              </td>
            </tr>
          ))}
        </tbody>
      </table>
      {doomed && (
        <Sure
          title={t("tokens.revoke.title", { name: called(doomed) })}
          about={[
            t("tokens.revoke.about"),
            ...(doomed.createdAt ? [] : [t("tokens.revoke.initial")]),
          ].join(" ")}
          confirm={t("tokens.revoke")}
          onClose={() => setDoomed(undefined)}
          act={async () => {
            const token = doomed.id;
            await (name === undefined
              ? api.DELETE("/api/v1/tokens/{token}", { params: { path: { token } } })
              : api.DELETE("/api/v1/users/{name}/tokens/{token}", {
                  params: { path: { name, token } },
                }));
            await queries.invalidateQueries({ queryKey: key });
          }}
        />
      )}
    </div>
  );
}

type SureProps = {
  title: string;
  about: string;
  confirm: string;
  onClose: () => void;
  act: () => Promise<unknown>;
};

/** Asks before something is done that cannot be undone. */
export function Sure({ title, about, confirm, onClose, act }: SureProps) {
  const { t } = useSpeech();
  const sentence = useProblemText();
  const doing = useMutation({ mutationFn: act, onSuccess: onClose });
  return (
    <ModalDialog title={title} onClose={onClose}>
      <p>{about}</p>
      {doing.isError && (
        <p className="field-error" role="alert">
          {sentence(doing.error)}
        </p>
      )}
      <footer className="row">
        <button type="button" onClick={onClose}>
          {t("action.cancel")}
        </button>
        <button
          type="button"
          className="danger"
          disabled={doing.isPending}
          onClick={() => doing.mutate()}
        >
          {confirm}
        </button>
      </footer>
    </ModalDialog>
  );
}

/** Makes a token of one's own. */
export function NewToken({ role }: { role: Role }) {
  const { t } = useSpeech();
  const sentence = useProblemText();
  const queries = useQueryClient();
  const form = useRef<HTMLFormElement>(null);
  const add = useMutation({
    mutationFn: (body: { name: string; scopes: Scope[]; expiresInDays?: number }) =>
      data(api.POST("/api/v1/tokens", { body })),
    onSuccess: () => {
      form.current?.reset();
      queries.invalidateQueries({ queryKey: ["tokens", null] });
    },
  });
  const send = (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    const fields = new FormData(event.currentTarget);
    const days = Number(fields.get("days"));
    add.mutate({
      name: String(fields.get("name")),
      scopes: fields.getAll("scope") as Scope[],
      ...(days > 0 && { expiresInDays: days }),
    });
  };
  const wrong = add.isError ? problemOf(add.error).fields : new Map<string, string>();
  return (
    <section className="card" aria-labelledby="new-token">
      <h2 id="new-token">{t("tokens.new")}</h2>
      <form ref={form} onSubmit={send}>
        <div className="row fields">
          <label>
            <span>{t("tokens.name")}</span>
            <input
              name="name"
              required
              maxLength={64}
              autoComplete="off"
              aria-invalid={wrong.has("name")}
            />
          </label>
          <label>
            <span>{t("tokens.days")}</span>
            <select name="days" defaultValue={90}>
              {DAYS.map((days) => (
                <option key={days} value={days}>
                  {t("tokens.days.some", { days })}
                </option>
              ))}
              <option value={0}>{t("tokens.days.ever")}</option>
            </select>
          </label>
        </div>
        <fieldset className="scopes">
          <legend>{t("tokens.scopes")}</legend>
          {SCOPES[role].map((scope) => (
            <label key={scope}>
              <input type="checkbox" name="scope" value={scope} defaultChecked={scope === "read"} />
              <span>{t(`scope.${scope}`)}</span>
            </label>
          ))}
        </fieldset>
        <button type="submit" disabled={add.isPending}>
          {t("tokens.make")}
        </button>
      </form>
      {add.isError && (
        <p className="field-error" role="alert">
          {sentence(add.error)}
        </p>
      )}
      {add.data && (
        <div role="status">
          <p>{t("tokens.once")}</p>
          <Command command={add.data.token} />
        </div>
      )}
    </section>
  );
}
