"use strict";
// The first page: no framework, no build. Everything that comes from the server is
// set as text, never as markup.

const main = document.getElementById("main");
const nav = document.getElementById("nav");
const notice = document.getElementById("notice");
let me = null;
let stream = null;
let visit = 0;

/** An element; properties that start with "on" are listeners. */
function h(tag, properties, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties ?? {})) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name in element) element[name] = value;
    else element.setAttribute(name, value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return element;
}

class Refused extends Error {
  constructor(status, problem) {
    const fields = (problem.errors ?? []).map((error) => `${error.field} ${error.message}`);
    super(fields.length > 0 ? fields.join("; ") : problem.detail ?? `the host answered ${status}`);
    this.status = status;
  }
}

async function api(method, path, body, key) {
  const options = { method, headers: {} };
  // A report that is sent twice by a shaky connection is one report.
  if (key !== undefined) options.headers["Idempotency-Key"] = key;
  if (body !== undefined) {
    options.headers["Content-Type"] = "application/json";
    options.body = JSON.stringify(body);
  }
  const response = await fetch(`/api/v1${path}`, options);
  if (!response.ok) {
    const problem = await response.json().catch(() => ({}));
    throw new Refused(response.status, problem);
  }
  return response.status === 204 ? null : response.json();
}

let noticeTimer;
function tell(text) {
  notice.textContent = text;
  clearTimeout(noticeTimer);
  noticeTimer = setTimeout(() => (notice.textContent = ""), 8000);
}

/** Runs an action once at a time and says what went wrong. */
function act(work) {
  return async (event) => {
    event.preventDefault();
    const button = event.submitter ?? event.currentTarget;
    button.disabled = true;
    try {
      await work(event);
    } catch (error) {
      if (error.status === 401 && me !== null) {
        me = null;
        route();
      }
      tell(error.message);
    } finally {
      button.disabled = false;
    }
  };
}

function show(title, ...children) {
  document.title = `${title} · Selfheal`;
  main.replaceChildren(...children.flat().filter(Boolean));
}

function drawNav() {
  if (me === null) return nav.replaceChildren();
  const mayReport = me.role === "user" || me.role === "admin";
  nav.replaceChildren(
    h("a", { href: "#/issues" }, "Issues"),
    ...(mayReport ? [h("a", { href: "#/report" }, "Report")] : []),
    ...(me.role === "admin" ? [h("a", { href: "#/host" }, "Host")] : []),
    h("span", { className: "end" }, `${me.username} (${me.role})`),
    h("button", { onclick: act(logOut) }, "Log out"),
  );
}

async function logOut() {
  await api("DELETE", "/session");
  me = null;
  route();
}

const when = (text) => new Date(text).toLocaleString();
const TONES = { RESOLVED: "good", FAILED: "bad", ESCALATED: "bad", ABORTED: "bad", REJECTED: "bad", OPEN: "warn", PATCH_PENDING: "warn" };
const badge = (status) => h("span", { className: `badge ${TONES[status] ?? ""}` }, status.replace("_", " "));
const STATES = ["OPEN", "APPROVED", "REJECTED", "DIAGNOSING", "DIAGNOSED", "PATCH_PENDING", "PATCHING", "VERIFYING", "RESOLVED", "FAILED", "ESCALATED", "ABORTED"];

function field(label, input, hint) {
  return h("label", {}, h("span", {}, label), input, hint ? h("small", {}, hint) : null);
}

function logInPage() {
  const name = h("input", { name: "username", autocomplete: "username", required: true });
  const password = h("input", { name: "password", type: "password", autocomplete: "current-password", required: true });
  const enter = act(async () => {
    me = await api("POST", "/session", { username: name.value, password: password.value });
    route();
  });
  show("Log in", h("form", { className: "card", onsubmit: enter },
    h("h1", {}, "Log in"),
    field("User name", name),
    field("Password or token", password),
    h("button", { className: "main" }, "Log in")));
  name.focus();
}

