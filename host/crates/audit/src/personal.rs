//! Personal data in records: encrypted for the person it is about, so that it can be
//! erased by destroying a key while the chain over the ciphertext still verifies.
//!
//! Personal are the names of users, wherever a record holds one, what they call their
//! tokens, the text of comments that users wrote, the texts of what they reported, and the
//! queries that they keep. What others make of these is
//! not: the reason an admin gives, what an agent finds, calls and asks, what policies were
//! asked, and commits, which name people by pseudonym only, but have the title of the
//! issue as their subject.
//!
//! An encrypted text is `sealed:1:SUBJECT:BASE64`: the pseudonym of the person, then
//! nonce, ciphertext and tag of ChaCha20-Poly1305 (RFC 8439), bound to the event's
//! name, the field and the pseudonym.

use crate::canonical::{EntryError, StoredActor, StoredEvent};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use selfheal_domain::user::{Actor, ERASED, UserName};
use serde_json::{Map, Value};
use std::sync::Arc;

const PREFIX: &str = "sealed:1:";
/// Stands for an event where the actor of a record is sealed.
const ACTOR: &str = "actor";

/// The key of one person.
pub struct SubjectKey {
    id: String,
    key: LessSafeKey,
}

impl SubjectKey {
    /// The key `secret` of the person with the pseudonym `id`; none when `id` holds
    /// anything but letters, digits and `-`.
    pub fn new(id: &str, secret: &[u8; 32]) -> Option<Self> {
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '-';
        let key = UnboundKey::new(&CHACHA20_POLY1305, secret).ok()?;
        (!id.is_empty() && id.chars().all(plain)).then(|| Self {
            id: id.to_owned(),
            key: LessSafeKey::new(key),
        })
    }

    /// The pseudonym.
    pub fn id(&self) -> &str {
        &self.id
    }

    fn context(&self, event: &str, field: &str) -> Aad<Vec<u8>> {
        Aad::from([event, field, &self.id].join("\0").into_bytes())
    }

    fn seal(
        &self,
        nonce: [u8; NONCE_LEN],
        event: &str,
        field: &str,
        text: &str,
    ) -> Result<String, SealError> {
        let mut sealed = text.as_bytes().to_vec();
        let key_nonce = Nonce::assume_unique_for_key(nonce);
        self.key
            .seal_in_place_append_tag(key_nonce, self.context(event, field), &mut sealed)
            .map_err(|_| SealError::Cipher)?;
        let bytes = [nonce.as_slice(), &sealed].concat();
        let encoded = STANDARD_NO_PAD.encode(bytes);
        Ok(format!("{PREFIX}{}:{encoded}", self.id))
    }

    fn open(&self, event: &str, field: &str, sealed: &str) -> Option<String> {
        let bytes = STANDARD_NO_PAD.decode(sealed).ok()?;
        let (nonce, sealed) = bytes.split_first_chunk::<NONCE_LEN>()?;
        let mut sealed = sealed.to_vec();
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let text = self
            .key
            .open_in_place(nonce, self.context(event, field), &mut sealed)
            .ok()?;
        String::from_utf8(text.to_vec()).ok()
    }
}

impl std::fmt::Debug for SubjectKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("SubjectKey").field(&self.id).finish()
    }
}

/// Where the keys of people are kept.
pub trait Subjects {
    /// The key of the person with this user name. Where there is none yet it is made,
    /// durably, if `make` says so.
    ///
    /// # Errors
    /// It cannot be made.
    fn of_name(&self, name: &str, make: bool) -> Result<Option<Arc<SubjectKey>>, SealError>;

    /// The key of the person with this pseudonym; none when it was destroyed, or is
    /// not here.
    fn of_id(&self, id: &str) -> Option<Arc<SubjectKey>>;

    /// Random bytes that were never handed out before.
    ///
    /// # Errors
    /// The machine gives none.
    fn nonce(&self) -> Result<[u8; NONCE_LEN], SealError>;
}

