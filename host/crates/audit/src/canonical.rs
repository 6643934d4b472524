//! The bytes of a record.
//!
//! ```text
//! schema u16 | seq u64 | micros i64 | actor u8 [len u32, name] | issue u8 [u64]
//! | len u32, type | len u32, payload | previous [u8; 32]
//! ```
//!
//! All integers big endian. `payload` is the JSON of the event's data exactly as
//! it is stored: it is never parsed and printed again, so its hash cannot depend
//! on a JSON library. On disk the 32 bytes of the hash follow.

use crate::personal::{self, Subjects};
use chrono::{DateTime, SecondsFormat, Utc};
use selfheal_domain::digest::Digest;
use selfheal_domain::event::{Event, Record};
use selfheal_domain::ids::IssueNumber;
use selfheal_domain::user::{Actor, UserName};
use serde_json::{Map, Value};

/// Versions of the layout; the first two bytes of every record.
const PLAIN: u16 = 1;
/// The newest version: with encrypted personal data.
pub const SCHEMA: u16 = 2;

const HASH_BYTES: usize = 32;

/// Kinds of actors.
const USER: u8 = 1;
const AGENT: u8 = 2;
const HOST: u8 = 3;
const OPERATOR: u8 = 4;
const SEALED: u8 = 5;
/// Their names, as in [`Actor`]'s JSON.
const KINDS: [(u8, &str); 5] = [
    (USER, "user"),
    (AGENT, "agent"),
    (HOST, "host"),
    (OPERATOR, "operator"),
    (SEALED, "sealed"),
];

/// An event as a record holds it: its name and the JSON of its data.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StoredEvent {
    /// Name on the wire, as in `issue.opened`.
    pub name: String,
    /// JSON of its data; empty when it has none.
    pub payload: Vec<u8>,
    /// The record holds encrypted personal data.
    pub sealed: bool,
}

/// Who caused an event, as a record holds it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum StoredActor {
    /// By name.
    Known(Actor),
    /// A user, whose name is encrypted.
    Sealed(String),
}

impl From<Actor> for StoredActor {
    fn from(actor: Actor) -> Self {
        Self::Known(actor)
    }
}

impl StoredEvent {
    /// The event as stored, after `mask` had its way with the data.
    ///
    /// # Errors
    /// The event has no JSON form that reads back (a `NaN`, for example).
    pub fn of(event: &Event, mask: impl FnOnce(&str, &mut Value)) -> Result<Self, EntryError> {
        let mut value = serde_json::to_value(event).map_err(EntryError::Event)?;
        let Some(Value::String(name)) = value.get_mut("type").map(Value::take) else {
            return Err(EntryError::Layout("the event has no name"));
        };
        let payload = match value.get_mut("data").map(Value::take) {
            None => Vec::new(),
            Some(mut data) => {
                mask(&name, &mut data);
                serde_json::to_vec(&data).map_err(EntryError::Event)?
            }
        };
        Ok(Self {
            name,
            payload,
            sealed: false,
        })
    }

    /// The opening of an issue under this number, which was not known before.
    ///
    /// # Errors
    /// The payload is no object.
    pub fn numbered(mut self, number: IssueNumber) -> Result<Self, EntryError> {
        let data = serde_json::from_slice(&self.payload);
        let mut data: Map<String, Value> = data.map_err(EntryError::Event)?;
        data.insert("number".to_owned(), number.0.into());
        self.payload = serde_json::to_vec(&data).map_err(EntryError::Event)?;
        Ok(self)
    }

    /// The event.
    ///
    /// # Errors
    /// The payload is not the data of an event of that name.
    pub fn event(&self) -> Result<Event, EntryError> {
        let mut json = Vec::with_capacity(self.payload.len() + self.name.len() + 20);
        json.extend_from_slice(b"{\"type\":");
        serde_json::to_writer(&mut json, &self.name).map_err(EntryError::Event)?;
        if !self.payload.is_empty() {
            json.extend_from_slice(b",\"data\":");
            json.extend_from_slice(&self.payload);
        }
        json.push(b'}');
        serde_json::from_slice(&json).map_err(EntryError::Event)
    }
}