async function issuesPage(token) {
  const rows = h("tbody");
  const more = h("button", { hidden: true }, "More");
  const filter = h("select", { "aria-label": "State" }, h("option", { value: "" }, "All states"),
    ...STATES.map((state) => h("option", { value: state }, state)));
  const search = h("input", { type: "search", placeholder: "Search", "aria-label": "Search" });
  let cursor = null;
  const load = async () => {
    const query = new URLSearchParams();
    if (filter.value) query.set("status", filter.value);
    if (search.value.trim()) query.set("q", search.value.trim());
    if (cursor) query.set("cursor", cursor);
    const page = await api("GET", `/issues?${query}`);
    if (token !== visit) return;
    if (!cursor) rows.replaceChildren();
    rows.append(...page.items.map((issue) => h("tr", {},
      h("td", {}, `#${issue.number}`),
      h("td", {}, h("a", { href: `#/issues/${issue.number}` }, issue.title)),
      h("td", {}, badge(issue.status)),
      h("td", {}, issue.severity),
      h("td", {}, issue.reportedBy),
      h("td", { className: "soft" }, when(issue.updatedAt)))));
    if (rows.children.length === 0) {
      rows.append(h("tr", {}, h("td", { colSpan: 6, className: "soft" }, "Nothing here.")));
    }
    cursor = page.nextCursor ?? null;
    more.hidden = cursor === null;
  };
  const again = act(async () => {
    cursor = null;
    await load();
  });
  more.addEventListener("click", act(load));
  filter.addEventListener("change", again);
  search.addEventListener("change", again);
  show("Issues",
    h("div", { className: "row" }, h("h1", {}, "Issues"), filter, h("div", {}, search)),
    h("div", { className: "card" },
      h("table", {},
        h("thead", {}, h("tr", {}, ...["", "Title", "State", "Severity", "Reported by", "Changed"].map((text) => h("th", { scope: "col" }, text)))),
        rows),
      more));
  await load();
}

function reportPage() {
  const texts = {
    title: h("input", { required: true, maxLength: 200 }),
    description: h("textarea", { required: true }),
    stepsToReproduce: h("textarea"),
    expectedBehavior: h("textarea"),
    actualBehavior: h("textarea"),
    service: h("input"),
  };
  let sent = { text: "", key: "" };
  const send = act(async () => {
    const body = {};
    for (const [name, input] of Object.entries(texts)) {
      if (input.value.trim()) body[name] = input.value;
    }
    const text = JSON.stringify(body);
    if (sent.text !== text) sent = { text, key: `report-${Date.now()}-${Math.random()}` };
    const issue = await api("POST", "/issues", body, sent.key);
    location.hash = `#/issues/${issue.number}`;
  });
  show("Report", h("form", { className: "card", onsubmit: send },
    h("h1", {}, "Report what is broken"),
    field("Title", texts.title, "One line."),
    field("What is wrong?", texts.description),
    field("How can one see it?", texts.stepsToReproduce, "Step by step, if you know."),
    field("What should happen?", texts.expectedBehavior),
    field("What happens instead?", texts.actualBehavior),
    field("Service", texts.service, "If you know which part it is."),
    h("button", { className: "main" }, "Report")));
}

function diffOf(text) {
  const lines = text.split("\n").map((line) => {
    const added = line.startsWith("+") && !line.startsWith("+++");
    const removed = line.startsWith("-") && !line.startsWith("---");
    return h("span", { className: added ? "add" : removed ? "del" : "" }, `${line}\n`);
  });
  return h("pre", { tabIndex: 0 }, ...lines);
}

function facts(pairs) {
  const known = pairs.filter(([, value]) => value !== undefined && value !== null && value !== "");
  return h("dl", {}, ...known.flatMap(([name, value]) => [h("dt", {}, name), h("dd", { className: "text" }, value)]));
}

