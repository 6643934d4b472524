//! The log as lines of JSON that can be verified without the journal.
//!
//! ```text
//! {"type":"export.begun","format":1,"checkpoint":"…signed note…","key":"NAME+ID+KEY"}
//! {"schema":1,"seq":0,"at":"…","actor":{"kind":"host"},"previous":"…","hash":"…","type":"issue.opened","data":{…}}
//! {"type":"export.ended","records":1,"head":"…","root":"…"}
//! ```
//!
//! A record's line holds everything that its bytes are made of; `data` is its payload
//! exactly as it is stored, so a program that prints it again differently (another
//! form of a number, another order) breaks its hash. A line has one form.

use crate::canonical::{Entry, EntryError, EntryView};
use crate::chain::{ChainVerifier, Flaw};
use crate::note::{Checkpoint, LogVerifier, NoteError};
use crate::tiles::TileTree;
use selfheal_domain::digest::Digest;
use serde_json::{Value, json};

/// Version of the format.
pub const EXPORT_FORMAT: u64 = 1;
const BEGUN: &str = "export.begun";
const ENDED: &str = "export.ended";
const DATA: &str = ",\"data\":";

/// The first line. `signed` is the signed head and the key it is verified with, where
/// the log has one.
pub fn export_begun(signed: Option<(&str, &LogVerifier)>) -> String {
    let (checkpoint, key) = signed.unzip();
    json!({
        "type": BEGUN, "format": EXPORT_FORMAT,
        "checkpoint": checkpoint, "key": key.map(ToString::to_string),
    })
    .to_string()
}

/// The line of a record, out of its bytes as they are stored.
///
/// # Errors
/// They are no record.
pub fn export_record(stored: &[u8]) -> Result<String, EntryError> {
    let (canonical, hash) = Entry::split(stored)?;
    let view = EntryView::parse(canonical)?;
    let mut line = view.envelope()?;
    line.push_str(&format!(
        ",\"previous\":\"{}\",\"hash\":\"{hash}\",\"type\":{}",
        view.previous,
        Value::from(view.name)
    ));
    let payload = std::str::from_utf8(view.payload())
        .map_err(|_| EntryError::Layout("its payload is not UTF-8"))?;
    if !payload.is_empty() {
        line.push_str(DATA);
        line.push_str(payload);
    }
    line.push('}');
    Ok(line)
}

/// The last line.
pub fn export_ended(records: u64, head: Digest, root: Digest) -> String {
    json!({ "type": ENDED, "records": records, "head": head, "root": root }).to_string()
}

/// What is wrong with an export.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// It is no export, or one of a newer Selfheal.
    #[error("it is no export of this program's format: {0}")]
    Format(&'static str),
    /// The signed head in it is not believed.
    #[error("its signed head does not hold")]
    Head(#[from] NoteError),
    /// A record is wrong.
    #[error("record {seq} (line {line}): {why}")]
    Record {
        /// The record, counted from 0, that is wrong or missing.
        seq: u64,
        /// Its line, from 1.
        line: u64,
        /// What is wrong.
        why: String,
    },
}

/// An export that verifies.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ExportReport {
    /// Records in it.
    pub records: u64,
    /// Hash of the last one; zeros when there is none.
    pub head: Digest,
    /// Root of the Merkle tree over all of them.
    pub merkle_root: Digest,
    /// The signed head in it.
    pub signed: Option<Checkpoint>,
}

/// Takes an export line by line and stops at the first wrong one.
pub struct ExportVerifier {
    key: Option<LogVerifier>,
    line: u64,
    signed: Option<Checkpoint>,
    chain: ChainVerifier,
    tree: TileTree,
    root_at: Option<Digest>,
    ended: bool,
}

impl ExportVerifier {
    /// Believes heads that `key` signed; without one, those of the key that the export
    /// names, which only says that the export fits itself.
    pub fn new(key: Option<LogVerifier>) -> Self {
        Self {
            key,
            line: 0,
            signed: None,
            chain: ChainVerifier::new(),
            tree: TileTree::default(),
            root_at: None,
            ended: false,
        }
    }

    fn wrong(&self, why: impl Into<String>) -> ExportError {
        ExportError::Record {
            seq: self.chain.count(),
            line: self.line,
            why: why.into(),
        }
    }

