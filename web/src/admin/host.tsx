// Autonomy, the freeze, and the application's services.
import { useQuery, useQueryClient } from "@tanstack/react-query";
import { type FormEvent, useState } from "react";
import { type Autonomy, api, data } from "../api/client";
import { AUTONOMY } from "../frozen";
import { useSpeech } from "../i18n";
import { useStream } from "../live";
import { Badge } from "../ui/badges";
import { ReasonDialog } from "../ui/dialog";
import { Live } from "../ui/live";
import { Failure, Loading } from "../ui/states";
import { useTitle } from "../ui/title";
import { useTell } from "../ui/toast";
import { LastWeek } from "./last-week";
import { ServicesCard } from "./services";

const LEVELS = [0, 1, 2, 3] as const;

export default function HostPage() {
  const { t } = useSpeech();
  const queries = useQueryClient();
  useTitle(t("nav.host"));
  const liveness = useStream("/stream", {
    onEvent: (event) => {
      if (/^(autonomy|freeze|service|enforcement|policy)\./.test(event.type)) {
        queries.invalidateQueries({ queryKey: ["host"] });
      }
    },
  });
  return (
    <>
      <div className="page-head">
        <h1>{t("nav.host")}</h1>
        <Live state={liveness} />
      </div>
      <AutonomyCard />
      <ServicesCard />
    </>
  );
}

function AutonomyCard() {
  const { t } = useSpeech();
  const { done, failed } = useTell();
  const queries = useQueryClient();
  const [asking, setAsking] = useState(false);
  const autonomy = useQuery(AUTONOMY);
  if (autonomy.isPending) return <Loading />;
  if (autonomy.data === undefined) {
    return <Failure error={autonomy.error} again={autonomy.refetch} />;
  }
  const { level, ceiling, frozen, enforcement } = autonomy.data;
  const keep = (next: Autonomy) => queries.setQueryData(["host", "autonomy"], next);
  const set = async (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    const form = event.currentTarget;
    const fields = new FormData(form);
    const body = { level: Number(fields.get("level")), reason: String(fields.get("reason")) };
    try {
      keep(await data<Autonomy>(api.PUT("/api/v1/autonomy", { body })));
      form.reset();
      done(t("autonomy.set"));
    } catch (error) {
      failed(error);
    }
  };
  const freeze = async (reason: string) => {
    const answer = frozen
      ? api.DELETE("/api/v1/freeze", { body: { reason } })
      : api.POST("/api/v1/freeze", { body: { reason } });
    keep(await data<Autonomy>(answer));
  };
  return (
    <section className="card" aria-labelledby="autonomy">
      <h2 id="autonomy">{t("autonomy.title")}</h2>
      <form onSubmit={set} key={level}>
        <fieldset className="levels">
          <legend className="hidden">{t("autonomy.level")}</legend>
          {LEVELS.map((number) => (
            <label key={number} className={number > ceiling ? "off" : ""}>
              <input
                type="radio"
                name="level"
                value={number}
                defaultChecked={number === level}
                disabled={number > ceiling}
              />
              <span>
                <strong>{t(`autonomy.${number}`)}</strong>
                <small className="soft">{t(`autonomy.${number}.about`)}</small>
              </span>
            </label>
          ))}
        </fieldset>
        <p className="soft small">{t("autonomy.ceiling", { level: autonomy.data.ceilingName })}</p>
        <div className="row">
          <input
            name="reason"
            required
            aria-label={t("reason.label")}
            placeholder={t("reason.label")}
          />
          <button type="submit">{t("autonomy.change")}</button>
        </div>
      </form>
      <LastWeek />
      <p className="row">
        <button
          type="button"
          className={frozen ? "primary" : "danger"}
          onClick={() => setAsking(true)}
        >
          {t(frozen ? "freeze.end" : "freeze.begin")}
        </button>
        <Enforcement proof={enforcement} />
      </p>
      {asking && (
        <ReasonDialog
          title={t(frozen ? "freeze.end" : "freeze.begin")}
          about={<p>{t(frozen ? "freeze.end.about" : "freeze.begin.about")}</p>}
          confirm={t(frozen ? "freeze.end" : "freeze.begin")}
          danger={!frozen}
          onClose={() => setAsking(false)}
          act={freeze}
        />
      )}
    </section>
  );
}

export function Enforcement({ proof }: { proof: Autonomy["enforcement"] }) {
  const { t } = useSpeech();
  if (proof.ageSeconds === undefined) return <Badge tone="warn">{t("enforcement.none")}</Badge>;
  return (
    <Badge tone={proof.proved ? "good" : "bad"}>
      {t(proof.proved ? "enforcement.proved" : "enforcement.failed", {
        seconds: proof.ageSeconds,
        generation: proof.generation,
      })}
    </Badge>
  );
}