/** A button that asks for a reason first. */
function withReason(label, className, work) {
  const reason = h("input", { required: true, placeholder: "Reason", "aria-label": `Reason: ${label}` });
  const form = h("form", { className: "row", hidden: true, onsubmit: act(() => work(reason.value)) },
    h("div", {}, reason), h("button", { className }, label));
  const open = h("button", { className, onclick: () => {
    form.hidden = false;
    open.hidden = true;
    reason.focus();
  } }, `${label}…`);
  return h("span", {}, open, form);
}

const RESTING = ["OPEN", "REJECTED", "RESOLVED", "FAILED", "ESCALATED", "ABORTED"];

function controls(issue, redraw) {
  if (me.role !== "admin") return null;
  const at = `/issues/${issue.number}`;
  const change = (method, path, body) => api(method, at + path, body).then(redraw);
  const buttons = [];
  if (issue.status === "OPEN") {
    buttons.push(h("button", { className: "main", onclick: act(() => change("PATCH", "/approve", {})) }, "Approve: let an agent start"));
    buttons.push(withReason("Reject", "danger", (reason) => change("PATCH", "/reject", { reason })));
  }
  if (["FAILED", "ESCALATED", "ABORTED", "DIAGNOSED"].includes(issue.status)) {
    buttons.push(h("button", { onclick: act(() => change("POST", "/retry", {})) }, "Try again"));
  }
  if (!RESTING.includes(issue.status) || issue.status === "OPEN") {
    buttons.push(withReason("Abort", "danger", (reason) => change("POST", "/abort", { reason })));
  }
  return buttons.length > 0 ? h("div", { className: "card row" }, ...buttons) : null;
}

async function review(issue, redraw) {
  if (me.role !== "admin" || issue.status !== "PATCH_PENDING") return null;
  const patch = await api("GET", `/issues/${issue.number}/patch`);
  const at = `/issues/${issue.number}/patch`;
  const reject = (reason, redraft) => api("PATCH", `${at}/reject`, { reason, redraft }).then(redraw);
  return h("section", { className: "card" },
    h("h2", {}, "Review this patch"),
    facts([
      ["Risk", patch.riskScore === undefined ? undefined : `${patch.riskScore} of 100, ${patch.riskLevel}`],
      ["Because", patch.factors.map((factor) => `${factor.name} (${factor.points}): ${factor.evidence}`).join("\n")],
      ["Decision", patch.decision?.reason],
      ["Guardrails", `${patch.judgement.verdict}${patch.judgement.reason ? `: ${patch.judgement.reason.message}` : ""}`],
      ["Proof", patch.proof?.checks.map((check) => `${check.result} ${check.name}`).join("\n")],
      ["Other patches that pass", String(patch.rivals.length)],
      ["Digest", patch.patchDigest],
    ]),
    h("p", {}),
    diffOf(patch.patchDiff),
    h("p", { className: "row" },
      h("button", { className: "main", onclick: act(() => api("PATCH", `${at}/approve`, { patchDigest: patch.patchDigest }).then(redraw)) }, "Approve this patch"),
      withReason("Ask for another", "", (reason) => reject(reason, true)),
      withReason("Reject for good", "danger", (reason) => reject(reason, false))));
}