    /// The next line, without its end.
    ///
    /// # Errors
    /// See [`ExportError`].
    pub fn line(&mut self, line: &str) -> Result<(), ExportError> {
        self.line += 1;
        if self.line == 1 {
            return self.begin(line);
        }
        if self.ended {
            return Err(self.wrong("lines follow the end of the export"));
        }
        // What stands behind the data's mark may be large and is not looked into.
        let envelope = match line.split_once(DATA) {
            Some((envelope, _)) => format!("{envelope}}}"),
            None => line.to_owned(),
        };
        let envelope: Value =
            serde_json::from_str(&envelope).map_err(|_| self.wrong("the line is not JSON"))?;
        if envelope.get("type").and_then(Value::as_str) == Some(ENDED)
            && envelope.get("seq").is_none()
        {
            self.ended = true;
            return self.compare_end(line);
        }
        let payload = line
            .split_once(DATA)
            .and_then(|(_, data)| data.strip_suffix('}'))
            .unwrap_or_default();
        let stored = stored_bytes(&envelope, payload)
            .ok_or_else(|| self.wrong("the line is no record: a field is missing or malformed"))?;
        let (_, hash) = self
            .chain
            .check(&stored)
            .map_err(|fault| self.wrong(fault.flaw.to_string()))?;
        // Nothing beside the fields that the hash vouches for.
        let same = export_record(&stored).is_ok_and(|again| again == line);
        if !same {
            let fault = self.wrong(Flaw::WrongHash.to_string());
            return Err(match fault {
                ExportError::Record { seq, line, why } => ExportError::Record {
                    seq: seq.saturating_sub(1),
                    line,
                    why,
                },
                other => other,
            });
        }
        self.tree.push(hash, |_, _| {});
        self.look();
        Ok(())
    }

    fn look(&mut self) {
        if self.signed.as_ref().map(|signed| signed.size) == Some(self.tree.size()) {
            self.root_at = Some(self.tree.root());
        }
    }

    fn begin(&mut self, line: &str) -> Result<(), ExportError> {
        let begun: Value = serde_json::from_str(line)
            .map_err(|_| ExportError::Format("its first line is not JSON"))?;
        if begun.get("type").and_then(Value::as_str) != Some(BEGUN) {
            return Err(ExportError::Format("its first line is not export.begun"));
        }
        if begun.get("format").and_then(Value::as_u64) != Some(EXPORT_FORMAT) {
            return Err(ExportError::Format("a newer Selfheal wrote it"));
        }
        let text = |name| begun.get(name).and_then(Value::as_str);
        let named = text("key").map(LogVerifier::parse).transpose()?;
        match (text("checkpoint"), self.key.clone().or(named)) {
            (Some(note), Some(key)) => self.signed = Some(key.open(note)?),
            (None, None) => {}
            _ => {
                return Err(ExportError::Format(
                    "it has no signed head, or a signed head without a key",
                ));
            }
        }
        self.look();
        Ok(())
    }

    fn compare_end(&self, line: &str) -> Result<(), ExportError> {
        let end = export_ended(self.chain.count(), self.chain.head(), self.tree.root());
        let same = |text: &str| serde_json::from_str::<Value>(text).ok();
        if same(line) == same(&end) {
            Ok(())
        } else {
            Err(self.wrong("the export's own end says something else: records before it were removed, or the end was changed"))
        }
    }

    /// The export is over.
    ///
    /// # Errors
    /// It is cut off, or not what was signed.
    pub fn finish(self) -> Result<ExportReport, ExportError> {
        if self.line == 0 {
            return Err(ExportError::Format("it is empty"));
        }
        let found = self.chain.count();
        if let Some(signed) = &self.signed {
            if found < signed.size {
                return Err(self.wrong(format!(
                    "the export ends before it, with {found} records, but its signed head vouches for {}: the last ones were removed",
                    signed.size
                )));
            }
            if self.root_at != Some(signed.root) {
                return Err(ExportError::Record {
                    seq: 0,
                    line: 2,
                    why: format!(
                        "the first {} records are not the ones that were signed: the log was rewritten as a whole",
                        signed.size
                    ),
                });
            }
        }
        if !self.ended {
            return Err(self.wrong("the export is cut off: its end is missing"));
        }
        Ok(ExportReport {
            records: found,
            head: self.chain.head(),
            merkle_root: self.tree.root(),
            signed: self.signed,
        })
    }
}

