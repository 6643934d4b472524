//! What the journal says, ready to be read. Derived from records alone.

use crate::blobs::Blobs;
use crate::frame::{self, FRAME_BYTES};
use crate::harden::{self, ProjectionError, guarded};
use crate::reader::{JOURNAL, Location};
use crate::rows::{self, List, Meta, PolicyList};
use crate::subjects::SubjectKeys;
use selfheal_audit::Entry;
use selfheal_domain::event::{Event, NewRecord, Record};
use selfheal_domain::ids::{DecisionId, IssueId, IssueNumber};
use selfheal_domain::issue::{FoldError, Issue};
use selfheal_domain::ports::{IssueSummary, Switches};
use selfheal_domain::user::{Account, UserName};
use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard};

/// Issues kept as they are, so that the next event about one does not read it back.
const CACHED_ISSUES: usize = 256;
/// Segment files kept open for reading.
const OPEN_SEGMENTS: usize = 32;

/// A record that the projection, and so the journal, must not take.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// It does not fit the issue as it is.
    #[error("the event does not fit the issue as it is now")]
    Fold(#[from] FoldError),
    /// The event and the record's issue do not belong together.
    #[error("an event about an issue names it, and no other event does")]
    Misplaced,
    /// Issues are numbered without gaps.
    #[error("the next issue is number {expected}, not {found}")]
    Number {
        /// The next free number.
        expected: u64,
        /// The number in the event.
        found: u64,
    },
    /// Two issues never share an identity.
    #[error("an issue with this id exists already: number {0}")]
    Taken(IssueNumber),
    /// There is no such issue.
    #[error("there is no issue {0}")]
    NoSuchIssue(IssueNumber),
    /// Somebody else's record came first.
    #[error("the issue changed in between: it is at version {found}, not {expected}")]
    Conflict {
        /// The version the caller built on, plus one.
        expected: u64,
        /// The version it would have got.
        found: u64,
    },
    /// The projection could not be asked.
    #[error("the projection could not be read")]
    Projection(#[from] ProjectionError),
}

struct StagedIssue {
    before: Option<Arc<Issue>>,
    after: Arc<Issue>,
    /// More changed than its version and time.
    body: bool,
}

/// The effect of some records, not yet visible.
pub(crate) struct Staged {
    meta: Meta,
    issues: BTreeMap<IssueNumber, StagedIssue>,
    ids: HashMap<IssueId, IssueNumber>,
    accounts: Vec<Account>,
    places: Vec<(u64, Option<IssueNumber>, Location)>,
    policies: Vec<(PolicyList, u64)>,
    decisions: Vec<(DecisionId, u64)>,
}

/// sled, the blobs, and the journal's files for reading.
pub(crate) struct Projection {
    directory: PathBuf,
    journal: PathBuf,
    database: sled::Db,
    blobs: Blobs,
    subjects: Arc<SubjectKeys>,
    meta: Mutex<Meta>,
    cache: Mutex<HashMap<IssueNumber, Arc<Issue>>>,
    files: Mutex<HashMap<u64, Arc<File>>>,
    /// Scans of sled are no snapshots: readers and the batch exclude each other.
    gate: RwLock<()>,
    touched: AtomicU64,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Projection {
    /// Opens what is in `data/projection`, or an empty one.
    pub(crate) fn open(data: &Path, subjects: Arc<SubjectKeys>) -> Result<Self, ProjectionError> {
        let directory = data.join("projection");
        let database = harden::open(&directory)?;
        let blobs = Blobs::open(&directory)?;
        let meta = match guarded(|| Ok(database.get(rows::META)?))? {
            Some(row) => rows::from_json(&row)?,
            None => Meta::default(),
        };
        if meta.format != rows::FORMAT {
            return Err(ProjectionError::Row(format!(
                "the projection has version {}, this program has {}",
                meta.format,
                rows::FORMAT
            )));
        }
        Ok(Self {
            journal: data.join(JOURNAL),
            directory,
            database,
            blobs,
            subjects,
            meta: Mutex::new(meta),
            cache: Mutex::default(),
            files: Mutex::default(),
            gate: RwLock::new(()),
            touched: AtomicU64::new(0),
        })
    }

    pub(crate) fn close(&self) -> Result<(), ProjectionError> {
        harden::close(&self.database, &self.directory)
    }

    /// Makes the next start rebuild it.
    pub(crate) fn condemn(&self) {
        harden::condemn(&self.directory);
    }

    pub(crate) fn meta(&self) -> Meta {
        lock(&self.meta).clone()
    }

    /// Rows and records read so far.
    pub(crate) fn touched(&self) -> u64 {
        self.touched.load(Ordering::Relaxed)
    }

    fn touch(&self) {
        self.touched.fetch_add(1, Ordering::Relaxed);
    }

    fn reading(&self) -> RwLockReadGuard<'_, ()> {
        self.gate.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn get(&self, key: &[u8]) -> Result<Option<sled::IVec>, ProjectionError> {
        self.touch();
        guarded(|| Ok(self.database.get(key)?))
    }

    // --- writing ---

    pub(crate) fn stage(&self) -> Staged {
        Staged {
            meta: self.meta(),
            issues: BTreeMap::new(),
            ids: HashMap::new(),
            accounts: Vec::new(),
            places: Vec::new(),
            policies: Vec::new(),
            decisions: Vec::new(),
        }
    }

    /// Makes the staged records visible in one atomic step.
    pub(crate) fn commit(&self, staged: Staged) -> Result<(), ProjectionError> {
        let mut batch = sled::Batch::default();
        let mut superseded = Vec::new();
        for (seq, issue, location) in &staged.places {
            let row = rows::put_location(*location);
            batch.insert(rows::location_key(*seq), row.clone());
            if let Some(number) = issue {
                batch.insert(rows::event_key(*number, *seq), row);
            }
        }
        for (list, seq) in &staged.policies {
            batch.insert(list.key(*seq), &[]);
        }
        for (id, seq) in &staged.decisions {
            batch.insert(rows::decision_key(*id), &seq.to_be_bytes());
        }
        for (number, staged) in &staged.issues {
            if staged.body {
                let row = self.blobs.put(rows::FORMAT, &rows::json(&*staged.after)?)?;
                let key = rows::issue_key(*number);
                if let Some(old) = self.get(&key)?
                    && let Some(old) = Blobs::reference(&old)
                    && Some(old) != Blobs::reference(&row)
                {
                    superseded.push(old);
                }
                batch.insert(key, row);
            }
            batch.insert(rows::touch_key(*number), rows::put_touch(&staged.after)?);
            let now = rows::lists(&staged.after);
            if let Some(before) = &staged.before {
                for list in rows::lists(before) {
                    if !now.contains(&list) {
                        batch.remove(list.key(*number));
                    }
                }
            } else {
                batch.insert(rows::id_key(staged.after.id), &number.0.to_be_bytes());
            }
            let summary = rows::put_summary(&staged.after)?;
            for list in now {
                batch.insert(list.key(*number), summary.clone());
            }
            if staged.after.phase.is_active() {
                batch.insert(rows::active_key(*number), &[]);
            } else {
                batch.remove(rows::active_key(*number));
            }
        }
        for account in &staged.accounts {
            batch.insert(rows::account_key(&account.name), rows::json(account)?);
        }
        batch.insert(rows::META, rows::json(&staged.meta)?);

        let _alone = self.gate.write().unwrap_or_else(PoisonError::into_inner);
        guarded(|| Ok(self.database.apply_batch(batch)?))?;
        for digest in superseded {
            self.blobs.remove(digest);
        }
        let mut cache = lock(&self.cache);
        if cache.len() + staged.issues.len() > CACHED_ISSUES {
            cache.clear();
        }
        let fresh = staged.issues.into_iter().take(CACHED_ISSUES);
        cache.extend(fresh.map(|(number, staged)| (number, staged.after)));
        *lock(&self.meta) = staged.meta;
        Ok(())
    }

    // --- reading ---

    pub(crate) fn issue(&self, number: IssueNumber) -> Result<Option<Arc<Issue>>, ProjectionError> {
        let _shared = self.reading();
        self.issue_unlocked(number)
    }

    fn issue_unlocked(&self, number: IssueNumber) -> Result<Option<Arc<Issue>>, ProjectionError> {
        if let Some(issue) = lock(&self.cache).get(&number) {
            return Ok(Some(Arc::clone(issue)));
        }
        let Some(row) = self.get(&rows::issue_key(number))? else {
            return Ok(None);
        };
        let mut issue: Issue = rows::from_json(&self.blobs.get(rows::FORMAT, &row)?)?;
        let touch = self
            .get(&rows::touch_key(number))?
            .ok_or_else(|| ProjectionError::Row(format!("issue {number} has no version")))?;
        rows::apply_touch(&mut issue, &touch)?;
        Ok(Some(Arc::new(issue)))
    }

    pub(crate) fn issue_number(&self, id: IssueId) -> Result<Option<IssueNumber>, ProjectionError> {
        let row = self.get(&rows::id_key(id))?;
        row.map(|row| rows::trailing_number(&row).map(IssueNumber))
            .transpose()
    }

    /// Walks a list from below `before`, newest first, until `visit` has enough.
    pub(crate) fn walk(
        &self,
        list: &List,
        before: Option<IssueNumber>,
        mut visit: impl FnMut(&Self, IssueSummary) -> Result<bool, ProjectionError>,
    ) -> Result<(), ProjectionError> {
        use std::ops::Bound::{Excluded, Included, Unbounded};
        let _shared = self.reading();
        let prefix = list.prefix();
        let start = match before {
            Some(number) => Excluded(list.key(number)),
            None => Included(prefix.clone()),
        };
        let mut iterator = self.database.range((start, Unbounded));
        loop {
            let Some((key, row)) = guarded(|| Ok(iterator.next().transpose()?))? else {
                return Ok(());
            };
            if !key.starts_with(&prefix) {
                return Ok(());
            }
            self.touch();
            if !visit(self, rows::get_summary(&row)?)? {
                return Ok(());
            }
        }
    }

    /// Whether all `words` (lower case) occur in the issue's title or description.
    pub(crate) fn mentions(
        &self,
        number: IssueNumber,
        words: &[String],
    ) -> Result<bool, ProjectionError> {
        Ok(self.issue_unlocked(number)?.is_some_and(|issue| {
            let title = issue.report.title.to_lowercase();
            let description = issue.report.description.to_lowercase();
            words
                .iter()
                .all(|word| title.contains(word) || description.contains(word))
        }))
    }

    fn scan(
        &self,
        start: Vec<u8>,
        prefix: &[u8],
        limit: usize,
    ) -> Result<Vec<(sled::IVec, sled::IVec)>, ProjectionError> {
        let _shared = self.reading();
        guarded(|| {
            let mut rows = Vec::new();
            for row in self.database.range(start..).take(limit) {
                let (key, row) = row?;
                if !key.starts_with(prefix) {
                    break;
                }
                self.touch();
                rows.push((key, row));
            }
            Ok(rows)
        })
    }

    pub(crate) fn active(&self) -> Result<Vec<IssueNumber>, ProjectionError> {
        self.scan(vec![b'a'], b"a", usize::MAX)?
            .iter()
            .map(|(key, _)| rows::trailing_number(key).map(IssueNumber))
            .collect()
    }

    pub(crate) fn accounts(&self) -> Result<Vec<Account>, ProjectionError> {
        self.scan(vec![b'u'], b"u", usize::MAX)?
            .iter()
            .map(|(_, row)| rows::from_json(row))
            .collect()
    }

    /// Positions of the records in `list` from below `before`, newest first.
    pub(crate) fn policy_list(
        &self,
        list: PolicyList,
        before: Option<u64>,
        limit: usize,
    ) -> Result<Vec<u64>, ProjectionError> {
        let start = match before {
            None => vec![list.prefix()],
            Some(0) => return Ok(Vec::new()),
            Some(seq) => list.key(seq - 1),
        };
        self.scan(start, &[list.prefix()], limit)?
            .iter()
            .map(|(key, _)| rows::trailing_number(key).map(|seq| !seq))
            .collect()
    }

    /// Position of the record of a decision.
    pub(crate) fn decision(&self, id: DecisionId) -> Result<Option<u64>, ProjectionError> {
        let row = self.get(&rows::decision_key(id))?;
        row.map(|row| rows::trailing_number(&row)).transpose()
    }

    /// The record at `seq`, if there is one.
    pub(crate) fn record_at(&self, seq: u64) -> Result<Option<Record>, ProjectionError> {
        let row = self.get(&rows::location_key(seq))?;
        row.map(|row| self.record(seq, rows::get_location(&row)?))
            .transpose()
    }

    pub(crate) fn switches(&self) -> Switches {
        lock(&self.meta).switches
    }

    pub(crate) fn records(
        &self,
        issue: Option<IssueNumber>,
        from: u64,
        limit: usize,
    ) -> Result<Vec<Record>, ProjectionError> {
        let (start, prefix) = match issue {
            None => (rows::location_key(from), vec![b'l']),
            Some(number) => {
                let start = rows::event_key(number, from);
                let prefix = start.iter().copied().take(9).collect();
                (start, prefix)
            }
        };
        self.scan(start, &prefix, limit)?
            .iter()
            .map(|(key, row)| self.record(rows::trailing_number(key)?, rows::get_location(row)?))
            .collect()
    }

    fn segment(&self, first: u64) -> Result<Arc<File>, ProjectionError> {
        let mut files = lock(&self.files);
        if let Some(file) = files.get(&first) {
            return Ok(Arc::clone(file));
        }
        let file = Arc::new(File::open(self.journal.join(frame::segment_name(first)))?);
        if files.len() >= OPEN_SEGMENTS {
            files.clear();
        }
        files.insert(first, Arc::clone(&file));
        Ok(file)
    }

    /// Reads one record from the journal; its hash is checked on the way.
    fn record(&self, seq: u64, location: Location) -> Result<Record, ProjectionError> {
        self.touch();
        let wrong = || ProjectionError::Record(seq);
        let length = usize::try_from(location.length).map_err(|_| wrong())?;
        if length > frame::MAX_RECORD_BYTES {
            return Err(wrong());
        }
        let mut stored = vec![0; length];
        self.segment(location.segment)?
            .read_exact_at(&mut stored, location.offset + FRAME_BYTES as u64)?;
        let (canonical, hash) = Entry::split(&stored).map_err(|_| wrong())?;
        let entry = Entry::parse(canonical).map_err(|_| wrong())?;
        if entry.seq != seq || selfheal_domain::digest::Digest::of(canonical) != hash {
            return Err(wrong());
        }
        entry.record(hash, &*self.subjects).map_err(|_| wrong())
    }
}

impl Staged {
    /// Where the staged records end.
    pub(crate) fn meta(&self) -> &Meta {
        &self.meta
    }

    /// Records staged.
    pub(crate) fn len(&self) -> usize {
        self.places.len()
    }

    fn issue(&self, projection: &Projection, number: IssueNumber) -> Result<Arc<Issue>, Refusal> {
        if let Some(staged) = self.issues.get(&number) {
            return Ok(Arc::clone(&staged.after));
        }
        projection
            .issue(number)?
            .ok_or(Refusal::NoSuchIssue(number))
    }

    /// The issue after the record, or why the record must not be taken. Nothing
    /// changes yet.
    pub(crate) fn fold(
        &self,
        projection: &Projection,
        record: &NewRecord,
    ) -> Result<Option<Issue>, Refusal> {
        let number = match (record.event.kind(), record.issue) {
            (None, None) => return Ok(None),
            (Some(_), Some(number)) => number,
            (Some(_), None) if stands_alone(&record.event) => return Ok(None),
            (None, Some(_)) | (Some(_), None) => return Err(Refusal::Misplaced),
        };
        if let Event::IssueOpened {
            id, number: own, ..
        } = &record.event
        {
            let expected = self.meta.last_issue + 1;
            if *own != number {
                return Err(Refusal::Misplaced);
            }
            if number.0 != expected {
                return Err(Refusal::Number {
                    expected,
                    found: number.0,
                });
            }
            let taken = match self.ids.get(id) {
                Some(number) => Some(*number),
                None => projection.issue_number(*id)?,
            };
            if let Some(other) = taken {
                return Err(Refusal::Taken(other));
            }
            return Ok(Some(Issue::open(record)?));
        }
        Ok(Some(self.issue(projection, number)?.after(record)?))
    }

    /// Adds a record with the issue that [`Staged::fold`] made of it.
    pub(crate) fn add(
        &mut self,
        projection: &Projection,
        record: &Record,
        after: Option<Issue>,
        location: Location,
    ) -> Result<(), Refusal> {
        if let Some(after) = after {
            let number = after.number;
            let opened = matches!(record.event, Event::IssueOpened { .. });
            let body = !matches!(
                record.event,
                Event::ToolCalled(_) | Event::ToolFinished { .. }
            );
            if opened {
                self.meta.last_issue = number.0;
                self.ids.insert(after.id, number);
            }
            let after = Arc::new(after);
            match self.issues.get_mut(&number) {
                Some(staged) => {
                    staged.after = after;
                    staged.body |= body;
                }
                None => {
                    let before = if opened {
                        None
                    } else {
                        Some(self.issue(projection, number)?)
                    };
                    self.issues.insert(
                        number,
                        StagedIssue {
                            before,
                            after,
                            body,
                        },
                    );
                }
            }
        }
        match &record.event {
            // Nobody's account any more.
            Event::UserSaved(account) if account.name == UserName::erased() => {}
            Event::UserSaved(account) => self.accounts.push(account.clone()),
            Event::AutonomyChanged { level, .. } => self.meta.switches.autonomy = Some(*level),
            Event::FreezeChanged { frozen, .. } => self.meta.switches.frozen = *frozen,
            _ => {}
        }
        if let Some(list) = PolicyList::of(&record.event) {
            self.policies.push((list, record.seq));
        }
        if let Event::ToolCalled(decision) = &record.event {
            self.decisions.push((decision.id, record.seq));
        }
        self.places.push((record.seq, record.issue, location));
        self.meta.applied = record.seq + 1;
        self.meta.head = record.hash;
        Ok(())
    }
}

/// Calls of agents that run on their own are about no issue.
fn stands_alone(event: &Event) -> bool {
    match event {
        Event::ToolCalled(call) => call.external.is_some(),
        Event::ToolFinished { .. } => true,
        _ => false,
    }
}
