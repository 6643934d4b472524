//! The one table of routes. The router is built from it, authorisation is read from
//! it, and `openapi.json` is written from it: a route without a row cannot exist.

use crate::call::Call;
use crate::gate::{self, Door};
use crate::handlers::issues::MAX_WORDS_CHARS;
use crate::handlers::{
    accounts, assets, audit, hook, issues, oidc, operations, pack, patches, policies, services,
    session, streams, tokens, views,
};
use crate::problem::Problem;
use crate::state::{ApiState, Shared};
use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::Response;
use axum::routing::any;
use selfheal_domain::external::ExternalAgent;
use selfheal_domain::query::MAX_CHARS;
use selfheal_domain::token::Scope;
use selfheal_domain::user::Role;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Request method.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Verb {
    Get,
    Post,
    Put,
    Patch,
    Delete,
}

impl Verb {
    /// As on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Patch => "PATCH",
            Self::Delete => "DELETE",
        }
    }
}

/// Who may use a route. Guests may use nothing but [`Who::Anyone`]'s.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Who {
    /// Everybody, without an account.
    Anyone,
    /// Users (their own issues), admins and auditors (all): to read.
    Reader,
    /// Users (their own issues) and admins: to write.
    Reporter,
    /// Admins.
    Admin,
    /// Admins and auditors.
    AdminOrAuditor,
    /// Agents of other makers that ask before they act; they may do nothing else.
    Hook,
}

impl Who {
    /// Whether somebody with this role may.
    pub fn admits(self, role: Role) -> bool {
        match self {
            Self::Anyone => true,
            Self::Reader => matches!(role, Role::User | Role::Auditor | Role::Admin),
            Self::Reporter => matches!(role, Role::User | Role::Admin),
            Self::Admin => role == Role::Admin,
            Self::AdminOrAuditor => matches!(role, Role::Auditor | Role::Admin),
            Self::Hook => role == Role::Hook,
        }
    }

    pub(crate) fn describe(self) -> &'static str {
        match self {
            Self::Anyone => "everybody",
            Self::Reader => "only a user, an admin or an auditor",
            Self::Reporter => "only a user or an admin",
            Self::Admin => "only an admin",
            Self::AdminOrAuditor => "only an admin or an auditor",
            Self::Hook => "only an agent's hook",
        }
    }
}

