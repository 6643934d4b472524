// A change of one module: its bytes are kept, its plan is shown, and only then can it be
// brought into force.
import { useQueryClient } from "@tanstack/react-query";
import { type FormEvent, useRef, useState } from "react";
import { api, data, type PolicyModule, type PolicyPlan } from "../api/client";
import { useSpeech } from "../i18n";
import { ModalDialog } from "../ui/dialog";
import { useProblemText, useTell } from "../ui/toast";
import { PlanSummary } from "./plan";

const KINDS = ["guardrail", "risk", "autonomy"] as const;
const MODES = ["enforce", "shadow", "off"] as const;
const ROLLOUTS = ["full", "shadow", "canary"] as const;

type Kind = "guardrail" | "risk" | "autonomy";
type Mode = "enforce" | "shadow" | "off";
type Edit = { name: string; kind?: Kind; source?: string; mode?: Mode; remove?: boolean };

/** Keeps a module's bytes under their digest; nothing comes into force by that. */
async function keep(file: File, signature: File | null): Promise<string> {
  const headers: Record<string, string> = { "Content-Type": "application/wasm" };
  if (signature !== null) {
    const bytes = new Uint8Array(await signature.arrayBuffer());
    headers["Selfheal-Signature"] = btoa(String.fromCharCode(...bytes));
  }
  const kept = await data(
    api.POST("/api/v1/policies/modules", {
      // The document says "binary"; what is sent are the file's bytes.
      body: file as unknown as string,
      bodySerializer: (body) => body as unknown as File,
      headers,
    }),
  );
  return kept.source;
}

const fileOf = (value: FormDataEntryValue | null): File | null =>
  value instanceof File && value.size > 0 ? value : null;

export function ChangeDialog({
  module,
  onClose,
}: {
  module: PolicyModule | null;
  onClose: () => void;
}) {
  const { t } = useSpeech();
  const { done } = useTell();
  const sentence = useProblemText();
  const queries = useQueryClient();
  const [busy, setBusy] = useState(false);
  const [refused, setRefused] = useState<unknown>(null);
  const [planned, setPlanned] = useState<{ edit: Edit; plan: PolicyPlan } | null>(null);
  const [rollout, setRollout] = useState<(typeof ROLLOUTS)[number]>("full");
  const heading = useRef<HTMLHeadingElement>(null);

  const guarded = async (work: () => Promise<void>) => {
    setBusy(true);
    setRefused(null);
    try {
      await work();
    } catch (error) {
      setRefused(error);
    } finally {
      setBusy(false);
    }
  };
  const plan = (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    const fields = new FormData(event.currentTarget);
    return guarded(async () => {
      const file = fileOf(fields.get("file"));
      const named = String(fields.get("source") ?? "").trim();
      const source = file ? await keep(file, fileOf(fields.get("signature"))) : named;
      const mode = String(fields.get("mode")) as Mode | "remove";
      const edit: Edit =
        mode === "remove"
          ? { name: module?.name ?? "", remove: true }
          : {
              name: module?.name ?? String(fields.get("name")).trim(),
              ...(module === null && { kind: String(fields.get("kind")) as Kind }),
              ...(source !== "" && { source }),
              mode,
            };
      const plan = await data(api.POST("/api/v1/policies/plan", { body: { edits: [edit] } }));
      setPlanned({ edit, plan });
      requestAnimationFrame(() => heading.current?.focus());
    });
  };
  const activate = (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    if (planned === null) return;
    const fields = new FormData(event.currentTarget);
    return guarded(async () => {
      const change = { edits: [planned.edit], reason: String(fields.get("reason")) };
      const body =
        rollout === "canary"
          ? { ...change, rollout, percent: Number(fields.get("percent")) }
          : { ...change, rollout };
      const answer = await data(api.POST("/api/v1/policies/activate", { body }));
      queries.invalidateQueries({ queryKey: ["policies"] });
      done(t(`change.${answer.outcome}` as "change.activated"));
      onClose();
    });
  };

  return (
    <ModalDialog
      title={module ? t("change.title", { name: module.name }) : t("policies.upload")}
      onClose={onClose}
      wide
    >
      {planned === null ? (
        <form onSubmit={plan}>
          <p className="soft">{t("change.about")}</p>
          {module === null && (
            <div className="pair">
              <label>
                <span>{t("change.name")}</span>
                <input name="name" required />
              </label>
              <label>
                <span>{t("change.kind")}</span>
                <select name="kind">
                  {KINDS.map((kind) => (
                    <option key={kind} value={kind}>
                      {t(`kind.${kind}`)}
                    </option>
                  ))}
                </select>
              </label>
            </div>
          )}
          <div className="pair">
            <label>
              <span>{t("change.file")}</span>
              <input name="file" type="file" accept=".wasm,application/wasm" />
            </label>
            <label>
              <span>{t("change.signature")}</span>
              <input name="signature" type="file" />
            </label>
          </div>
          <label>
            <span>{t("change.source")}</span>
            <input name="source" placeholder="bundled:NAME, sha256:HEX, oci://…" />
          </label>
          <label>
            <span>{t("change.mode")}</span>
            <select name="mode" defaultValue={modeOf(module)}>
              {MODES.map((mode) => (
                <option key={mode} value={mode}>
                  {t(`mode.${mode}`)}
                </option>
              ))}
              {module !== null && <option value="remove">{t("mode.remove")}</option>}
            </select>
          </label>
          <Refused error={refused} sentence={sentence} />
          <footer>
            <button type="button" onClick={onClose}>
              {t("action.cancel")}
            </button>
            <button type="submit" className="primary" disabled={busy}>
              {t("change.plan")}
            </button>
          </footer>
        </form>
      ) : (
        <form onSubmit={activate}>
          <h3 ref={heading} tabIndex={-1}>
            {t("change.planned")}
          </h3>
          <PlanSummary plan={planned.plan} />
          <div className="pair">
            <label>
              <span>{t("change.rollout")}</span>
              <select
                value={rollout}
                onChange={(event) => setRollout(event.target.value as typeof rollout)}
              >
                {ROLLOUTS.map((name) => (
                  <option key={name} value={name}>
                    {t(`rollout.${name}`)}
                  </option>
                ))}
              </select>
            </label>
            {rollout === "canary" && (
              <label>
                <span>{t("change.percent")}</span>
                <input name="percent" type="number" min={1} max={99} defaultValue={10} required />
              </label>
            )}
          </div>
          <label>
            <span>{t("reason.label")}</span>
            <textarea name="reason" required rows={2} />
          </label>
          <Refused error={refused} sentence={sentence} />
          <footer>
            <button type="button" onClick={() => setPlanned(null)}>
              {t("change.back")}
            </button>
            <button type="submit" className="primary" disabled={busy}>
              {t("change.activate")}
            </button>
          </footer>
        </form>
      )}
    </ModalDialog>
  );
}

const modeOf = (module: PolicyModule | null) =>
  module?.state === "shadow" ? "shadow" : module?.state === "off" ? "off" : "enforce";

function Refused({ error, sentence }: { error: unknown; sentence: (error: unknown) => string }) {
  return error === null ? null : (
    <p className="field-error" role="alert" dir="auto">
      {sentence(error)}
    </p>
  );
}