/// The bytes of the record that a line tells, with the hash that it states.
fn stored_bytes(envelope: &Value, payload: &str) -> Option<Vec<u8>> {
    let text = |name| envelope.get(name).and_then(Value::as_str);
    let hash: Digest = text("hash")?.parse().ok()?;
    let previous = text("previous")?.parse().ok()?;
    let view = EntryView::of_envelope(envelope, text("type")?, payload.as_bytes(), previous)?;
    let mut stored = view.canonical();
    stored.extend_from_slice(&hash.0);
    Some(stored)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::canonical::StoredEvent;
    use crate::note::LogSigner;
    use chrono::DateTime;
    use selfheal_domain::event::Event;
    use selfheal_domain::ids::IssueNumber;
    use selfheal_domain::user::{Actor, UserName};

    fn export(count: u64) -> Vec<String> {
        let signer = LogSigner::new("example.com/log", &[7; 32]).unwrap();
        let (mut previous, mut tree, mut lines) =
            (Digest([0; 32]), TileTree::default(), Vec::new());
        let actors = [
            Actor::Host,
            Actor::Operator,
            Actor::User(UserName::new("ada").unwrap()),
            Actor::Agent("a \",\"data\":\" b".to_owned()),
        ];
        for seq in 0..count {
            let event = match seq % 2 {
                0 => Event::HostStopped,
                _ => Event::SessionRefused {
                    name: format!("it's ,\"data\":{{}} {seq} é"),
                },
            };
            let entry = Entry {
                seq,
                at: DateTime::from_timestamp_micros(1_790_000_000_000_000 + seq as i64).unwrap(),
                actor: actors[seq as usize % 4].clone().into(),
                issue: (seq % 3 == 1).then_some(IssueNumber(seq)),
                event: StoredEvent::of(&event, |_, _| {}).unwrap(),
                previous,
            };
            let sealed = entry.seal();
            previous = sealed.hash;
            tree.push(sealed.hash, |_, _| {});
            lines.push(export_record(&sealed.stored).unwrap());
        }
        let note = signer.sign(count, tree.root());
        lines.insert(0, export_begun(Some((&note, signer.verifier()))));
        lines.push(export_ended(count, previous, tree.root()));
        lines
    }

    fn verify(lines: &[String]) -> Result<ExportReport, ExportError> {
        let mut verifier = ExportVerifier::new(None);
        for line in lines {
            verifier.line(line)?;
        }
        verifier.finish()
    }

    fn wrong(change: impl FnOnce(&mut Vec<String>)) -> (u64, String) {
        let mut lines = export(9);
        change(&mut lines);
        match verify(&lines) {
            Err(ExportError::Record { seq, why, .. }) => (seq, why),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn an_export_verifies_and_names_the_first_wrong_record() {
        let report = verify(&export(9)).unwrap();
        assert_eq!((report.records, report.signed.unwrap().size), (9, 9));
        assert_eq!(verify(&export(0)).unwrap().records, 0);

        let (seq, why) = wrong(|lines| lines[4] = lines[4].replace(" 3 ", " 4 "));
        assert!(seq == 3 && why.contains("changed"), "{seq}: {why}");
        let (seq, why) = wrong(|lines| drop(lines.remove(4)));
        assert!(seq == 3 && why.contains("missing before it"), "{why}");
        let (seq, _) = wrong(|lines| lines.swap(4, 5));
        assert_eq!(seq, 3);
        let (seq, why) = wrong(|lines| drop(lines.drain(8..10)));
        assert!(seq == 7 && why.contains("the export's own end"), "{why}");
        let (seq, why) = wrong(|lines| lines.truncate(8));
        assert!(seq == 7 && why.contains("vouches for 9"), "{why}");
        let (seq, why) = wrong(|lines| lines.truncate(10));
        assert!(seq == 9 && why.contains("its end is missing"), "{why}");
        // Fields that the hash does not cover are not smuggled in.
        let (seq, _) = wrong(|lines| lines[4] = lines[4].replacen('{', "{\"by\":\"me\",", 1));
        assert_eq!(seq, 3);
        let (seq, _) = wrong(|lines| lines[4] = lines[4].replacen("\"seq\":3", "\"seq\":3.0", 1));
        assert_eq!(seq, 3);
    }

    #[test]
    fn only_the_key_that_is_given_is_believed() {
        let other = LogSigner::new("example.com/log", &[8; 32]).unwrap();
        let mut verifier = ExportVerifier::new(Some(other.verifier().clone()));
        let error = verifier.line(&export(1)[0]).unwrap_err();
        assert!(matches!(error, ExportError::Head(NoteError::Unsigned(_))));
        let mut unsigned = export(2);
        unsigned[0] = export_begun(None);
        assert_eq!(verify(&unsigned).unwrap().signed, None);
        let mut verifier = ExportVerifier::new(Some(other.verifier().clone()));
        assert!(verifier.line(&unsigned[0]).is_err(), "a head was asked for");
    }
}