/// A record before it is sealed by its hash.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// Position in the log, from 0.
    pub seq: u64,
    /// When; microseconds are kept, finer parts are not.
    pub at: DateTime<Utc>,
    /// Who.
    pub actor: StoredActor,
    /// Which issue, if one.
    pub issue: Option<IssueNumber>,
    /// What.
    pub event: StoredEvent,
    /// Hash of the record before; zeros for the first.
    pub previous: Digest,
}

/// A record's bytes with its hash.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Sealed {
    /// Canonical bytes, then the 32 bytes of the hash.
    pub stored: Vec<u8>,
    /// SHA-256 of the canonical bytes.
    pub hash: Digest,
}

/// The bytes are no record, or the event no stored event.
#[derive(Debug, thiserror::Error)]
pub enum EntryError {
    /// Written by a newer (or no) Selfheal.
    #[error("the record has layout version {0}; this program reads version {SCHEMA}")]
    Schema(u16),
    /// The bytes do not follow the layout.
    #[error("the record's bytes are malformed: {0}")]
    Layout(&'static str),
    /// The event's JSON does not fit.
    #[error("the event's JSON does not fit its type")]
    Event(#[source] serde_json::Error),
}

impl Entry {
    /// The one byte string of this record.
    pub fn canonical(&self) -> Vec<u8> {
        self.view().canonical()
    }

    fn view(&self) -> EntryView<'_> {
        let sealed = self.event.sealed || matches!(self.actor, StoredActor::Sealed(_));
        EntryView {
            schema: if sealed { SCHEMA } else { PLAIN },
            seq: self.seq,
            micros: self.at.timestamp_micros(),
            actor: match &self.actor {
                StoredActor::Known(Actor::User(name)) => (USER, name.as_str()),
                StoredActor::Known(Actor::Agent(name)) => (AGENT, name),
                StoredActor::Known(Actor::Host) => (HOST, ""),
                StoredActor::Known(Actor::Operator) => (OPERATOR, ""),
                StoredActor::Sealed(token) => (SEALED, token),
            },
            issue: self.issue,
            name: &self.event.name,
            payload: &self.event.payload,
            previous: self.previous,
        }
    }

    /// The record with its hash.
    pub fn seal(&self) -> Sealed {
        let mut stored = self.canonical();
        let hash = Digest::of(&stored);
        stored.extend_from_slice(&hash.0);
        Sealed { stored, hash }
    }

    /// Splits stored bytes into the canonical bytes and the hash that follows them.
    ///
    /// # Errors
    /// There are too few bytes.
    pub fn split(stored: &[u8]) -> Result<(&[u8], Digest), EntryError> {
        let end = stored
            .len()
            .checked_sub(HASH_BYTES)
            .ok_or(EntryError::Layout("it is too short"))?;
        let (canonical, hash) = stored
            .split_at_checked(end)
            .ok_or(EntryError::Layout("it is too short"))?;
        let hash = hash
            .try_into()
            .map_err(|_| EntryError::Layout("it is too short"))?;
        Ok((canonical, Digest(hash)))
    }

    /// Reads canonical bytes. Strict: only what [`Entry::canonical`] writes is read.
    ///
    /// # Errors
    /// See [`EntryError`].
    pub fn parse(canonical: &[u8]) -> Result<Self, EntryError> {
        EntryView::parse(canonical)?.to_entry()
    }

    /// The record as the domain knows it, under `hash`; personal data as far as
    /// `subjects` has the keys.
    ///
    /// # Errors
    /// The payload does not fit the event's name.
    pub fn record(&self, hash: Digest, subjects: &dyn Subjects) -> Result<Record, EntryError> {
        let actor = match &self.actor {
            StoredActor::Known(actor) => actor.clone(),
            StoredActor::Sealed(token) => Actor::User(
                UserName::try_from(personal::open_actor(token, subjects))
                    .map_err(|_| EntryError::Layout("its actor is no user name"))?,
            ),
        };
        let event = if self.event.sealed && !self.event.payload.is_empty() {
            personal::open_event(&self.event, subjects)?.event()?
        } else {
            self.event.event()?
        };
        Ok(Record {
            seq: self.seq,
            at: self.at,
            actor,
            issue: self.issue,
            event,
            previous: self.previous,
            hash,
        })
    }
}

/// A record's bytes, taken apart where they lie.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct EntryView<'a> {
    schema: u16,
    /// Position in the log, from 0.
    pub seq: u64,
    micros: i64,
    actor: (u8, &'a str),
    issue: Option<IssueNumber>,
    /// The event's name.
    pub name: &'a str,
    payload: &'a [u8],
    /// Hash of the record before; zeros for the first.
    pub previous: Digest,
}

impl<'a> EntryView<'a> {
    /// Takes canonical bytes apart.
    ///
    /// # Errors
    /// See [`EntryError`].
    pub fn parse(canonical: &'a [u8]) -> Result<Self, EntryError> {
        let mut rest = Bytes(canonical);
        let schema = u16::from_be_bytes(rest.array()?);
        if !matches!(schema, PLAIN | SCHEMA) {
            return Err(EntryError::Schema(schema));
        }
        let seq = u64::from_be_bytes(rest.array()?);
        let micros = i64::from_be_bytes(rest.array()?);
        let actor = match rest.byte()? {
            kind @ (USER | AGENT) => (kind, rest.text()?),
            SEALED if schema == SCHEMA => (SEALED, rest.text()?),
            kind @ (HOST | OPERATOR) => (kind, ""),
            _ => return Err(EntryError::Layout("its actor is of no known kind")),
        };
        let issue = match rest.byte()? {
            0 => None,
            1 => Some(IssueNumber(u64::from_be_bytes(rest.array()?))),
            _ => return Err(EntryError::Layout("its issue mark is neither 0 nor 1")),
        };
        let name = rest.text()?;
        let payload = rest.prefixed()?;
        let previous = Digest(rest.array()?);
        if !rest.0.is_empty() {
            return Err(EntryError::Layout("bytes follow its end"));
        }
        Ok(Self {
            schema,
            seq,
            micros,
            actor,
            issue,
            name,
            payload,
            previous,
        })
    }

