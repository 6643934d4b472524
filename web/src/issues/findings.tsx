// The reasoning lane's middle: what was found, how risky it is, who decided what by which
// rule, and how it was checked.
import type { Issue, ModuleAnswer, Reason, Verification } from "../api/client";
import { useSpeech } from "../i18n";
import { Badge } from "../ui/badges";
import { Ticks } from "../ui/ticks";

export function Findings({ issue, full }: { issue: Issue; full: boolean }) {
  const { t, number } = useSpeech();
  const found =
    issue.rootCause ?? issue.endReason ?? issue.rejectionReason ?? issue.verificationDetails;
  if (found === undefined) return null;
  const fix = issue.patchDiff === undefined ? issue.suggestedFix : undefined;
  return (
    <section className="card" aria-labelledby="found">
      <h2 id="found">{t("found.title")}</h2>
      <dl>
        {issue.rootCause !== undefined && (
          <Fact name={t("found.cause")}>
            <Ticks text={issue.rootCause} />
            {issue.confidenceScore !== undefined && (
              <Meter
                name={t("found.confidence")}
                value={issue.confidenceScore}
                text={number(issue.confidenceScore, { style: "percent" })}
              />
            )}
          </Fact>
        )}
        {issue.affectedFiles !== undefined && issue.affectedFiles.length > 0 && (
          <Fact name={t("found.files")}>{issue.affectedFiles.join("\n")}</Fact>
        )}
        {fix && (
          <div>
            <dt>{t("found.fix")}</dt>
            <dd>
              <pre tabIndex={0}>{fix}</pre>
            </dd>
          </div>
        )}
        {issue.patchRationale !== undefined && (
          <Fact name={t("found.rationale")}>
            <Ticks text={issue.patchRationale} />
          </Fact>
        )}
        {issue.endReason !== undefined && <Fact name={t("found.ended")}>{issue.endReason}</Fact>}
        {issue.rejectionReason !== undefined && (
          <Fact name={t("found.rejected")}>{issue.rejectionReason}</Fact>
        )}
        {issue.servicesRestarted !== undefined && (
          <Fact name={t("found.restarted")}>{issue.servicesRestarted.join(", ")}</Fact>
        )}
        {issue.rolledBack === true && <Fact name={t("found.undone")}>{t("found.undone.how")}</Fact>}
      </dl>
      {issue.verificationResult !== undefined && (
        <>
          <h3>
            {t("found.checks")} <ResultBadge result={issue.verificationResult} />
          </h3>
          <pre tabIndex={0}>{issue.verificationDetails}</pre>
        </>
      )}
      {full && issue.diagnosticLog !== undefined && (
        <details>
          <summary>{t("found.log")}</summary>
          <pre tabIndex={0}>{issue.diagnosticLog}</pre>
        </details>
      )}
    </section>
  );
}

export function Fact({ name, children }: { name: string; children: React.ReactNode }) {
  return (
    <div>
      <dt>{name}</dt>
      <dd className="text" dir="auto">
        {children}
      </dd>
    </div>
  );
}

function Meter({ name, value, text }: { name: string; value: number; text: string }) {
  return (
    <span className="meter">
      <meter aria-label={name} min={0} max={1} value={value} />
      <small className="soft">
        {name} {text}
      </small>
    </span>
  );
}

export function ResultBadge({ result }: { result: Verification["result"] }) {
  const { t } = useSpeech();
  const tone = result === "PASS" ? "good" : result === "FAIL" ? "bad" : "warn";
  return <Badge tone={tone}>{t(`result.${result}`)}</Badge>;
}

export function Checks({ checks }: Pick<Verification, "checks">) {
  const { number } = useSpeech();
  return (
    <ul className="checks">
      {checks.map((check) => (
        <li key={check.name}>
          <details open={check.result !== "PASS"}>
            <summary>
              <ResultBadge result={check.result} /> <bdi>{check.name}</bdi>{" "}
              <small className="soft">
                {number(check.seconds, {
                  style: "unit",
                  unit: "second",
                  maximumFractionDigits: 1,
                })}
              </small>
            </summary>
            <pre tabIndex={0}>{check.detail}</pre>
          </details>
        </li>
      ))}
    </ul>
  );
}

/** What each guardrail said, with rule and evidence where it objected. */
export function Answers({ modules }: { modules: readonly ModuleAnswer[] }) {
  return (
    <ul className="answers">
      {modules.map((answer) => (
        <li key={answer.module}>
          <strong>{answer.module}</strong>{" "}
          <span className={`verdict ${answer.verdict ?? "deny"}`}>
            {answer.verdict ?? answer.fault}
          </span>
          {answer.reason && <Why reason={answer.reason} />}
        </li>
      ))}
    </ul>
  );
}

export function Why({ reason }: { reason: Reason }) {
  const { t } = useSpeech();
  return (
    <span className="why" dir="auto">
      {" "}
      <code>{reason.rule}</code>: {reason.message}
      {reason.evidence !== undefined && (
        <>
          {" "}
          {t("decision.evidence")} <code>{reason.evidence}</code>
        </>
      )}
      {reason.alternative !== undefined && (
        <>
          {" "}
          {t("decision.alternative")} {reason.alternative}
        </>
      )}
    </span>
  );
}
