//! What every request shares.

use crate::call::{Credential, Visitor};
use crate::handlers::oidc::Finished;
use crate::idempotency::Answers;
use crate::limits::{Lockout, RateLimit};
use crate::problem::Problem;
use crate::proxy::ProxyOptions;
use crate::sessions::{SecureCookies, Sessions};
use axum::http::StatusCode;
use chrono::{DateTime, TimeDelta, Utc};
use selfheal_domain::event::Event;
use selfheal_domain::ids::IssueNumber;
use selfheal_domain::ports::EventStore;
use selfheal_domain::sign_in::SignIn;
use selfheal_domain::token::token_id;
use selfheal_domain::user::{Account, Actor, Role, UserName};
use selfheal_pipeline::desk::IssueDesk;
use selfheal_pipeline::feed::{Feed, FeedItem};
use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::{broadcast, watch};

/// Items that a slow stream may lag behind before it reads the log again.
const FEED_LAG: usize = 512;

/// A provider of identities.
#[derive(Clone, Debug)]
pub struct SignInOptions {
    /// The provider.
    pub provider: Arc<dyn SignIn>,
    /// What the log-in page calls it.
    pub label: String,
    /// Role of accounts that are made for people who have none; they are refused without.
    pub newcomers: Option<Role>,
}

/// How often the use of a token is put on record.
const USE_RECORDED_EVERY: TimeDelta = TimeDelta::days(1);

/// What operators configure about the edge.
#[derive(Clone, Debug)]
pub struct ApiOptions {
    /// Origins besides the host's own that a browser may act from, as in
    /// `https://heal.example.org`. Needed behind a proxy that rewrites `Host`.
    pub allowed_origins: Vec<String>,
    /// Origins of applications whose pages may show the issues in a frame, as
    /// `<selfheal-issues>` does. No other page of this host can be framed.
    pub embed_in: Vec<String>,
    /// Whether session cookies are `Secure`.
    pub secure_cookies: SecureCookies,
    /// Proxies that are believed, and what.
    pub proxy: ProxyOptions,
    /// The provider of identities that people may log in at.
    pub sign_in: Option<SignInOptions>,
    /// How long browsers shall come over TLS only (`Strict-Transport-Security`); nothing
    /// is said about it where this is zero.
    pub hsts: Duration,
    /// How long a log-in lasts.
    pub session_ttl: Duration,
    /// Requests per minute and user; as many at once.
    pub user_per_minute: u32,
    /// Requests per minute and source address; as many at once.
    pub source_per_minute: u32,
    /// Reports per minute and user of role `user`; as many at once.
    pub reports_per_minute: u32,
    /// Largest request body, in bytes.
    pub max_body_bytes: usize,
    /// How long an event waits for a reader before its stream is closed. Readers come back
    /// with the last id they saw.
    pub stream_patience: Duration,
    /// Version of the host, for `openapi.json` and `/healthz`.
    pub version: String,
}

impl Default for ApiOptions {
    fn default() -> Self {
        Self {
            allowed_origins: Vec::new(),
            embed_in: Vec::new(),
            secure_cookies: SecureCookies::No,
            proxy: ProxyOptions::default(),
            sign_in: None,
            hsts: Duration::ZERO,
            session_ttl: Duration::from_secs(12 * 3600),
            user_per_minute: 1_200,
            source_per_minute: 3_000,
            reports_per_minute: 60,
            max_body_bytes: 1024 * 1024,
            stream_patience: Duration::from_secs(30),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        }
    }
}

/// Something happened; streams look at the log again.
#[derive(Clone, Debug)]
pub(crate) enum Wake {
    Record(Option<IssueNumber>),
    Progress(IssueNumber, Arc<str>),
}

pub(crate) struct Shared {
    pub(crate) desk: IssueDesk,
    pub(crate) options: ApiOptions,
    pub(crate) sessions: Sessions,
    pub(crate) lockout: Lockout,
    pub(crate) answers: Answers,
    pub(crate) by_user: RateLimit<UserName>,
    pub(crate) by_source: RateLimit<IpAddr>,
    pub(crate) reports: RateLimit<UserName>,
    pub(crate) wakes: broadcast::Sender<Wake>,
    pub(crate) streams: Mutex<HashMap<UserName, usize>>,
    closing: watch::Sender<bool>,
    /// When each token, by id, was used last, since the host started.
    used: Mutex<HashMap<String, DateTime<Utc>>>,
    /// Until when whom a proxy names counts as logged in on record.
    introduced: Mutex<HashMap<UserName, Instant>>,
    pub(crate) finished: Finished,
    answered: Mutex<BTreeMap<u16, u64>>,
}