    /// The one byte string of the record.
    pub fn canonical(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(128 + self.payload.len());
        out.extend_from_slice(&self.schema.to_be_bytes());
        out.extend_from_slice(&self.seq.to_be_bytes());
        out.extend_from_slice(&self.micros.to_be_bytes());
        let (kind, name) = self.actor;
        out.push(kind);
        if matches!(kind, USER | AGENT | SEALED) {
            put(&mut out, name.as_bytes());
        }
        match self.issue {
            None => out.push(0),
            Some(number) => {
                out.push(1);
                out.extend_from_slice(&number.0.to_be_bytes());
            }
        }
        put(&mut out, self.name.as_bytes());
        put(&mut out, self.payload);
        out.extend_from_slice(&self.previous.0);
        out
    }

    /// The JSON of the event's data; empty when it has none.
    pub(crate) fn payload(&self) -> &'a [u8] {
        self.payload
    }

    /// The first fields of the record's line in an export, without the closing brace.
    pub(crate) fn envelope(&self) -> Result<String, EntryError> {
        let at = DateTime::from_timestamp_micros(self.micros)
            .ok_or(EntryError::Layout("its time is out of range"))?
            .to_rfc3339_opts(SecondsFormat::Micros, true);
        let (kind, name) = self.actor;
        let (_, kind) = KINDS
            .iter()
            .find(|(mark, _)| *mark == kind)
            .ok_or(EntryError::Layout("its actor is of no known kind"))?;
        let name = match *kind {
            "user" | "agent" | "sealed" => format!(",\"name\":{}", Value::from(name)),
            _ => String::new(),
        };
        let issue = self
            .issue
            .map_or_else(|| "null".to_owned(), |number| number.to_string());
        Ok(format!(
            "{{\"schema\":{},\"seq\":{},\"at\":\"{at}\",\"actor\":{{\"kind\":\"{kind}\"{name}}},\"issue\":{issue}",
            self.schema, self.seq
        ))
    }