/// Personal data cannot be encrypted, so it must not be recorded.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// The key could not be made.
    #[error("a key for personal data cannot be kept")]
    Key(#[source] std::io::Error),
    /// The machine gives no random numbers.
    #[error("the machine gives no random numbers: {0}")]
    Random(String),
    /// The cipher refused.
    #[error("personal data cannot be encrypted")]
    Cipher,
    /// The event has no JSON form.
    #[error(transparent)]
    Event(#[from] EntryError),
}

/// A personal text on its way in or out.
struct Field<'a> {
    name: &'static str,
    text: &'a mut String,
    /// User name of the person it is about, where the texts are plain.
    subject: String,
    /// A key is made for whoever has none.
    make: bool,
}

/// The texts of a report.
const REPORTED: [&str; 5] = [
    "title",
    "description",
    "steps_to_reproduce",
    "expected_behavior",
    "actual_behavior",
];

/// Calls `visit` with each text of a report that a user made.
fn report<E>(
    fields: &mut Map<String, Value>,
    visit: &mut impl FnMut(Field<'_>) -> Result<(), E>,
) -> Result<(), E> {
    let by = fields.get("reported_by");
    let by = by.filter(|by| by.get("kind") == Some(&Value::from("user")));
    let name = by.and_then(|by| by.get("name")).and_then(Value::as_str);
    let Some(subject) = name.map(str::to_owned) else {
        return Ok(());
    };
    let Some(Value::Object(report)) = fields.get_mut("report") else {
        return Ok(());
    };
    for name in REPORTED {
        if let Some(Value::String(text)) = report.get_mut(name) {
            visit(Field {
                name,
                text,
                subject: subject.clone(),
                make: true,
            })?;
        }
    }
    Ok(())
}

/// Calls `visit` with each personal text of an event.
fn walk<E>(
    event: &str,
    data: &mut Value,
    visit: &mut impl FnMut(Field<'_>) -> Result<(), E>,
) -> Result<(), E> {
    let Value::Object(fields) = data else {
        return Ok(());
    };
    if event == "issue.opened" {
        report(fields, visit)?;
    }
    let is = |name: &str, values: &[&str]| {
        let found = fields.get(name).and_then(Value::as_str);
        found.is_some_and(|found| values.contains(&found))
    };
    let (names, subject, make): (&[&'static str], _, _) = match event {
        "issue.commented" if is("role", &["USER", "ADMIN"]) => {
            (&["author", "content"], "author", true)
        }
        "issue.approved" | "issue.retried" if is("by", &["admin"]) => (&["name"], "name", true),
        "session.opened" | "session.closed" | "user.saved" | "user.changed" | "token.created"
        | "token.revoked" | "token.used" => (&["name"], "name", true),
        "view.saved" | "view.forgotten" => (&["owner", "name", "query"], "owner", true),
        // Whatever somebody typed: a person only where it is the name of one.
        "session.refused" => (&["name"], "name", false),
        _ => (&[], "", false),
    };
    if !names.is_empty() {
        let subject = fields.get(subject).and_then(Value::as_str);
        let subject = subject.unwrap_or_default().to_owned();
        labels(fields, &subject, visit)?;
        for name in names {
            if let Some(Value::String(text)) = fields.get_mut(*name) {
                visit(Field {
                    name,
                    text,
                    subject: subject.clone(),
                    make,
                })?;
            }
        }
    }
    actors(data, visit)
}

/// Calls `visit` with what somebody called their tokens.
fn labels<E>(
    fields: &mut Map<String, Value>,
    subject: &str,
    visit: &mut impl FnMut(Field<'_>) -> Result<(), E>,
) -> Result<(), E> {
    for (key, value) in fields {
        let tokens = match (key.as_str(), value) {
            ("token", token) => std::slice::from_mut(token),
            ("tokens", Value::Array(tokens)) => tokens.as_mut_slice(),
            _ => continue,
        };
        for token in tokens {
            if let Some(Value::String(text)) = token.get_mut("name") {
                visit(Field {
                    name: "token",
                    text,
                    subject: subject.to_owned(),
                    make: true,
                })?;
            }
        }
    }
    Ok(())
}

/// Users among the actors that a value names.
fn actors<E>(
    value: &mut Value,
    visit: &mut impl FnMut(Field<'_>) -> Result<(), E>,
) -> Result<(), E> {
    match value {
        Value::Object(fields) => {
            let is_user = fields.len() == 2 && fields.get("kind") == Some(&Value::from("user"));
            if is_user && let Some(Value::String(text)) = fields.get_mut("name") {
                let subject = text.clone();
                return visit(Field {
                    name: ACTOR,
                    text,
                    subject,
                    make: true,
                });
            }
            fields
                .values_mut()
                .try_for_each(|field| actors(field, visit))
        }
        Value::Array(items) => items.iter_mut().try_for_each(|item| actors(item, visit)),
        _ => Ok(()),
    }
}

/// Whether an event can hold personal texts, told cheaply.
fn may_hold(event: &StoredEvent) -> bool {
    matches!(
        event.name.as_str(),
        "issue.commented"
            | "issue.approved"
            | "issue.retried"
            | "session.opened"
            | "session.closed"
            | "session.refused"
            | "view.saved"
            | "view.forgotten"
            | "user.saved"
            | "user.changed"
            | "token.created"
            | "token.revoked"
            | "token.used"
    ) || event.payload.windows(6).any(|part| part == b"\"user\"")
}

/// Encrypts the personal texts of an event and the name of the user who caused it.
///
/// # Errors
/// A key cannot be made or used: the record must not be written.
pub fn seal(
    event: StoredEvent,
    actor: &Actor,
    subjects: &dyn Subjects,
) -> Result<(StoredEvent, StoredActor), SealError> {
    let actor = match actor {
        Actor::User(name) => match subjects.of_name(name.as_str(), true)? {
            Some(key) => {
                let token = key.seal(subjects.nonce()?, ACTOR, "name", name.as_str())?;
                StoredActor::Sealed(token)
            }
            None => StoredActor::Known(actor.clone()),
        },
        other => StoredActor::Known(other.clone()),
    };
    // One encrypted text makes it a record of the version that has them.
    let mut sealed = matches!(actor, StoredActor::Sealed(_));
    if !may_hold(&event) {
        return Ok((StoredEvent { sealed, ..event }, actor));
    }
    let mut data: Value = serde_json::from_slice(&event.payload).map_err(EntryError::Event)?;
    walk(&event.name, &mut data, &mut |field| {
        // Whatever else stands there is no user of ours.
        if UserName::new(field.subject.as_str()).is_err() {
            return Ok(());
        }
        if let Some(key) = subjects.of_name(&field.subject, field.make)? {
            let nonce = subjects.nonce()?;
            *field.text = key.seal(nonce, &event.name, field.name, field.text)?;
            sealed = true;
        }
        Ok::<_, SealError>(())
    })?;
    if !sealed {
        return Ok((event, actor));
    }
    let payload = serde_json::to_vec(&data).map_err(EntryError::Event)?;
    let event = StoredEvent {
        payload,
        sealed,
        ..event
    };
    Ok((event, actor))
}

/// The plain text, or [`ERASED`] where its key is gone. Texts that are not encrypted
/// stay as they are.
fn opened(event: &str, field: &str, text: &str, subjects: &dyn Subjects) -> Option<String> {
    let (id, sealed) = text.strip_prefix(PREFIX)?.split_once(':')?;
    let plain = subjects
        .of_id(id)
        .and_then(|key| key.open(event, field, sealed));
    Some(plain.unwrap_or_else(|| ERASED.to_owned()))
}

/// The event with its personal texts, as far as their keys are there.
///
/// # Errors
/// The payload is no JSON.
pub(crate) fn open_event(
    event: &StoredEvent,
    subjects: &dyn Subjects,
) -> Result<StoredEvent, EntryError> {
    let mut data: Value = serde_json::from_slice(&event.payload).map_err(EntryError::Event)?;
    walk(&event.name, &mut data, &mut |field| {
        if let Some(plain) = opened(&event.name, field.name, field.text, subjects) {
            *field.text = plain;
        }
        Ok::<_, EntryError>(())
    })?;
    Ok(StoredEvent {
        name: event.name.clone(),
        payload: serde_json::to_vec(&data).map_err(EntryError::Event)?,
        sealed: false,
    })
}

/// The user's name behind the sealed actor of a record, as far as its key is there.
pub(crate) fn open_actor(token: &str, subjects: &dyn Subjects) -> String {
    opened(ACTOR, "name", token, subjects).unwrap_or_else(|| ERASED.to_owned())
}
