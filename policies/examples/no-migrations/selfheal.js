// Small words that make a policy short. Belongs to the project: change it freely.
// The types are those of wit/types.wit: records are objects with camelCase keys, an
// option is the value or undefined, u64 is a number, an enum case is its name in
// kebab-case, a variant is { tag, val }.

const reason = (rule, message, { shows, instead } = {}) => ({
  rule,
  message,
  evidence: shows === undefined ? undefined : { text: shows.slice(0, 200), span: undefined },
  alternative: instead,
});

/** Verdicts. `more` may hold `shows` (what decided) and `instead` (itself allowed). */
export const allow = () => ({ tag: "allow" });
export const ask = (rule, message, more) => ({ tag: "ask", val: reason(rule, message, more) });
export const deny = (rule, message, more) => ({ tag: "deny", val: reason(rule, message, more) });

/** Answers of autonomy modules. */
export const apply = (why) => ({ action: { tag: "apply" }, reason: why });
export const review = (why, admins = 1) => ({ action: { tag: "review", val: admins }, reason: why });
export const stop = (why) => ({ action: { tag: "stop" }, reason: why });
export const admit = (why) => ({ tag: "admit", val: why });
export const needsAdmin = (rule, message) => ({ tag: "needs-admin", val: reason(rule, message) });

/** Names of the program that runs: as written, and of the file that it leads to, as in `rm` for `/bin/rm`. */
export const programNames = (command) =>
  [command.program.text, command.resolved].filter(Boolean).map((path) => path.split("/").pop());

/** The command in one line, for evidence. */
export const commandText = (command) =>
  [command.program, ...command.arguments].map((word) => word.text).join(" ");

/** Settings of policy.toml over `defaults`. An unknown key or another type is refused. */
export function settingsOf(json, defaults) {
  const given = JSON.parse(json || "{}");
  for (const [key, value] of Object.entries(given)) {
    if (!(key in defaults)) {
      throw `unknown setting \`${key}\`; there are ${Object.keys(defaults).join(", ")}`;
    }
    const wanted = defaults[key];
    const fits = Array.isArray(wanted)
      ? Array.isArray(value) && value.every((item) => typeof item === "string")
      : typeof value === typeof wanted;
    if (!fits) {
      throw `setting \`${key}\` is ${Array.isArray(wanted) ? "a list of texts" : `a ${typeof wanted}`}, got ${JSON.stringify(value)}`;
    }
  }
  return { ...defaults, ...given };
}

/** Does `path` match `pattern`? `*` stays within a component, `**` crosses them; a
 * pattern without `/` matches any component's name. */
export function matches(pattern, path) {
  const source = pattern
    .replace(/[.+^${}()|[\]\\]/g, "\\$&")
    .replace(/\*\*\/?|\*|\?/g, (star) => (star.startsWith("**") ? ".*" : star === "*" ? "[^/]*" : "[^/]"));
  const expression = new RegExp(`^${source}$`, "i");
  return pattern.includes("/") ? expression.test(path) : path.split("/").some((part) => expression.test(part));
}

// Facts for examples. The host makes the real ones.

/** Drafting in production at level 2, led here by a member's report. */
export const context = (other = {}) => ({
  run: undefined,
  phase: "drafting",
  environment: "production",
  level: "auto-low",
  actor: "engine:builtin",
  trust: "member",
  service: undefined,
  earned: { healed: 0, failed: 0, rolledBack: 0, streak: 0 },
  counters: { toolCalls: 0, denied: 0, filesWritten: 0, bytesWritten: 0, seconds: 0 },
  ...other,
});

/** A `Bash` call; words are split at blanks, for plain commands only. */
export function bash(command) {
  const [program, ...words] = command.split(" ").map((text) => ({ text, certain: true }));
  const call = {
    tool: "Bash",
    input: JSON.stringify({ command }),
    commands: [{ program, resolved: undefined, arguments: words, certain: true }],
    parsed: true,
    paths: [],
    network: [],
    bytes: 0,
  };
  return { tag: "tool-call", val: call };
}

const patchRecord = (path, removed, added) => ({
  digest: "0".repeat(64),
  diff: [`--- a/${path}`, `+++ b/${path}`, "@@ -1 +1 @@", ...removed.map((line) => `-${line}`), ...added.map((line) => `+${line}`), ""].join("\n"),
  files: [
    { path, change: "modified", added, removed, test: false, protected: false, dependents: 0, owners: [], earlierHeals: 0, earlierRollbacks: 0 },
  ],
  claimedConfidence: 0.9,
  reproductionProved: true,
  rivals: 0,
  severity: "MEDIUM",
});

/** A patch of one file. */
export const patch = (path, removed, added) => ({ tag: "patch", val: patchRecord(path, removed, added) });

/** A patch that got `score`. */
export const assessed = (path, score) => ({
  tag: "assessed",
  val: { patch: patchRecord(path, ["a - b"], ["a + b"]), assessment: { score, factors: [] } },
});

/** An issue that waits for approval. */
export const issue = (severity, category, trust) => ({
  tag: "issue",
  val: { number: 1, severity, category, source: "web", trust },
});

/** One promise of `describe`. `expect` is as in `allow`, or [lowest, highest] score. */
export const example = (name, question, expect, { settings, context: given } = {}) => ({
  name,
  settings: settings === undefined ? undefined : JSON.stringify(settings),
  context: given ?? context(),
  question,
  expect: Array.isArray(expect) ? { tag: "score", val: expect } : { tag: expect },
});