    /// The record that the fields of [`EntryView::envelope`] tell; none where one is
    /// missing or malformed.
    pub(crate) fn of_envelope(
        fields: &'a Value,
        name: &'a str,
        payload: &'a [u8],
        previous: Digest,
    ) -> Option<Self> {
        let number = |name: &str| fields.get(name).and_then(Value::as_u64);
        let schema = u16::try_from(number("schema")?).ok()?;
        let at = DateTime::parse_from_rfc3339(fields.get("at")?.as_str()?).ok()?;
        let actor = fields.get("actor")?;
        let kind = actor.get("kind")?.as_str()?;
        let (mark, _) = KINDS.iter().find(|(_, known)| *known == kind)?;
        Some(Self {
            schema,
            seq: number("seq")?,
            micros: at.timestamp_micros(),
            actor: (
                *mark,
                actor
                    .get("name")
                    .and_then(Value::as_str)
                    .unwrap_or_default(),
            ),
            issue: match fields.get("issue")? {
                Value::Null => None,
                number => Some(IssueNumber(number.as_u64()?)),
            },
            name,
            payload,
            previous,
        })
    }

    /// The record.
    ///
    /// # Errors
    /// Its time or its actor is impossible.
    pub fn to_entry(&self) -> Result<Entry, EntryError> {
        let (kind, name) = self.actor;
        let actor = match kind {
            USER => {
                let name = UserName::new(name)
                    .map_err(|_| EntryError::Layout("its actor is no user name"))?;
                Actor::User(name).into()
            }
            AGENT => Actor::Agent(name.to_owned()).into(),
            HOST => Actor::Host.into(),
            SEALED => StoredActor::Sealed(name.to_owned()),
            _ => Actor::Operator.into(),
        };
        Ok(Entry {
            seq: self.seq,
            at: DateTime::from_timestamp_micros(self.micros)
                .ok_or(EntryError::Layout("its time is out of range"))?,
            actor,
            issue: self.issue,
            event: StoredEvent {
                name: self.name.to_owned(),
                payload: self.payload.to_vec(),
                sealed: self.schema == SCHEMA,
            },
            previous: self.previous,
        })
    }
}

fn put(out: &mut Vec<u8>, bytes: &[u8]) {
    // A record is refused long before 4 GiB; saturating keeps this total.
    let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(bytes);
}

struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], EntryError> {
        let (taken, rest) = self
            .0
            .split_at_checked(count)
            .ok_or(EntryError::Layout("it ends too early"))?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], EntryError> {
        self.take(N)?
            .try_into()
            .map_err(|_| EntryError::Layout("it ends too early"))
    }

    fn byte(&mut self) -> Result<u8, EntryError> {
        self.array::<1>().map(|[byte]| byte)
    }

    fn prefixed(&mut self) -> Result<&'a [u8], EntryError> {
        let length = u32::from_be_bytes(self.array()?);
        self.take(usize::try_from(length).map_err(|_| EntryError::Layout("it is too long"))?)
    }

    fn text(&mut self) -> Result<&'a str, EntryError> {
        std::str::from_utf8(self.prefixed()?)
            .map_err(|_| EntryError::Layout("a text in it is not UTF-8"))
    }
}
