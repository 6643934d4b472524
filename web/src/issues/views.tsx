// Queries under a name: those that everybody needs, the person's own, and those that
// admins share. They are kept by the host.
import { useQuery, useQueryClient } from "@tanstack/react-query";
import { type FormEvent, useState } from "react";
import { Link } from "react-router";
import { api, data, type SavedView } from "../api/client";
import { useSpeech } from "../i18n";
import { may, useSession } from "../session";
import { useTell } from "../ui/toast";
import { type Tab, tabOf, toKeep } from "./query";

const KEY = ["views"];

export function Views({ tab, query }: { tab: Tab; query: string }) {
  const { t } = useSpeech();
  const { role, username } = useSession();
  const { failed } = useTell();
  const queries = useQueryClient();
  const views = useQuery({
    queryKey: KEY,
    queryFn: () =>
      data<{ items: SavedView[] }>(api.GET("/api/v1/views", { params: { query: { limit: 200 } } })),
    staleTime: 60_000,
  });
  const kept = views.data?.items ?? [];
  const settle = async (answer: Promise<unknown>) => {
    try {
      await answer;
    } catch (error) {
      failed(error);
    }
    await queries.invalidateQueries({ queryKey: KEY });
  };
  const forget = ({ name, owner }: SavedView) =>
    settle(
      api.DELETE("/api/v1/views/{name}", {
        params: { path: { name }, query: owner === username ? {} : { owner } },
      }),
    );
  return (
    <div className="views">
      {tab === "open" && may.seeAllIssues(role) && (
        <>
          <Chip query="is:waiting" now={query}>
            {t("view.waiting")}
          </Chip>
          <Chip query="is:snoozed" now={query}>
            {t("view.snoozed")}
          </Chip>
        </>
      )}
      {kept.map((view) => (
        <Chip key={`${view.owner} ${view.name}`} query={view.query} now={query}>
          <bdi>{view.name}</bdi>
          {view.shared && <small className="soft"> {t("view.shared")}</small>}
          {(view.owner === username ? may.report(role) : may.decide(role)) && (
            <button
              type="button"
              aria-label={t("view.forget", { name: view.name })}
              onClick={() => forget(view)}
            >
              ✕
            </button>
          )}
        </Chip>
      ))}
      {query !== "" && may.report(role) && (
        <Keep query={toKeep(query, tab)} shares={may.decide(role)} settle={settle} />
      )}
    </div>
  );
}

type ChipProps = { query: string; now: string; children: React.ReactNode };

/** A link to a list; a button among its children stands beside the link. */
function Chip({ query, now, children }: ChipProps) {
  const parts = Array.isArray(children) ? children.flat() : [children];
  const isButton = (part: unknown) =>
    typeof part === "object" && part !== null && "type" in part && part.type === "button";
  const current = query === now || toKeep(now, tabOf(query)) === query;
  return (
    <span className={current ? "chip current" : "chip"}>
      <Link
        to={`/issues/${tabOf(query)}?query=${encodeURIComponent(query)}`}
        aria-current={current ? "true" : undefined}
        title={query}
      >
        {parts.filter((part) => !isButton(part))}
      </Link>
      {parts.filter(isButton)}
    </span>
  );
}

type KeepProps = {
  query: string;
  shares: boolean;
  settle: (answer: Promise<unknown>) => Promise<void>;
};

function Keep({ query, shares, settle }: KeepProps) {
  const { t } = useSpeech();
  const [busy, setBusy] = useState(false);
  const save = async (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    const form = event.currentTarget;
    const fields = new FormData(form);
    const name = String(fields.get("name")).trim();
    setBusy(true);
    await settle(
      api.PUT("/api/v1/views/{name}", {
        params: { path: { name } },
        body: { query, shared: fields.get("shared") !== null },
      }),
    );
    setBusy(false);
    form.reset();
  };
  return (
    <form onSubmit={save}>
      <input
        name="name"
        required
        maxLength={40}
        aria-label={t("view.name")}
        placeholder={t("view.name")}
      />
      {shares && (
        <label className="check">
          <input type="checkbox" name="shared" /> {t("view.share")}
        </label>
      )}
      <button type="submit" disabled={busy}>
        {t("view.save")}
      </button>
    </form>
  );
}