/// Everything the routes work with. Cheap to clone.
#[derive(Clone)]
pub struct ApiState(pub(crate) Arc<Shared>);

impl ApiState {
    /// The state of one edge in front of `desk`; `feed` is the one that the desk's
    /// healer publishes to. Subscribes to it for good: make one state per host.
    pub fn new(desk: IssueDesk, feed: &Arc<Feed>, options: ApiOptions) -> Self {
        let (wakes, _) = broadcast::channel(FEED_LAG);
        let (closing, _) = watch::channel(false);
        let waker = wakes.clone();
        feed.subscribe(move |item| {
            // Fails only when nobody listens.
            let _ = waker.send(match item {
                FeedItem::Record(record) => Wake::Record(record.issue),
                FeedItem::Progress { issue, note } => Wake::Progress(*issue, note.as_str().into()),
            });
        });
        Self(Arc::new(Shared {
            sessions: Sessions::new(options.session_ttl),
            by_user: RateLimit::per_minute(options.user_per_minute),
            by_source: RateLimit::per_minute(options.source_per_minute),
            reports: RateLimit::per_minute(options.reports_per_minute),
            desk,
            options,
            lockout: Lockout::default(),
            answers: Answers::default(),
            wakes,
            streams: Mutex::default(),
            closing,
            used: Mutex::default(),
            introduced: Mutex::default(),
            finished: Finished::default(),
            answered: Mutex::default(),
        }))
    }

    /// Ends all open streams, so that a server can stop in order.
    pub fn close_streams(&self) {
        self.0.closing.send_replace(true);
    }
}

impl Shared {
    pub(crate) fn closing(&self) -> watch::Receiver<bool> {
        self.closing.subscribe()
    }

    pub(crate) fn store(&self) -> &Arc<dyn EventStore> {
        self.desk.healer().ledger().store()
    }

    /// All accounts as of now; the store keeps them at hand.
    pub(crate) fn accounts(&self) -> Result<Arc<Vec<Account>>, Problem> {
        Ok(self.desk.accounts()?)
    }

    /// A token was used: remembered exactly as long as the host runs and, for those with
    /// scopes of their own, recorded once a day.
    pub(crate) fn note_use(&self, visitor: &Visitor) {
        let Credential::Token(digest) = visitor.credential else {
            return;
        };
        let digest = hex::encode(digest);
        let (id, now) = (token_id(&digest).to_owned(), self.desk.now());
        let before = self.used().insert(id.clone(), now);
        let Some(token) = &visitor.token else {
            return;
        };
        let recent = |at: DateTime<Utc>| now.signed_duration_since(at) < USE_RECORDED_EVERY;
        // Whoever else came at the same time finds it noted in memory.
        if token.last_used.is_some_and(recent) || before.is_some_and(recent) {
            return;
        }
        let name = visitor.caller.name.clone();
        let event = Event::TokenUsed {
            name: name.clone(),
            id,
        };
        // What the token is used for is recorded by itself, or is not done.
        if let Err(error) = self.desk.record_session(Actor::User(name), event) {
            tracing::warn!(%error, "the use of a token could not be recorded");
        }
    }

    /// Records that a proxy logged somebody in: once for as long as a session lasts.
    pub(crate) fn introduce(&self, name: &UserName) -> Result<(), Problem> {
        let now = Instant::now();
        let introduced = || {
            self.introduced
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
        };
        if introduced().get(name).is_some_and(|until| *until > now) {
            return Ok(());
        }
        let opened = Event::SessionOpened { name: name.clone() };
        self.desk
            .record_session(Actor::User(name.clone()), opened)?;
        introduced().insert(name.clone(), now + self.options.session_ttl);
        Ok(())
    }

    /// When the token with this id was used last, since the host started.
    pub(crate) fn last_used(&self, id: &str) -> Option<DateTime<Utc>> {
        self.used().get(id).copied()
    }

    fn used(&self) -> MutexGuard<'_, HashMap<String, DateTime<Utc>>> {
        self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn count(&self, status: StatusCode) {
        let mut answered = self.answered.lock().unwrap_or_else(PoisonError::into_inner);
        *answered.entry(status.as_u16()).or_default() += 1;
    }

    pub(crate) fn answered(&self) -> BTreeMap<u16, u64> {
        self.answered
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}
