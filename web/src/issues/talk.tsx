// Comments in Markdown. What somebody wrote is never markup of ours: no HTML, no images,
// links that say where they lead.
import { useMutation, useQueryClient } from "@tanstack/react-query";
import { type FormEvent, lazy, Suspense, useRef } from "react";
import { api, data, type Issue, newKey } from "../api/client";
import { useSpeech } from "../i18n";
import { may, useSession } from "../session";
import { Badge, Time } from "../ui/badges";
import { Empty } from "../ui/states";
import { useProblemText } from "../ui/toast";

const Markdown = lazy(() => import("./markdown"));

export function Talk({ issue }: { issue: Issue }) {
  const { t } = useSpeech();
  const { role } = useSession();
  return (
    <section className="card talk" aria-labelledby="talk">
      <h2 id="talk">{t("talk.title")}</h2>
      {issue.comments.length === 0 && <Empty>{t("talk.empty")}</Empty>}
      <ol>
        {issue.comments.map((comment) => (
          <li key={comment.id}>
            <p className="soft small">
              <strong dir="auto">{comment.author}</strong>{" "}
              <Badge tone="calm">{t(`author.${comment.role}`)}</Badge>{" "}
              <Time at={comment.createdAt} />
            </p>
            <div className="markdown" dir="auto">
              <Suspense fallback={<p className="text">{comment.content}</p>}>
                <Markdown text={comment.content} />
              </Suspense>
            </div>
          </li>
        ))}
      </ol>
      {may.report(role) && <Say issue={issue} />}
    </section>
  );
}

function Say({ issue }: { issue: Issue }) {
  const { t } = useSpeech();
  const queries = useQueryClient();
  const sentence = useProblemText();
  const form = useRef<HTMLFormElement>(null);
  const say = useMutation({
    mutationFn: (content: string) => {
      const params = {
        path: { issue: String(issue.number) },
        header: { "Idempotency-Key": newKey() },
      };
      return data(api.POST("/api/v1/issues/{issue}/comments", { params, body: { content } }));
    },
    onSuccess: () => {
      form.current?.reset();
      queries.invalidateQueries({ queryKey: ["issue", String(issue.number)] });
    },
  });
  const send = (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    say.mutate(String(new FormData(event.currentTarget).get("content")));
  };
  return (
    <form ref={form} onSubmit={send}>
      <label>
        <span>{t("talk.say")}</span>
        <textarea name="content" required rows={3} dir="auto" aria-describedby="talk-help" />
      </label>
      <p id="talk-help" className="soft small">
        {t("talk.help")}
      </p>
      {say.isError && (
        <p className="field-error" role="alert">
          {sentence(say.error)}
        </p>
      )}
      <button type="submit" disabled={say.isPending}>
        {t("talk.send")}
      </button>
    </form>
  );
}
