//! What the journal says, ready to be read. Derived from records alone.
//!
//! sled writes to disk on every batch that it applies, which would cost as much as the
//! journal's own flush. So what is durable in the journal is accepted here in memory, and
//! goes into sled when somebody reads what only sled can tell, when there is much of it,
//! and at the end. What a killed host had not brought there is replayed from the journal.

use crate::blobs::Blobs;
use crate::frame::{self, FRAME_BYTES};
use crate::harden::{self, ProjectionError, guarded};
use crate::places::Places;
use crate::reader::{JOURNAL, Location};
use crate::rows::{self, List, Meta, PolicyList};
use crate::staged::Staged;
use crate::subjects::SubjectKeys;
use selfheal_audit::Entry;
use selfheal_domain::event::Record;
use selfheal_domain::ids::{DecisionId, IssueId, IssueNumber};
use selfheal_domain::issue::{FoldError, Issue};
use selfheal_domain::ports::{IssueSummary, Switches};
use selfheal_domain::user::{Account, UserName};
use selfheal_domain::view::SavedView;
use std::collections::HashMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock, RwLockReadGuard};

/// Issues kept as they are, so that the next event about one does not read it back.
const CACHED_ISSUES: usize = 256;
/// Segment files kept open for reading.
const OPEN_SEGMENTS: usize = 32;

/// A list that is being walked.
struct Source {
    rows: sled::Iter,
    prefix: Vec<u8>,
    /// The next row, under what of its key orders the list.
    head: Option<(Box<[u8]>, sled::IVec)>,
}

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