async function issuePage(key, token) {
  const head = h("div");
  const log = h("ol", { className: "log" });
  const now = h("p", { className: "soft text", role: "status" });
  const comments = h("div");
  const content = h("textarea", { required: true, "aria-label": "Comment" });
  let drawing = null;

  const draw = async () => {
    const issue = await api("GET", `/issues/${encodeURIComponent(key)}`);
    const pending = await review(issue, redraw);
    if (token !== visit) return;
    if (head.contains(document.activeElement) && document.activeElement.tagName === "INPUT") return;
    if (RESTING.includes(issue.status)) now.textContent = "";
    document.title = `#${issue.number} ${issue.title} · Selfheal`;
    const run = issue.runs.at(-1);
    head.replaceChildren(...[
      h("h1", {}, `#${issue.number} ${issue.title} `, badge(issue.status)),
      controls(issue, redraw),
      h("section", { className: "card" },
        h("p", { className: "text" }, issue.description),
        facts([
          ["Steps", issue.stepsToReproduce], ["Expected", issue.expectedBehavior], ["Actual", issue.actualBehavior],
          ["Reported by", `${issue.reportedBy}, ${when(issue.createdAt)}`],
          ["Severity", `${issue.severity}, ${issue.priority}`], ["Service", issue.service],
          ["Approved by", issue.approvedBy], ["Rejected because", issue.rejectionReason],
        ])),
      issue.rootCause || issue.endReason ? h("section", { className: "card" },
        h("h2", {}, "What was found"),
        facts([
          ["Cause", issue.rootCause],
          ["Confidence", issue.confidenceScore === undefined ? undefined : `${Math.round(issue.confidenceScore * 100)} %`],
          ["Files", issue.affectedFiles?.join("\n")],
          ["Suggested fix", issue.patchDiff ? undefined : issue.suggestedFix],
          ["Why this patch", issue.patchRationale],
          ["Checks", issue.verificationDetails],
          ["Undone", issue.rolledBack ? "yes, by a rollback commit" : undefined],
          ["Ended because", issue.endReason],
          ["Commit", run?.healCommit],
        ])) : null,
      pending,
      issue.patchDiff && !pending ? h("section", { className: "card" }, h("h2", {}, "Patch"), diffOf(issue.patchDiff)) : null,
    ].filter(Boolean));
    comments.replaceChildren(...issue.comments.map((comment) => h("div", { className: "card" },
      h("p", { className: "soft" }, `${comment.author}, ${when(comment.createdAt)}`),
      h("p", { className: "text" }, comment.content))));
  };
  // Many records may come at once: one drawing at a time, and one more after it.
  const redraw = async () => {
    if (drawing) return (drawing.again = true);
    drawing = { again: false };
    try {
      do {
        drawing.again = false;
        await draw();
      } while (drawing.again);
    } finally {
      drawing = null;
    }
  };
  const say = act(async () => {
    await api("POST", `/issues/${encodeURIComponent(key)}/comments`, { content: content.value });
    content.value = "";
    await redraw();
  });

  show(`Issue ${key}`, head,
    h("section", { className: "card" }, h("h2", {}, "Progress"), log, now),
    h("h2", {}, "Comments"), comments,
    me.role === "auditor" ? null : h("form", { className: "card", onsubmit: say }, content, h("p", {}, h("button", {}, "Comment"))));
  await redraw();
  if (token !== visit) return;
  stream = new EventSource(`/api/v1/issues/${encodeURIComponent(key)}/stream`);
  stream.onmessage = (message) => {
    const event = JSON.parse(message.data);
    // An agent makes hundreds of calls: the audit log has them, this page the gist.
    if (event.type.startsWith("tool.")) return (now.textContent = event.summary);
    log.append(h("li", {}, h("time", {}, new Date(event.at).toLocaleTimeString()), h("span", {}, event.summary)));
    redraw().catch((error) => tell(error.message));
  };
  stream.addEventListener("progress", (message) => (now.textContent = JSON.parse(message.data).note));
}

