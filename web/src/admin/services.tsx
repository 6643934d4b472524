// The application's services: how each is and was lately, what it says and uses, and what
// admins have it do.
import { useQuery, useQueryClient } from "@tanstack/react-query";
import { useEffect, useRef, useState } from "react";
import { api, data, everything, type Service, type ServiceDetails } from "../api/client";
import { type Key, useSpeech } from "../i18n";
import { Badge, Time } from "../ui/badges";
import { ModalDialog } from "../ui/dialog";
import { Empty, Failure, Loading } from "../ui/states";
import { useTell } from "../ui/toast";

const LOOK_AGAIN_MS = 10_000;
const MEBI = 1024 * 1024;
/** Lines of output that are shown. */
const LINES = 200;

export function ServicesCard() {
  const { t } = useSpeech();
  const services = useQuery({
    queryKey: ["host", "services"],
    queryFn: () => everything((query) => api.GET("/api/v1/services", { params: { query } })),
    refetchInterval: LOOK_AGAIN_MS,
  });
  return (
    <section className="card" aria-labelledby="services">
      <h2 id="services">{t("services.title")}</h2>
      {services.isPending && <Loading />}
      {services.isError && <Failure error={services.error} again={services.refetch} />}
      {services.data?.length === 0 && <Empty>{t("services.empty")}</Empty>}
      <ul className="services">
        {services.data?.map((service) => (
          <OneService key={service.name} service={service} />
        ))}
      </ul>
    </section>
  );
}

type Operation = "start" | "stop" | "restart" | "reload";

/** What one may ask of a service, and which of it is under way. */
function useOperations(name: string) {
  const { t } = useSpeech();
  const { done, failed } = useTell();
  const queries = useQueryClient();
  const [busy, setBusy] = useState<Operation | null>(null);
  const operate = async (operation: Operation) => {
    setBusy(operation);
    const options = { params: { path: { name } }, body: {} };
    try {
      await {
        start: () => api.POST("/api/v1/services/{name}/start", options),
        stop: () => api.POST("/api/v1/services/{name}/stop", options),
        restart: () => api.POST("/api/v1/services/{name}/restart", options),
        reload: () => api.POST("/api/v1/services/{name}/reload", options),
      }[operation]();
      done(t(`services.${operation}.done`, { name }));
    } catch (error) {
      failed(error);
    } finally {
      setBusy(null);
      queries.invalidateQueries({ queryKey: ["host", "services"] });
    }
  };
  return { busy, operate };
}

function OneService({ service }: { service: Service }) {
  const { t } = useSpeech();
  const { busy, operate } = useOperations(service.name);
  const [open, setOpen] = useState(false);
  const [stopping, setStopping] = useState(false);
  const bad = service.healthy === false || service.state === "failed";
  const tone = bad ? "bad" : service.state === "running" ? "good" : "warn";
  const state = t(`services.state.${service.state}` as Key);
  const down = service.state === "stopped" || service.state === "failed";
  const button = (operation: Operation, act: () => void) => (
    <button type="button" disabled={busy !== null} onClick={act}>
      {t(busy === operation ? "services.busy" : `services.${operation}`)}
      <span className="hidden"> {service.name}</span>
    </button>
  );
  return (
    <li>
      <strong>{service.name}</strong>
      <Badge tone={tone}>{bad ? `${state}, ${t("services.sick")}` : state}</Badge>
      <span className="soft small">
        {t("services.since")} <Time at={service.since} />
        {service.restarts > 0 && `, ${t("services.restarts", { count: service.restarts })}`}
        {service.detail && (
          <>
            {" · "}
            <bdi>{service.detail}</bdi>
          </>
        )}
      </span>
      <span className="row end">
        {down ? button("start", () => operate("start")) : button("stop", () => setStopping(true))}
        {button("restart", () => operate("restart"))}
      </span>
      <details className="whole" onToggle={(event) => setOpen(event.currentTarget.open)}>
        <summary>
          {t("services.more")}
          <span className="hidden"> {service.name}</span>
        </summary>
        {open && <Details name={service.name} busy={busy} operate={operate} />}
      </details>
      {stopping && (
        <ModalDialog title={t("services.stop")} onClose={() => setStopping(false)}>
          <p>{t("services.stop.about", { name: service.name })}</p>
          <footer>
            <button type="button" onClick={() => setStopping(false)}>
              {t("action.cancel")}
            </button>
            <button
              type="button"
              className="danger"
              onClick={() => {
                setStopping(false);
                operate("stop");
              }}
            >
              {t("services.stop.confirm", { name: service.name })}
            </button>
          </footer>
        </ModalDialog>
      )}
    </li>
  );
}