/// sled, the blobs, and the journal's files for reading.
pub(crate) struct Projection {
    directory: PathBuf,
    journal: PathBuf,
    database: sled::Db,
    blobs: Blobs,
    places: Places,
    subjects: Arc<SubjectKeys>,
    /// Accepted, and not in sled yet. Locked before `gate`, never after it.
    pending: Mutex<Staged>,
    /// All accounts, once they were read and until one changes: every request asks for them.
    /// Locked before `pending`.
    accounts: Mutex<Option<Arc<Vec<Account>>>>,
    /// Why sled is not to be asked any more.
    failure: OnceLock<String>,
    cache: Mutex<HashMap<IssueNumber, Arc<Issue>>>,
    files: Mutex<HashMap<u64, Arc<File>>>,
    /// Scans of sled are no snapshots: readers and the batch exclude each other.
    gate: RwLock<()>,
    /// Records whose effect is in sled, and whose places are in their file.
    settled: AtomicU64,
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
        let places = Places::open(&directory)?;
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
        let applied = meta.applied;
        Ok(Self {
            journal: data.join(JOURNAL),
            directory,
            database,
            blobs,
            places,
            subjects,
            pending: Mutex::new(Staged::empty(meta)),
            accounts: Mutex::default(),
            failure: OnceLock::new(),
            cache: Mutex::default(),
            files: Mutex::default(),
            gate: RwLock::new(()),
            settled: AtomicU64::new(applied),
            touched: AtomicU64::new(0),
        })
    }

    pub(crate) fn close(&self) -> Result<(), ProjectionError> {
        self.settle()?;
        self.blobs.sync()?;
        self.places.sync()?;
        harden::close(&self.database, &self.directory)
    }

    /// Why it takes and tells nothing more, if so: the next start rebuilds it.
    pub(crate) fn failure(&self) -> Option<&str> {
        self.failure.get().map(String::as_str)
    }

    pub(crate) fn meta(&self) -> Meta {
        lock(&self.pending).meta().clone()
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
        Staged::empty(self.meta())
    }

    /// From now on readers see the staged records. Returns how many of them, and of
    /// those before, are not in sled yet.
    pub(crate) fn accept(&self, staged: Staged) -> usize {
        let mut known = (!staged.accounts.is_empty()).then(|| lock(&self.accounts));
        let mut pending = lock(&self.pending);
        pending.absorb(staged);
        if let Some(known) = known.as_deref_mut() {
            *known = None;
        }
        pending.len()
    }

    /// Brings what was accepted into sled, in one atomic step.
    pub(crate) fn settle(&self) -> Result<(), ProjectionError> {
        let mut pending = lock(&self.pending);
        if let Some(reason) = self.failure() {
            return Err(ProjectionError::Failed(reason.to_owned()));
        }
        if pending.len() == 0 {
            return Ok(());
        }
        if let Err(error) = self.commit(&pending) {
            harden::condemn(&self.directory);
            let reason = self.failure.get_or_init(|| error.to_string());
            tracing::error!(%reason, "the projection failed");
            return Err(error);
        }
        let meta = pending.meta().clone();
        self.settled.store(meta.applied, Ordering::Release);
        let settled = std::mem::replace(&mut *pending, Staged::empty(meta));
        let mut cache = lock(&self.cache);
        if cache.len() + settled.issues.len() > CACHED_ISSUES {
            cache.clear();
        }
        let fresh = settled.issues.into_iter().take(CACHED_ISSUES);
        cache.extend(fresh.map(|(number, staged)| (number, staged.after)));
        Ok(())
    }

    fn commit(&self, staged: &Staged) -> Result<(), ProjectionError> {
        let mut batch = sled::Batch::default();
        let mut superseded = Vec::new();
        for (seq, issue, _) in &staged.places {
            if let Some(number) = issue {
                batch.insert(rows::event_key(*number, *seq), &[]);
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
                if staged.before.is_some()
                    && let Some(old) = self.get(&key)?
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
        for account in staged.accounts.values() {
            batch.insert(rows::account_key(&account.name), rows::json(account)?);
        }
        for ((owner, name), view) in &staged.views {
            let [own, everybodys] = rows::view_keys(owner, name);
            match view {
                Some(view) => batch.insert(own, rows::json(view)?),
                None => batch.remove(own),
            }
            match view.as_ref().filter(|view| view.shared) {
                Some(view) => batch.insert(everybodys, rows::json(view)?),
                None => batch.remove(everybodys),
            }
        }
        batch.insert(rows::META, rows::json(staged.meta())?);

        if let Some((first, _, _)) = staged.places.first() {
            let places = staged.places.iter().map(|(_, _, location)| *location);
            self.places.put(*first, places)?;
        }
        let _alone = self.gate.write().unwrap_or_else(PoisonError::into_inner);
        guarded(|| Ok(self.database.apply_batch(batch)?))?;
        for digest in superseded {
            self.blobs.remove(digest);
        }
        Ok(())
    }

    // --- reading ---

    pub(crate) fn issue(&self, number: IssueNumber) -> Result<Option<Arc<Issue>>, ProjectionError> {
        if let Some(issue) = lock(&self.pending).known(number) {
            return Ok(Some(issue));
        }
        let _shared = self.reading();
        self.settled_issue(number)
    }

    /// The issue as sled has it.
    fn settled_issue(&self, number: IssueNumber) -> Result<Option<Arc<Issue>>, ProjectionError> {
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
        if let Some(number) = lock(&self.pending).ids.get(&id).copied() {
            return Ok(Some(number));
        }
        let row = self.get(&rows::id_key(id))?;
        row.map(|row| rows::trailing_number(&row).map(IssueNumber))
            .transpose()
    }

    /// Walks lists of one order as if they were one, from after `place` on, until
    /// `visit` has enough.
    pub(crate) fn walk(
        &self,
        lists: &[List],
        place: Option<&[u8]>,
        mut visit: impl FnMut(&Self, IssueSummary) -> Result<bool, ProjectionError>,
    ) -> Result<(), ProjectionError> {
        use std::ops::Bound::{Excluded, Included, Unbounded};
        self.settle()?;
        let _shared = self.reading();
        let mut sources = Vec::new();
        for list in lists {
            let prefix = list.prefix();
            let start = match place {
                Some(place) => Excluded([prefix.as_slice(), place].concat()),
                None => Included(prefix.clone()),
            };
            let mut source = Source {
                rows: self.database.range((start, Unbounded)),
                prefix,
                head: None,
            };
            self.advance(&mut source)?;
            sources.push(source);
        }
        loop {
            let first = sources
                .iter_mut()
                .filter_map(|source| Some((source.head.as_ref()?.0.clone(), source)))
                .min_by(|(one, _), (other, _)| one.cmp(other));
            let Some((_, source)) = first else {
                return Ok(());
            };
            let Some((_, row)) = source.head.take() else {
                return Ok(());
            };
            if !visit(self, rows::get_summary(&row)?)? {
                return Ok(());
            }
            self.advance(source)?;
        }
    }

    /// Reads the next row of a list, if there is one.
    fn advance(&self, source: &mut Source) -> Result<(), ProjectionError> {
        source.head = guarded(|| Ok(source.rows.next().transpose()?))?.and_then(|(key, row)| {
            let place = key.strip_prefix(source.prefix.as_slice())?;
            Some((place.into(), row))
        });
        if source.head.is_some() {
            self.touch();
        }
        Ok(())
    }

    /// The description of an issue.
    pub(crate) fn description(&self, number: IssueNumber) -> Result<String, ProjectionError> {
        let issue = self.settled_issue(number)?;
        Ok(issue.map_or_else(String::new, |issue| issue.report.description.clone()))
    }

    pub(crate) fn views(&self, of: &UserName) -> Result<Vec<SavedView>, ProjectionError> {
        let read = |prefix: Vec<u8>| -> Result<Vec<SavedView>, ProjectionError> {
            let rows = self.scan(prefix.clone(), &prefix, usize::MAX)?;
            rows.iter().map(|(_, row)| rows::from_json(row)).collect()
        };
        let mut views = read(rows::views_prefix(Some(of)))?;
        let shared = read(rows::views_prefix(None))?;
        views.extend(shared.into_iter().filter(|view| view.owner != *of));
        Ok(views)
    }

    fn scan(
        &self,
        start: Vec<u8>,
        prefix: &[u8],
        limit: usize,
    ) -> Result<Vec<(sled::IVec, sled::IVec)>, ProjectionError> {
        self.settle()?;
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

    pub(crate) fn accounts(&self) -> Result<Arc<Vec<Account>>, ProjectionError> {
        let mut known = lock(&self.accounts);
        if let Some(reason) = self.failure() {
            return Err(ProjectionError::Failed(reason.to_owned()));
        }
        if let Some(accounts) = known.as_ref() {
            return Ok(Arc::clone(accounts));
        }
        let rows = self.scan(vec![b'u'], b"u", usize::MAX)?;
        let read = rows.iter().map(|(_, row)| rows::from_json(row));
        let accounts = Arc::new(read.collect::<Result<Vec<Account>, _>>()?);
        Ok(Arc::clone(known.insert(accounts)))
    }

    /// The account of this name.
    pub(crate) fn account(&self, name: &UserName) -> Result<Option<Account>, ProjectionError> {
        if let Some(account) = lock(&self.pending).accounts.get(name) {
            return Ok(Some(account.clone()));
        }
        let row = self.get(&rows::account_key(name))?;
        row.map(|row| rows::from_json(&row)).transpose()
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
        self.settle()?;
        let row = self.get(&rows::decision_key(id))?;
        row.map(|row| rows::trailing_number(&row)).transpose()
    }

    /// The record at `seq`, if there is one.
    pub(crate) fn record_at(&self, seq: u64) -> Result<Option<Record>, ProjectionError> {
        Ok(self.span(seq, 1)?.pop())
    }

    /// Up to `limit` records from `from` on.
    fn span(&self, from: u64, limit: usize) -> Result<Vec<Record>, ProjectionError> {
        self.settle()?;
        let left = self.settled.load(Ordering::Acquire).saturating_sub(from);
        let count = usize::try_from(left).unwrap_or(usize::MAX).min(limit);
        if count == 0 {
            return Ok(Vec::new());
        }
        let places = self.places.get(from, count)?;
        let numbered = (from..).zip(places);
        numbered
            .map(|(seq, place)| self.record(seq, place))
            .collect()
    }

    pub(crate) fn switches(&self) -> Switches {
        lock(&self.pending).meta().switches
    }

    pub(crate) fn records(
        &self,
        issue: Option<IssueNumber>,
        from: u64,
        limit: usize,
    ) -> Result<Vec<Record>, ProjectionError> {
        let Some(number) = issue else {
            return self.span(from, limit);
        };
        let start = rows::event_key(number, from);
        let prefix: Vec<u8> = start.iter().copied().take(9).collect();
        self.scan(start, &prefix, limit)?
            .iter()
            .map(|(key, _)| {
                let seq = rows::trailing_number(key)?;
                let place = self.places.get(seq, 1)?;
                let place = place.first().ok_or(ProjectionError::Record(seq))?;
                self.record(seq, *place)
            })
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