async function hostPage(token) {
  const [autonomy, services, policies] = await Promise.all([
    api("GET", "/autonomy"), api("GET", "/services"), api("GET", "/policies"),
  ]);
  if (token !== visit) return;
  const names = ["OBSERVE", "SUGGEST", "AUTO_LOW", "AUTO_ALL"];
  const level = h("select", { "aria-label": "Level" }, ...names.slice(0, autonomy.ceiling + 1).map((name, index) =>
    h("option", { value: index, selected: index === autonomy.level }, `${index} ${name}`)));
  const reason = h("input", { required: true, placeholder: "Reason", "aria-label": "Reason" });
  const set = act(async () => {
    await api("PUT", "/autonomy", { level: Number(level.value), reason: reason.value });
    await hostPage(token);
  });
  const freeze = autonomy.frozen
    ? withReason("Let healing go on", "", (why) => api("DELETE", "/freeze", { reason: why }).then(() => hostPage(token)))
    : withReason("Stop all healing", "danger", (why) => api("POST", "/freeze", { reason: why }).then(() => hostPage(token)));
  show("Host",
    h("h1", {}, "Host"),
    h("section", { className: "card" }, h("h2", {}, "Autonomy"),
      h("p", {}, `${autonomy.levelName}, at most ${autonomy.ceilingName}${autonomy.frozen ? "; frozen" : ""}`),
      h("form", { className: "row", onsubmit: set }, level, h("div", {}, reason), h("button", {}, "Set")),
      h("p", {}, freeze)),
    h("section", { className: "card" }, h("h2", {}, "Services"),
      ...services.items.map((service) => h("p", { className: "row" },
        h("strong", {}, service.name), badge(service.state), h("span", { className: "soft" }, service.detail),
        h("button", { onclick: act(async () => {
          await api("POST", `/services/${encodeURIComponent(service.name)}/restart`, {});
          await hostPage(token);
        }) }, "Restart")))),
    h("section", { className: "card" }, h("h2", {}, `Policies, generation ${policies.generation}`),
      ...policyNotices(policies).map((text) => h("p", { className: "bad" }, text)),
      h("p", {}, proofOf(policies.enforcement)),
      ...(policies.proposals ?? []).map((proposal) => h("p", { className: "row" },
        h("span", {}, `Proposal ${proposal.number} by ${proposal.by ?? "an edit of policy.toml"}: ${proposal.reason} (${proposal.plan.tightened} stricter, ${proposal.plan.loosened} looser)`),
        h("button", { onclick: act(async () => {
          await api("POST", `/policies/proposals/${proposal.number}/confirm`, {});
          await hostPage(token);
        }) }, "Agree"))),
      facts(policies.items.map((module) => [module.name, moduleOf(module)]))));
}

/** What somebody should look at before anything else. */
function policyNotices(policies) {
  return [
    policies.notInForce && `policy.toml as it is on disk is not in force: ${policies.notInForce}`,
    ...(policies.grants ?? []).map((grant) =>
      `The glass over ${grant.rule} is broken until ${new Date(grant.until).toLocaleTimeString()} by ${grant.by}: ${grant.reason}`),
    ...policies.items.filter((module) => module.state === "quarantined").map((module) =>
      `${module.name} is in quarantine: ${module.reason ?? ""}`),
    policies.trial && `Generation ${policies.trial.generation} is on trial (${policies.trial.rollout}): ${policies.trial.stricter} stricter, ${policies.trial.looser} looser of ${policies.trial.asked}`,
  ].filter(Boolean);
}

function proofOf(proof) {
  if (proof.ageSeconds === undefined) return "Enforcement is not proved yet.";
  const points = `${proof.points.filter((point) => point.refused).length} of ${proof.points.length} points`;
  return `Enforcement ${proof.proved ? "proved" : "NOT PROVED"} ${proof.ageSeconds} s ago at ${points}, generation ${proof.generation}.`;
}

function moduleOf(module) {
  const hits = Object.values(module.hits ?? {}).reduce((sum, count) => sum + count, 0);
  const does = module.state === undefined ? "" : `, ${module.state}: asked ${module.asked}, ${hits} hits, ${module.faults} faults`;
  return `${module.kind} ${module.version}${does}\n${module.digest}`;
}

async function route() {
  const token = ++visit;
  stream?.close();
  stream = null;
  drawNav();
  if (me === null) return logInPage();
  const [, place, key] = location.hash.split("/");
  try {
    if (place === "report") reportPage();
    else if (place === "host" && me.role === "admin") await hostPage(token);
    else if (place === "issues" && key) await issuePage(decodeURIComponent(key), token);
    else await issuesPage(token);
    main.focus();
  } catch (error) {
    if (error.status === 401) {
      me = null;
      return route();
    }
    show("Error", h("p", { className: "card bad" }, error.message));
  }
}

window.addEventListener("hashchange", route);
api("GET", "/session").then((session) => (me = session), () => null).then(route);