/// A query parameter, or the values it takes.
#[derive(Clone, Copy, Debug)]
pub struct Parameter {
    /// Name on the wire.
    pub name: &'static str,
    /// What it is for.
    pub about: &'static str,
    pub(crate) shape: Shape,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Shape {
    Text,
    /// Words to look for, at most so many characters.
    Words(usize),
    /// The name of an account.
    Name,
    /// A position in the log.
    Position,
    /// A place in the list of issues.
    IssueCursor,
    /// Nothing but this.
    One(&'static str),
    Limit,
    Schema(&'static str),
    /// Several, with commas between.
    Schemas(&'static str),
}

/// What a successful answer holds.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Content {
    Schema(&'static str),
    Text(&'static str),
    Bytes(&'static str),
    Json,
    Nothing,
}

pub(crate) type Handler = fn(&Call) -> Result<Response<Body>, Problem>;

/// One row: method and path, who may, and what it takes and gives.
#[derive(Clone, Copy, Debug)]
pub struct Route {
    /// Method.
    pub verb: Verb,
    /// Path with `{parameters}`; `{*rest}` stands for the rest of it.
    pub path: &'static str,
    /// Who may.
    pub who: Who,
    /// What a token must be good for; none where nobody needs a token.
    pub scope: Option<Scope>,
    /// Name for programs: OpenAPI's operation id.
    pub name: &'static str,
    /// What it does.
    pub about: &'static str,
    /// Query parameters.
    pub query: &'static [Parameter],
    /// Status of success.
    pub status: u16,
    pub(crate) request: Option<&'static str>,
    /// Media type and bound of a body that is not JSON.
    pub(crate) bytes: Option<(&'static str, usize)>,
    pub(crate) content: Content,
    /// Whose hook asks here: every answer is a 200 in that agent's format.
    pub(crate) hook: Option<ExternalAgent>,
    /// Also on the operator's local socket.
    local: bool,
    pub(crate) handler: Handler,
}

impl Route {
    /// Whether its path names an issue.
    pub fn has_issue(&self) -> bool {
        self.path.contains("{issue}")
    }

    /// Whether it answers with the web page, whose own script reads the query.
    pub(crate) fn is_page(&self) -> bool {
        matches!(self.content, Content::Text("text/html"))
    }

    /// Whether it acts on something that has a version: an issue, a service, the policy set
    /// or the autonomy switch.
    pub fn takes_if_match(&self) -> bool {
        let acts = self.verb != Verb::Get;
        let switch = self.path == AUTONOMY || self.path == FREEZE;
        let service = self.path.starts_with("/api/v1/services/{name}/");
        acts && (self.has_issue() || switch || service || self.changes_policies())
    }

    /// Whether it changes the policy set: not where a candidate is looked at, or its modules
    /// are kept.
    fn changes_policies(&self) -> bool {
        let of_policies = self.path.strip_prefix("/api/v1/policies/");
        of_policies.is_some_and(|rest| !matches!(rest, "modules" | "plan"))
    }

    /// Whether its answers carry an `ETag` that `If-None-Match` may name.
    pub fn has_tag(&self) -> bool {
        let json = matches!(self.content, Content::Schema(_) | Content::Json);
        self.verb == Verb::Get && json
    }

    /// Whether a request that is sent twice under one `Idempotency-Key` counts once. Not
    /// where a second answer must be a new one: a session, a question about an agent's act.
    pub fn takes_key(&self) -> bool {
        self.verb == Verb::Post && !self.is_session() && self.hook.is_none()
    }

    /// Whether others write its query.
    pub(crate) fn is_callback(&self) -> bool {
        self.path.ends_with("/oidc/callback")
    }

    pub(crate) fn is_session(&self) -> bool {
        self.path.ends_with("/session")
    }

    const fn query(mut self, query: &'static [Parameter]) -> Self {
        self.query = query;
        self
    }

    const fn takes(mut self, schema: &'static str) -> Self {
        self.request = Some(schema);
        self
    }

    /// A body of bytes, with a bound of its own.
    const fn takes_bytes(mut self, media: &'static str, most: usize) -> Self {
        self.bytes = Some((media, most));
        self
    }

    /// Whether it takes a body.
    pub fn takes_body(&self) -> bool {
        self.request.is_some() || self.bytes.is_some()
    }

    /// Also on the operator's local socket, where it acts as the operator.
    const fn locally(mut self) -> Self {
        self.local = true;
        self
    }

    /// Another scope than that of its kind ([`scope_of`]).
    const fn within(mut self, scope: Scope) -> Self {
        self.scope = Some(scope);
        self
    }

    /// The hook of an agent of another maker.
    const fn asked_by(mut self, agent: ExternalAgent) -> Self {
        self.hook = Some(agent);
        self
    }

    const fn answers(mut self, status: u16, content: Content) -> Self {
        self.status = status;
        self.content = content;
        self
    }
}

/// The scope of a call of this kind, unless its row names another one: what only admins
/// may change needs, unsaid, the scope that is given out most sparingly.
const fn scope_of(verb: Verb, who: Who) -> Option<Scope> {
    match (verb, who) {
        (_, Anyone) => None,
        (_, Hook) => Some(Scope::Hook),
        (Get, _) => Some(Scope::Read),
        (_, Reader | Reporter) => Some(Scope::Report),
        (_, Admin | AdminOrAuditor) => Some(Scope::Accounts),
    }
}

const fn row(
    verb: Verb,
    path: &'static str,
    who: Who,
    (name, about): (&'static str, &'static str),
    schema: &'static str,
    handler: Handler,
) -> Route {
    Route {
        verb,
        path,
        who,
        scope: scope_of(verb, who),
        name,
        about,
        query: &[],
        status: 200,
        request: None,
        bytes: None,
        content: Content::Schema(schema),
        hook: None,
        local: false,
        handler,
    }
}

const fn text(name: &'static str, about: &'static str) -> Parameter {
    let shape = Shape::Text;
    Parameter { name, about, shape }
}

const fn value(name: &'static str, schema: &'static str, about: &'static str) -> Parameter {
    let shape = Shape::Schema(schema);
    Parameter { name, about, shape }
}

const fn values(name: &'static str, schema: &'static str, about: &'static str) -> Parameter {
    let shape = Shape::Schemas(schema);
    Parameter { name, about, shape }
}

const LIMIT: Parameter = Parameter {
    name: "limit",
    about: "Largest number of items.",
    shape: Shape::Limit,
};
const CURSOR: Parameter = Parameter {
    name: "cursor",
    about: "`nextCursor` of the page before.",
    shape: Shape::Position,
};
const ISSUE_CURSOR: Parameter = Parameter {
    shape: Shape::IssueCursor,
    ..CURSOR
};
const INCLUDE: Parameter = Parameter {
    name: "include",
    about: "`files`: with the contents of `filesModified` (admins and auditors).",
    shape: Shape::One("files"),
};
const PAGE: &[Parameter] = &[LIMIT, CURSOR];
/// Of a list whose cursors are the names of its items.
const NAMED_PAGE: &[Parameter] = &[LIMIT, text("cursor", "`nextCursor` of the page before.")];
const DECISION_FILTER: &[Parameter] = &[
    value(
        "kind",
        "DecisionKind",
        "What was decided on; tool calls without it.",
    ),
    value(
        "order",
        "DecisionOrder",
        "Which come first; the oldest without it. A cursor is good for the order that gave it.",
    ),
    LIMIT,
    CURSOR,
];
const VIEW_OWNER: &[Parameter] = &[Parameter {
    name: "owner",
    about: "Whose it is, where an admin forgets what somebody else shares.",
    shape: Shape::Name,
}];
const ISSUE_FILTER: &[Parameter] = &[
    Parameter {
        name: "query",
        shape: Shape::Words(MAX_CHARS),
        about: "Terms that all hold, with spaces between: \
         `status:open,patch-pending`, `severity:>=high`, `priority:>p2`, `source:ci`, \
         `category:bug`, `service:web`, `reported-by:me`, `is:open` (or `closed`, `waiting`, \
         `snoozed`), `created:<7d`, `updated:>=2026-01-31`, a word or a \"text\" of title or \
         description. `-` before a term asks for the opposite. `sort:created` (newest first, \
         the default) or `sort:updated`. The other parameters are further terms.",
    },
    values(
        "status",
        "IssueStatus",
        "Only issues in one of these states, with commas between.",
    ),
    value("severity", "Severity", "Only issues this bad."),
    value("priority", "Priority", "Only issues of this priority."),
    value("source", "Source", "Only issues from this source."),
    text("service", "Only issues of this service."),
    Parameter {
        name: "reportedBy",
        about: "Only issues that this user reported.",
        shape: Shape::Name,
    },
    Parameter {
        name: "q",
        about: "Words that all occur in title or description.",
        shape: Shape::Words(MAX_WORDS_CHARS),
    },
    LIMIT,
    ISSUE_CURSOR,
];
const LAST_EVENT: &[Parameter] = &[Parameter {
    name: "lastEventId",
    about: "For clients that cannot send the `Last-Event-ID` header: the last `id` they saw.",
    shape: Shape::Position,
}];

use Verb::{Delete, Get, Patch, Post, Put};
use Who::{Admin, AdminOrAuditor, Anyone, Hook, Reader, Reporter};

/// Largest policy module, in bytes (DESIGN §6.7).
const MAX_MODULE_BYTES: usize = 16 * 1024 * 1024;

const AUTONOMY: &str = "/api/v1/autonomy";
const FREEZE: &str = "/api/v1/freeze";

/// Every route of the network.
#[rustfmt::skip]
pub static ROUTES: &[Route] = &[
    row(Get, "/", Anyone, ("page", "The web page."), "", assets::page).answers(200, Content::Text("text/html")),
    row(Get, "/issues", Anyone, ("pageIssues", "The web page, at the issues."), "", assets::page).answers(200, Content::Text("text/html")),
    row(Get, "/issues/{view}", Anyone, ("pageIssue", "The web page, at a tab of the issues or at one issue."), "", assets::page).answers(200, Content::Text("text/html")),
    row(Get, "/policies", Anyone, ("pagePolicies", "The web page, at the policies."), "", assets::page).answers(200, Content::Text("text/html")),
    row(Get, "/decisions", Anyone, ("pageDecisions", "The web page, at the decisions."), "", assets::page).answers(200, Content::Text("text/html")),
    row(Get, "/audit", Anyone, ("pageAudit", "The web page, at the audit log."), "", assets::page).answers(200, Content::Text("text/html")),
    row(Get, "/host", Anyone, ("pageHost", "The web page, at autonomy and services."), "", assets::page).answers(200, Content::Text("text/html")),
    row(Get, "/people", Anyone, ("pagePeople", "The web page, at the accounts."), "", assets::page).answers(200, Content::Text("text/html")),
    row(Get, "/account", Anyone, ("pageAccount", "The web page, at one's own account."), "", assets::page).answers(200, Content::Text("text/html")),
    row(Get, "/insights", Anyone, ("pageInsights", "The web page, at what healing came to."), "", assets::page).answers(200, Content::Text("text/html")),
    row(Get, "/embed/issues/{view}", Anyone, ("pageEmbedded", "The web page with the issues alone, for a frame in the pages that `embed_in` names."), "", assets::embedded_page).answers(200, Content::Text("text/html")),
    row(Get, "/embed.js", Anyone, ("embedScript", "Defines `<selfheal-issues>`, which shows the issues in a page of another application."), "", assets::embed_script).answers(200, Content::Text("text/javascript")),
    row(Get, "/assets/{file}", Anyone, ("pageAsset", "A script or style of the web page."), "", assets::file).answers(200, Content::Text("text/javascript")),
    row(Get, "/icon.svg", Anyone, ("pageIcon", "The web page's icon."), "", assets::icon).answers(200, Content::Text("image/svg+xml")),
    row(Get, "/healthz", Anyone, ("health", "The process answers."), "Health", operations::health),
    row(Get, "/readyz", Anyone, ("readiness", "The store can be read; 503 otherwise."), "Health", operations::readiness),
    row(Get, "/metrics", Anyone, ("metrics", "Metrics for Prometheus."), "", operations::metrics).answers(200, Content::Text("text/plain")),
    row(Get, "/api/v1/openapi.json", Anyone, ("openapi", "This document."), "", operations::openapi).answers(200, Content::Json),

    row(Post, "/api/v1/session", Anyone, ("logIn", "Logs in by password (or by token in its place) and sets the session cookie. 429 after repeated failures."), "Session", session::log_in).takes("LogInRequest"),
    row(Get, "/api/v1/session", Anyone, ("whoAmI", "Who is logged in; 401 when nobody is."), "Session", session::who_am_i),
    row(Delete, "/api/v1/session", Anyone, ("logOut", "Logs out."), "", session::log_out).answers(204, Content::Nothing),

    row(Get, "/api/v1/session/options", Anyone, ("logInOptions", "How people log in, besides with name and password."), "LogInOptions", oidc::options),
    row(Get, "/api/v1/session/oidc", Anyone, ("logInElsewhere", "Sends the browser to the provider of identities. It comes back logged in, at `returnTo`."), "", oidc::begin).query(&[text("returnTo", "A path of this host to go on at.")]).answers(303, Content::Nothing),
    row(Get, "/api/v1/session/oidc/callback", Anyone, ("finishLogIn", "Where the provider sends the browser back to. Whoever is refused goes on at `/?login=…`."), "", oidc::finish).answers(303, Content::Nothing),

    row(Get, "/api/v1/issues", Reader, ("listIssues", "Issues, newest first unless the query says otherwise; users see their own. A page looks at a bounded number of issues and may be short or empty although `nextCursor` is there."), "IssuePage", issues::list).query(ISSUE_FILTER),
    row(Post, "/api/v1/issues", Reporter, ("reportIssue", "Reports something."), "Issue", issues::report).takes("ReportRequest").answers(201, Content::Schema("Issue")),
    row(Get, "/api/v1/issues/{issue}", Reader, ("getIssue", "One issue, by number or id."), "Issue", issues::get).query(&[INCLUDE]),
    row(Post, "/api/v1/issues/{issue}/comments", Reporter, ("comment", "Adds a comment."), "Comment", issues::comment).takes("CommentRequest").answers(201, Content::Schema("Comment")),
    row(Get, "/api/v1/issues/{issue}/events", Reader, ("listIssueEvents", "What happened to an issue, oldest first."), "EventPage", audit::issue_events).query(PAGE),
    row(Get, "/api/v1/issues/{issue}/commits", AdminOrAuditor, ("listIssueCommits", "The commits that an issue's attempts made on the live branch, with their trailers."), "IssueCommits", issues::commits),
    row(Get, "/api/v1/issues/{issue}/pack", AdminOrAuditor, ("getEvidencePack", "Everything that is on record about an issue in one archive, with a page for people and proofs that it is in the audit log."), "", pack::get).answers(200, Content::Bytes("application/zip")),
    row(Get, "/api/v1/issues/{issue}/stream", Reader, ("streamIssue", "What happened and happens to an issue, as server-sent events: records carry their position in the log as `id` and are complete and in order after `Last-Event-ID` (from the beginning without it); progress notes are `event: progress` without `id`."), "", streams::issue).query(LAST_EVENT).answers(200, Content::Text("text/event-stream")),
    row(Get, "/api/v1/stream", Reader, ("stream", "What happens to all issues the caller may see, as server-sent events, after `Last-Event-ID` (from now on without it)."), "", streams::all).query(LAST_EVENT).answers(200, Content::Text("text/event-stream")),

    row(Patch, "/api/v1/issues/{issue}/approve", Admin, ("approveIssue", "Lets an agent start."), "Issue", issues::approve).takes("EmptyRequest").within(Scope::Triage),
    row(Patch, "/api/v1/issues/{issue}/reject", Admin, ("rejectIssue", "Closes an open issue."), "Issue", issues::reject).takes("ReasonRequest").within(Scope::Triage),
    row(Patch, "/api/v1/issues/{issue}/priority", Admin, ("triageIssue", "Sets priority, severity, or both."), "Issue", issues::triage).takes("TriageRequest").within(Scope::Triage),
    row(Put, "/api/v1/issues/{issue}/snooze", Admin, ("snoozeIssue", "Puts an issue out of the way until a time, or until something happens to it."), "Issue", issues::snooze).takes("SnoozeRequest").within(Scope::Triage),
    row(Put, "/api/v1/issues/{issue}/related/{id}", Admin, ("relateIssue", "Relates two issues to each other; the other one by number or id."), "Issue", issues::relate).takes("EmptyRequest").within(Scope::Triage),
    row(Delete, "/api/v1/issues/{issue}/snooze", Admin, ("wakeIssue", "Ends a snooze."), "Issue", issues::wake).within(Scope::Triage),
    row(Post, "/api/v1/issues/{issue}/abort", Admin, ("abortIssue", "Stops the issue and undoes what was applied."), "Issue", issues::abort).takes("ReasonRequest").within(Scope::Triage),
    row(Post, "/api/v1/issues/{issue}/retry", Admin, ("retryIssue", "Starts another attempt, on request with the diagnosis or the patch of the last one; counts as a new approval."), "Issue", issues::retry).takes("RetryRequest").within(Scope::Triage),
    row(Get, "/api/v1/issues/{issue}/patch", Admin, ("getPatch", "The current patch with everything a review needs; 404 when there is none."), "PatchReview", patches::get),
    row(Patch, "/api/v1/issues/{issue}/patch/approve", Admin, ("approvePatch", "Approves exactly the patch with this digest."), "Issue", patches::approve).takes("PatchApprovalRequest").within(Scope::Triage),
    row(Patch, "/api/v1/issues/{issue}/patch/reject", Admin, ("rejectPatch", "Rejects the pending patch, for good or to have another one drafted."), "Issue", patches::reject).takes("PatchRejectionRequest").within(Scope::Triage),

    row(Get, "/api/v1/views", Reader, ("listViews", "Queries that the caller keeps under a name, and those that admins share."), "SavedViewPage", views::list).query(NAMED_PAGE),
    row(Put, "/api/v1/views/{name}", Reporter, ("saveView", "Keeps a query under a name, in the place of the caller's own of that name."), "SavedView", views::save).takes("SavedViewRequest").within(Scope::Report),
    row(Delete, "/api/v1/views/{name}", Reporter, ("forgetView", "Forgets a view."), "", views::forget).query(VIEW_OWNER).answers(204, Content::Nothing).within(Scope::Report),

    row(Get, AUTONOMY, Admin, ("getAutonomy", "Autonomy level, ceiling and freeze."), "Autonomy", operations::autonomy).locally(),
    row(Put, AUTONOMY, Admin, ("setAutonomy", "Sets the autonomy level, up to the ceiling."), "Autonomy", operations::set_autonomy).takes("AutonomyRequest").within(Scope::Operate),
    row(Get, "/api/v1/autonomy/preview", Admin, ("previewAutonomy", "What each level would have done with the patches of the last seven days: their recorded decisions, asked again of the policies in force. Changes nothing."), "AutonomyPreview", operations::preview_autonomy).locally(),
    row(Post, FREEZE, Admin, ("freeze", "Stops all healing."), "Autonomy", operations::freeze).takes("ReasonRequest").locally().within(Scope::Operate),
    row(Delete, FREEZE, Admin, ("unfreeze", "Lets healing go on."), "Autonomy", operations::unfreeze).takes("ReasonRequest").locally().within(Scope::Operate),
    row(Get, "/api/v1/services", Admin, ("listServices", "The application's services."), "ServicePage", services::list).query(NAMED_PAGE),
    row(Get, "/api/v1/services/{name}", Admin, ("getService", "One service with what it uses and how it was lately."), "ServiceDetails", services::get),
    row(Get, "/api/v1/services/{name}/logs", Admin, ("getServiceLog", "The end of its output, without secrets, at most 256 KiB."), "", services::log).answers(200, Content::Text("text/plain")),
    row(Post, "/api/v1/services/{name}/start", Admin, ("startService", "Starts a service and waits until it is ready."), "Service", services::start).takes("EmptyRequest").within(Scope::Operate),
    row(Post, "/api/v1/services/{name}/stop", Admin, ("stopService", "Stops a service; it stays down until somebody starts it."), "Service", services::stop).takes("EmptyRequest").within(Scope::Operate),
    row(Post, "/api/v1/services/{name}/restart", Admin, ("restartService", "Restarts a service and waits until it is ready."), "Service", services::restart).takes("EmptyRequest").within(Scope::Operate),
    row(Post, "/api/v1/services/{name}/reload", Admin, ("reloadService", "Has a service read its code and settings again, and waits until it is ready."), "Service", services::reload).takes("EmptyRequest").within(Scope::Operate),
    row(Get, "/api/v1/users", Admin, ("listUsers", "All accounts."), "UserPage", accounts::list).query(NAMED_PAGE),
    row(Post, "/api/v1/users", Admin, ("addUser", "Makes an account; its token is shown once."), "NewUser", accounts::add).takes("UserRequest").answers(201, Content::Schema("NewUser")),
    row(Put, "/api/v1/users/{name}/role", Admin, ("setUserRole", "Gives an account another role. Its sessions end, as with every change of an account. What lets somebody in as an admin needs, of a token, all scopes and no end, and with `four_eyes` the operator."), "User", accounts::set_role).takes("RoleRequest"),
    row(Put, "/api/v1/users/{name}/password", Admin, ("setUserPassword", "Gives somebody else's account another password. Whoever logs in at a provider of identities has none."), "User", accounts::set_password).takes("PasswordRequest"),
    row(Post, "/api/v1/users/{name}/disable", Admin, ("disableUser", "Lets nobody in by an account until it is enabled again: not by password, token, provider or proxy."), "User", accounts::disable).takes("EmptyRequest"),
    row(Post, "/api/v1/users/{name}/enable", Admin, ("enableUser", "Lets the owner of a disabled account in again."), "User", accounts::enable).takes("EmptyRequest"),
    row(Post, "/api/v1/users/{name}/close", Admin, ("closeUser", "Closes an account: its password, tokens and sessions are good for nothing from then on."), "User", accounts::close).takes("CloseRequest"),
    row(Get, "/api/v1/users/{name}/tokens", Admin, ("listTokensOf", "Somebody's tokens."), "TokenPage", tokens::list).query(NAMED_PAGE),
    row(Delete, "/api/v1/users/{name}/tokens/{token}", Admin, ("revokeTokenOf", "Takes one of somebody's tokens away."), "", tokens::revoke).answers(204, Content::Nothing),
    row(Put, "/api/v1/account/password", Reader, ("changePassword", "Another password for the caller, who gives the one so far. All sessions of the caller end; a caller by session gets a new one. 429 after repeated wrong ones."), "", session::change_password).takes("OwnPasswordRequest").answers(204, Content::Nothing).within(Scope::Accounts),
    row(Get, "/api/v1/tokens", Reader, ("listTokens", "The caller's own tokens."), "TokenPage", tokens::list).query(NAMED_PAGE),
    row(Post, "/api/v1/tokens", Reader, ("addToken", "Makes a token for the caller, which is shown once. One that is made by token may no more, and lives no longer, than that one."), "NewToken", tokens::add).takes("TokenRequest").answers(201, Content::Schema("NewToken")).within(Scope::Accounts),
    row(Delete, "/api/v1/tokens/{token}", Reader, ("revokeToken", "Takes one of the caller's tokens away. With the initial one, the caller's sessions end."), "", tokens::revoke).answers(204, Content::Nothing).within(Scope::Accounts),

    row(Get, "/api/v1/policies", AdminOrAuditor, ("listPolicies", "The active policy set: its modules and how each does, trial, proposals, grants, generations to go back to, and the proof that it is enforced."), "PolicySet", policies::get).locally(),
    row(Get, "/api/v1/policies/text", AdminOrAuditor, ("getPolicyText", "The `policy.toml` in force."), "", policies::text).answers(200, Content::Text("application/toml")).locally(),
    row(Get, "/api/v1/policies/enforcement", AdminOrAuditor, ("getEnforcement", "What the latest marker actions, which every enforcement point must refuse, came to."), "Enforcement", policies::enforcement).locally(),
    row(Post, "/api/v1/policies/modules", Admin, ("keepPolicyModule", "Keeps a module's bytes under their digest, so that a candidate can name it as `sha256:HEX`. `Selfheal-Signature` carries a detached signature in Base64. Brings nothing into force."), "KeptModule", policies::keep_module).takes_bytes("application/wasm", MAX_MODULE_BYTES).answers(201, Content::Schema("KeptModule")).locally().within(Scope::Policies),
    row(Post, "/api/v1/policies/plan", Admin, ("planPolicies", "What a candidate would have changed in the latest recorded decisions. Changes nothing."), "PolicyPlan", policies::plan).takes("PolicyPlanRequest").locally().within(Scope::Policies),
    row(Post, "/api/v1/policies/activate", Admin, ("activatePolicies", "Brings a candidate into force, on trial beside the set in force, or before a second admin."), "PolicyChange", policies::activate).takes("PolicyActivationRequest").locally().within(Scope::Policies),
    row(Post, "/api/v1/policies/proposals/{number}/confirm", Admin, ("confirmPolicyProposal", "Agrees to another admin's change."), "PolicyChange", policies::confirm).takes("EmptyRequest").locally().within(Scope::Policies),
    row(Delete, "/api/v1/policies/proposals/{number}", Admin, ("withdrawPolicyProposal", "Takes a proposal back."), "PolicySet", policies::withdraw).takes("ReasonRequest").locally().within(Scope::Policies),
    row(Post, "/api/v1/policies/trial/promote", Admin, ("promotePolicyTrial", "Brings the set on trial into force."), "PolicyChange", policies::promote).takes("ReasonRequest").locally().within(Scope::Policies),
    row(Post, "/api/v1/policies/trial/end", Admin, ("endPolicyTrial", "Ends the trial."), "PolicyChange", policies::stop_trial).takes("ReasonRequest").locally().within(Scope::Policies),
    row(Post, "/api/v1/policies/rollback", Admin, ("rollBackPolicies", "Goes back to a kept generation, as a new one."), "PolicyChange", policies::roll_back).takes("PolicyRollbackRequest").locally().within(Scope::Policies),
    row(Post, "/api/v1/policies/quarantine/{module}/release", Admin, ("releasePolicyModule", "Asks a quarantined module again."), "PolicySet", policies::release).takes("ReasonRequest").locally().within(Scope::Policies),
    row(Post, "/api/v1/policies/grants", Admin, ("grantPolicyRule", "Breaks the glass over a rule for at most four hours: what it asks or denies does not count."), "PolicyGrant", policies::grant).takes("PolicyGrantRequest").answers(201, Content::Schema("PolicyGrant")).locally().within(Scope::Policies),
    row(Delete, "/api/v1/policies/grants/{number}", Admin, ("revokePolicyGrant", "Ends a grant early."), "PolicySet", policies::revoke).takes("ReasonRequest").locally().within(Scope::Policies),
    row(Get, "/api/v1/decisions/{id}/explanation", AdminOrAuditor, ("explainDecision", "Which rule of which module decided and why, and what the set in force says to the same question now."), "Explanation", policies::explain).locally(),
    row(Post, "/api/v1/decisions/{id}/explanation", AdminOrAuditor, ("explainDecisionUnder", "The same under another set. Changes nothing."), "Explanation", policies::explain_under).takes("PolicyExplanationRequest").locally().within(Scope::Read),
    row(Get, "/api/v1/audit", AdminOrAuditor, ("listAudit", "The audit log, oldest first."), "AuditPage", audit::list).query(PAGE),
    row(Get, "/api/v1/audit/checkpoint", AdminOrAuditor, ("checkpoint", "The signed head of the audit log as it is now."), "Checkpoint", audit::checkpoint),
    row(Get, "/api/v1/audit/proof/{index}", AdminOrAuditor, ("proveRecord", "Proof that a record is in the audit log, under its signed head."), "InclusionProof", audit::proof),
    row(Get, "/api/v1/audit/tlog/checkpoint", AdminOrAuditor, ("tlogCheckpoint", "The signed head alone (C2SP tlog-checkpoint). `/api/v1/audit/tlog` is the prefix of the log for tools that speak C2SP tlog-tiles."), "", audit::tlog_checkpoint).answers(200, Content::Text("text/plain")),
    row(Get, "/api/v1/audit/tlog/tile/{*tile}", AdminOrAuditor, ("tlogTile", "A tile or an entry bundle, full or partial (C2SP tlog-tiles), as in `0/x001/067.p/8` and `entries/000`. The entry of a record is its hash."), "", audit::tlog_tile).answers(200, Content::Bytes("application/octet-stream")),
    row(Get, "/api/v1/decisions", AdminOrAuditor, ("listDecisions", "Decisions of one kind, on tool calls unless said otherwise. A page looks at a bounded part of the log and may be short or empty although `nextCursor` is there."), "DecisionPage", audit::decisions).query(DECISION_FILTER),
    row(Get, "/api/v1/decisions/{id}", AdminOrAuditor, ("getDecision", "One decision, on a tool call by id, any by position in the log, with the facts it was made on and its outcome."), "Decision", audit::decision),

    row(Post, "/api/v1/hook/claude-code", Hook, ("hookClaudeCode", "A hook event of Claude Code, answered in its format. Always 200: what cannot be understood, judged or recorded is an explicit denial. Unknown fields are accepted."), "", hook::claude_code).takes("HookRequest").asked_by(ExternalAgent::ClaudeCode).answers(200, Content::Json).locally(),
    row(Post, "/api/v1/hook/codex", Hook, ("hookCodex", "The same for Codex, which cannot ask: what needs a person is denied."), "", hook::codex).takes("HookRequest").asked_by(ExternalAgent::Codex).answers(200, Content::Json).locally(),
    row(Post, "/api/v1/hook/gemini", Hook, ("hookGemini", "The same for Gemini CLI."), "", hook::gemini).takes("HookRequest").asked_by(ExternalAgent::Gemini).answers(200, Content::Json).locally(),
];

/// Routes of the operator's local socket alone (those of [`ROUTES`] that are marked
/// for it are on it too), whose file permissions are the
/// authentication.
#[rustfmt::skip]
pub static CONTROL_ROUTES: &[Route] = &[
    row(Post, "/users", Admin, ("addUser", "Makes an account; its token is shown once."), "NewUser", accounts::add).takes("UserRequest").answers(201, Content::Schema("NewUser")),
    row(Get, "/users", Admin, ("listUsers", "All accounts."), "UserPage", accounts::list).query(NAMED_PAGE),
    row(Put, "/users/{name}/role", Admin, ("setUserRole", "Gives an account another role."), "User", accounts::set_role).takes("RoleRequest"),
    row(Put, "/users/{name}/password", Admin, ("setUserPassword", "Gives an account another password."), "User", accounts::set_password).takes("PasswordRequest"),
    row(Post, "/users/{name}/disable", Admin, ("disableUser", "Lets nobody in by an account for now."), "User", accounts::disable).takes("EmptyRequest"),
    row(Post, "/users/{name}/enable", Admin, ("enableUser", "Lets its owner in again."), "User", accounts::enable).takes("EmptyRequest"),
    row(Post, "/users/{name}/close", Admin, ("closeUser", "Closes an account: nobody can use it any more."), "User", accounts::close).takes("CloseRequest"),
    row(Get, "/users/{name}/tokens", Admin, ("listTokensOf", "Somebody's tokens."), "TokenPage", tokens::list).query(NAMED_PAGE),
    row(Post, "/users/{name}/tokens", Admin, ("addTokenOf", "Makes a token for somebody, which is shown once."), "NewToken", tokens::add).takes("TokenRequest").answers(201, Content::Schema("NewToken")),
    row(Delete, "/users/{name}/tokens/{token}", Admin, ("revokeTokenOf", "Takes one of somebody's tokens away."), "", tokens::revoke).answers(204, Content::Nothing),
    row(Get, "/status", Admin, ("status", "How the host stands."), "Status", operations::status),
];

/// The network's router.
pub fn router(state: ApiState) -> Router {
    assemble(&state.0, ROUTES.iter(), Door::Network)
}

/// The router of the operator's local socket: put it behind a Unix socket of mode
/// 0600, never on the network. It acts as the operator.
pub fn control_router(state: ApiState) -> Router {
    let both = ROUTES.iter().filter(|route| route.local);
    assemble(&state.0, CONTROL_ROUTES.iter().chain(both), Door::Socket)
}

fn assemble(
    shared: &Arc<Shared>,
    table: impl Iterator<Item = &'static Route>,
    door: Door,
) -> Router {
    let mut paths: BTreeMap<&str, Vec<&'static Route>> = BTreeMap::new();
    for route in table {
        paths.entry(route.path).or_default().push(route);
    }
    let mut router = Router::new();
    for (path, rows) in paths {
        let (shared, rows) = (Arc::clone(shared), Arc::from(rows));
        let pass = move |request: Request| {
            gate::pass(Arc::clone(&shared), Arc::clone(&rows), door, request)
        };
        router = router.route(path, any(pass));
    }
    let shared = Arc::clone(shared);
    let finish = move |response: Response<Body>| {
        let response = gate::finish(&shared, response);
        std::future::ready(response)
    };
    router
        .fallback(gate::nowhere)
        .layer(axum::middleware::map_response(finish))
}