type DetailsProps = {
  name: string;
  busy: Operation | null;
  operate: (operation: Operation) => void;
};

function Details({ name, busy, operate }: DetailsProps) {
  const { t, number } = useSpeech();
  const params = { path: { name } };
  const details = useQuery({
    queryKey: ["host", "services", name],
    queryFn: () => data<ServiceDetails>(api.GET("/api/v1/services/{name}", { params })),
    refetchInterval: LOOK_AGAIN_MS,
  });
  const log = useQuery({
    queryKey: ["host", "services", name, "log"],
    queryFn: async () => {
      const text = await data(api.GET("/api/v1/services/{name}/logs", { params, parseAs: "text" }));
      return (text as string).trimEnd().split("\n").slice(-LINES).join("\n");
    },
  });
  const box = useRef<HTMLPreElement>(null);
  // biome-ignore lint/correctness/useExhaustiveDependencies: whenever it was read again
  useEffect(() => {
    box.current?.scrollTo({ top: box.current.scrollHeight });
  }, [log.data, details.isPending]);
  if (details.isPending) return <Loading />;
  if (details.isError) return <Failure error={details.error} again={details.refetch} />;
  const { usage, health, startedAt, after, crashes, circuitOpen, adopted, reloads, kind, logs } =
    details.data;
  const facts: [string, React.ReactNode][] = [[t("services.kind"), kind]];
  if (startedAt) facts.push([t("services.started"), <Time key="started" at={startedAt} />]);
  if (usage) {
    facts.push([t("services.processes"), number(usage.processes)]);
    facts.push([
      t("services.cpu"),
      number(usage.cpuSeconds, { style: "unit", unit: "second", maximumFractionDigits: 1 }),
    ]);
    facts.push([
      t("services.memory"),
      `${number(usage.residentBytes / MEBI, { maximumFractionDigits: 0 })} MiB`,
    ]);
    facts.push([t("services.files"), number(usage.openFiles)]);
  }
  if (after.length > 0) facts.push([t("services.after"), after.join(", ")]);
  if (logs.length > 0) facts.push([t("services.watched"), logs.join(", ")]);
  if (crashes > 0) facts.push([t("services.crashes"), number(crashes)]);
  return (
    <div className="service-details">
      {circuitOpen && <p className="bad">{t("services.circuit")}</p>}
      {adopted && <p className="soft">{t("services.adopted")}</p>}
      <dl className="numbers">
        {facts.map(([name, value]) => (
          <div key={name}>
            <dt>{name}</dt>
            <dd>{value}</dd>
          </div>
        ))}
      </dl>
      <h3>{t("services.health")}</h3>
      {health.length === 0 ? <Empty>{t("services.health.none")}</Empty> : <Health of={health} />}
      <h3>{t("services.log")}</h3>
      {log.isPending && <Loading />}
      {log.isError && <Failure error={log.error} again={log.refetch} />}
      {log.data === "" && <Empty>{t("services.log.none")}</Empty>}
      {log.data && (
        <pre className="tail" tabIndex={0} dir="ltr" ref={box}>
          {log.data}
        </pre>
      )}
      <p className="row">
        {log.data !== undefined && (
          <button type="button" disabled={log.isFetching} onClick={() => log.refetch()}>
            {t("services.log.again")}
          </button>
        )}
        {reloads && (
          <button type="button" disabled={busy !== null} onClick={() => operate("reload")}>
            {t(busy === "reload" ? "services.busy" : "services.reload")}
          </button>
        )}
      </p>
    </div>
  );
}

/** Newest first: how its health was, from when until when. */
function Health({ of }: { of: ServiceDetails["health"] }) {
  const { t, exactly, clock, number } = useSpeech();
  return (
    <ol className="health">
      {of.toReversed().map((span) => (
        <li key={span.from}>
          <Badge tone={span.healthy ? "good" : "bad"}>
            {t(span.healthy ? "services.well" : "services.sick")}
          </Badge>{" "}
          <time dateTime={span.from}>{exactly(span.from)}</time>
          {span.until !== span.from && ` – ${clock(span.until)}`}{" "}
          <span className="soft small">
            {t("services.health.times", { count: number(span.count) })} <bdi>{span.detail}</bdi>
          </span>
        </li>
      ))}
    </ol>
  );
}
