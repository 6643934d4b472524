// What a candidate would change, told so that one can say yes or no.
import type { PolicyPlan } from "../api/client";
import { useSpeech } from "../i18n";
import { Badge } from "../ui/badges";

type Changes = PolicyPlan["loosening"];

export function PlanSummary({ plan }: { plan: PolicyPlan }) {
  const { t } = useSpeech();
  return (
    <div className="plan">
      <p className="facts">
        <Badge tone={plan.onlyTightens ? "good" : "warn"}>
          {t(plan.onlyTightens ? "plan.tightens" : "plan.loosens")}
        </Badge>
        <span>
          {t("plan.numbers", {
            replayed: plan.replayed,
            tightened: plan.tightened,
            loosened: plan.loosened,
          })}
        </span>
      </p>
      <Sentences title={t("plan.looser")} sentences={plan.structuralLoosening} />
      <Sentences title={t("plan.unproved")} sentences={plan.unproved} />
      <Sentences title={t("plan.stricter")} sentences={plan.structuralTightening} />
      <Differences title={t("plan.loosening")} changes={plan.loosening} />
      <Differences title={t("plan.tightening")} changes={plan.tightening} />
    </div>
  );
}

function Sentences({ title, sentences }: { title: string; sentences: readonly string[] }) {
  if (sentences.length === 0) return null;
  return (
    <>
      <h4>{title}</h4>
      <ul>
        {sentences.map((sentence) => (
          <li key={sentence}>{sentence}</li>
        ))}
      </ul>
    </>
  );
}

export function Differences({ title, changes }: { title: string; changes: Changes }) {
  if (changes.length === 0) return null;
  return (
    <details open>
      <summary>
        {title} ({changes.length})
      </summary>
      <ul className="differences">
        {changes.map((change) => (
          <li key={change.seq}>
            <code dir="ltr">{change.question}</code>
            <br />
            <span className="removed">{change.before}</span> →{" "}
            <span className="added">{change.after}</span>
          </li>
        ))}
      </ul>
    </details>
  );
}
