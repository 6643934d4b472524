// The patch: as a diff for everybody who may see the issue, and with all that a review
// needs for admins.
import { useQuery } from "@tanstack/react-query";
import { lazy, Suspense, useState } from "react";
import { api, data, type Issue, type PatchReview, seen } from "../api/client";
import { DiffView } from "../diff/view";
import { useSpeech } from "../i18n";
import { Failure, Loading } from "../ui/states";
import { useTell } from "../ui/toast";
import { useIssueAction } from "./control";
import { Answers, Checks, Fact, ResultBadge, Why } from "./findings";
import { can } from "./states";

const ReasonDialog = lazy(() =>
  import("../ui/dialog").then((module) => ({ default: module.ReasonDialog })),
);

export default function PatchSection({ issue, decides }: { issue: Issue; decides: boolean }) {
  const { t } = useSpeech();
  return (
    <section className="card" aria-labelledby="patch" tabIndex={-1}>
      <h2 id="patch" tabIndex={-1}>
        {t(can.review(issue.status) && decides ? "patch.review" : "patch.title")}
      </h2>
      {decides ? (
        <Review issue={issue} />
      ) : (
        <DiffView diff={issue.patchDiff ?? ""} originals={new Map()} />
      )}
    </section>
  );
}

function Review({ issue }: { issue: Issue }) {
  const { t } = useSpeech();
  const path = { issue: String(issue.number) };
  const patch = useQuery({
    queryKey: ["issue", String(issue.number), "patch"],
    queryFn: () => data<PatchReview>(api.GET("/api/v1/issues/{issue}/patch", { params: { path } })),
  });
  if (patch.isPending) return <Loading />;
  if (patch.isError) return <Failure error={patch.error} again={patch.refetch} />;
  const review = patch.data;
  const originals = new Map(
    review.files.map((file) => [file.filePath, file.originalContent ?? ""]),
  );
  return (
    <>
      <Reasons review={review} />
      <DiffView diff={review.patchDiff} originals={originals} />
      {review.rivals.length > 0 && (
        <details>
          <summary>{t("patch.rivals", { count: review.rivals.length })}</summary>
          {review.rivals.map((rival) => (
            <DiffView key={rival} diff={rival} originals={originals} />
          ))}
        </details>
      )}
      {can.review(issue.status) && <Verdict issue={issue} review={review} />}
    </>
  );
}

function Reasons({ review }: { review: PatchReview }) {
  const { t } = useSpeech();
  return (
    <dl className="reasons">
      {review.riskScore !== undefined && (
        <Fact name={t("patch.risk")}>
          <strong>{t("patch.risk.of", { score: review.riskScore })}</strong>{" "}
          {review.riskLevel && t(`risk.${review.riskLevel}`)}
          <ul className="factors">
            {review.factors.map((factor) => (
              <li key={`${factor.name} ${factor.evidence}`}>
                <span className="points">+{factor.points}</span> {factor.name}{" "}
                <code>{factor.evidence}</code>
              </li>
            ))}
          </ul>
        </Fact>
      )}
      {review.decision && (
        <Fact name={t("patch.decision")}>
          <span className={`verdict ${review.decision.action === "apply" ? "allow" : "ask"}`}>
            {review.decision.action}
          </span>{" "}
          {review.decision.reason}
        </Fact>
      )}
      <div>
        <dt>{t("patch.guardrails")}</dt>
        <dd>
          <span className={`verdict ${review.judgement.verdict}`}>{review.judgement.verdict}</span>
          {review.judgement.reason && <Why reason={review.judgement.reason} />}
          <details>
            <summary>{t("patch.modules")}</summary>
            <Answers modules={review.judgement.modules} />
          </details>
        </dd>
      </div>
      {review.proof && (
        <div>
          <dt>{t("patch.proof")}</dt>
          <dd>
            <ResultBadge result={review.proof.result} />
            <Checks checks={review.proof.checks} />
          </dd>
        </div>
      )}
      {review.approvals.length > 0 && (
        <Fact name={t("patch.approvals")}>{review.approvals.join(", ")}</Fact>
      )}
      {review.reviewComments.length > 0 && (
        <Fact name={t("patch.comments")}>{review.reviewComments.join("\n")}</Fact>
      )}
      <div>
        <dt>{t("patch.digest")}</dt>
        <dd>
          <code className="digest">{review.patchDigest}</code>
        </dd>
      </div>
    </dl>
  );
}

/** The three answers to a patch. What is approved is what was read: by its digest. */
function Verdict({ issue, review }: { issue: Issue; review: PatchReview }) {
  const { t } = useSpeech();
  const { done, failed } = useTell();
  const settle = useIssueAction(issue.number);
  const [busy, setBusy] = useState(false);
  const [asking, setAsking] = useState<"changes" | "reject" | null>(null);
  const params = { path: { issue: String(issue.number) }, header: seen(issue) };
  const approve = async () => {
    setBusy(true);
    try {
      const body = { patchDigest: review.patchDigest };
      await settle(api.PATCH("/api/v1/issues/{issue}/patch/approve", { params, body }));
      done(t("patch.approved"));
    } catch (error) {
      failed(error);
    } finally {
      setBusy(false);
    }
  };
  const reject = (reason: string, redraft: boolean) =>
    settle(api.PATCH("/api/v1/issues/{issue}/patch/reject", { params, body: { reason, redraft } }));
  return (
    <footer className="verdict-bar">
      <button type="button" className="primary" disabled={busy} onClick={approve}>
        {t("patch.approve")}
      </button>
      <button type="button" onClick={() => setAsking("changes")}>
        {t("patch.changes")}
      </button>
      <button type="button" className="danger" onClick={() => setAsking("reject")}>
        {t("patch.reject")}
      </button>
      <Suspense>
        {asking === "changes" && (
          <ReasonDialog
            title={t("patch.changes")}
            about={<p>{t("patch.changes.about")}</p>}
            confirm={t("patch.changes.confirm")}
            onClose={() => setAsking(null)}
            act={(reason) => reject(reason, true)}
          />
        )}
        {asking === "reject" && (
          <ReasonDialog
            title={t("patch.reject")}
            about={<p>{t("patch.reject.about")}</p>}
            confirm={t("patch.reject.confirm")}
            danger
            onClose={() => setAsking(null)}
            act={(reason) => reject(reason, false)}
          />
        )}
      </Suspense>
    </footer>
  );
}
