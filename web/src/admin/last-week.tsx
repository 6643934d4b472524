// What each autonomy level would have done with the patches of the last seven days.
import { useQuery } from "@tanstack/react-query";
import { Link } from "react-router";
import { type AutonomyPreview, api, data } from "../api/client";
import { type Key, useSpeech } from "../i18n";
import { Empty, Failure, Loading } from "../ui/states";

export function LastWeek() {
  const { t } = useSpeech();
  const preview = useQuery({
    queryKey: ["host", "autonomy", "preview"],
    queryFn: () => data<AutonomyPreview>(api.GET("/api/v1/autonomy/preview")),
  });
  return (
    <section className="last-week" aria-labelledby="last-week">
      <h3 id="last-week">{t("preview.title")}</h3>
      <p className="soft small">{t("preview.about")}</p>
      {preview.isPending && <Loading />}
      {preview.isError && <Failure error={preview.error} again={preview.refetch} />}
      {preview.data && <Numbers preview={preview.data} />}
    </section>
  );
}

function Numbers({ preview }: { preview: AutonomyPreview }) {
  const { t } = useSpeech();
  const { levels, patches, observed, unknown, cut } = preview;
  return (
    <>
      {patches.length === 0 ? (
        <Empty>{t("preview.none")}</Empty>
      ) : (
        <section className="scroll-x" tabIndex={0} aria-labelledby="last-week">
          <table>
            <thead>
              <tr>
                <th scope="col">{t("autonomy.level")}</th>
                <th scope="col">{t("preview.applied")}</th>
                <th scope="col">{t("preview.reviewed")}</th>
                <th scope="col">{t("preview.stopped")}</th>
              </tr>
            </thead>
            <tbody>
              {levels.map((one) => (
                <tr key={one.level} className={one.level === preview.level ? "current" : ""}>
                  <th scope="row">
                    {t(`autonomy.${one.level}` as Key)}
                    {one.level === preview.level && (
                      <small className="soft"> {t("preview.now")}</small>
                    )}
                    {one.level > preview.ceiling && (
                      <small className="soft"> {t("preview.above")}</small>
                    )}
                  </th>
                  <td>
                    {one.applied}
                    {one.appliedAndUndone > 0 && (
                      <small className="bad">
                        {" "}
                        {t("preview.undone", { count: one.appliedAndUndone })}
                      </small>
                    )}
                  </td>
                  <td>{one.reviewed}</td>
                  <td>{one.stopped}</td>
                </tr>
              ))}
            </tbody>
          </table>
        </section>
      )}
      {observed > 0 && (
        <p className="soft small">
          {t(observed === 1 ? "preview.observed.one" : "preview.observed", { count: observed })}
        </p>
      )}
      {unknown > 0 && (
        <p className="soft small">
          {t(unknown === 1 ? "preview.unknown.one" : "preview.unknown", { count: unknown })}
        </p>
      )}
      {cut && <p className="soft small">{t("preview.cut")}</p>}
      {patches.length > 0 && (
        <details>
          <summary>
            {t(patches.length === 1 ? "preview.patches.one" : "preview.patches", {
              count: patches.length,
            })}
          </summary>
          <ul className="previewed">
            {patches.map((patch) => (
              <Patch key={`${patch.issue}.${patch.run}`} patch={patch} />
            ))}
          </ul>
        </details>
      )}
    </>
  );
}

function Patch({ patch }: { patch: AutonomyPreview["patches"][number] }) {
  const { t } = useSpeech();
  return (
    <li>
      <p>
        <Link to={`/issues/${patch.issue}`}>
          #{patch.issue} <bdi>{patch.title}</bdi>
        </Link>{" "}
        <small className="soft">
          {t("preview.risk", {
            score: patch.riskScore,
            level: t(`risk.${patch.riskLevel}` as Key),
          })}
          {patch.rolledBack && ` · ${t("preview.rolled-back")}`}
        </small>
      </p>
      <dl>
        {patch.levels.map((at) => (
          <div key={at.level}>
            <dt>{t(`autonomy.${at.level}` as Key)}</dt>
            <dd>
              <strong>{t(`preview.${at.action}` as Key)}</strong>
              {at.reason !== "" && (
                <small className="soft" dir="auto">
                  {" "}
                  {at.reason}
                </small>
              )}
            </dd>
          </div>
        ))}
      </dl>
    </li>
  );
}
