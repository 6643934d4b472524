//! Builds the Merkle tree over a journal while it is read, on a thread of its own:
//! hashing the tree and hashing the records take about as long.

use selfheal_audit::tiles::{TileId, TileTree};
use selfheal_domain::digest::Digest;
use std::io;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::JoinHandle;

/// Hashes handed over at once.
const BATCH: usize = 4096;
/// Batches that may wait.
const QUEUE: usize = 8;

/// What is done with each tile that gets full.
pub(crate) type OnFull = Box<dyn FnMut(TileId, Vec<u8>) + Send>;

/// Takes the hashes of records, in order.
pub(crate) struct Grower {
    sender: SyncSender<Vec<Digest>>,
    batch: Vec<Digest>,
    thread: JoinHandle<Grown>,
}

/// The tree over all records.
#[derive(Default)]
pub(crate) struct Grown {
    pub(crate) tree: TileTree,
    /// Root of the tree when it had as many records as was asked for.
    pub(crate) root_at: Option<Digest>,
}

impl Grower {
    /// Also finds the root of the tree at `watched` records.
    pub(crate) fn start(watched: Option<u64>, mut on_full: OnFull) -> io::Result<Self> {
        let (sender, batches) = sync_channel::<Vec<Digest>>(QUEUE);
        let work = move || {
            let mut grown = Grown::default();
            let look = |tree: &TileTree, root: &mut Option<Digest>| {
                if watched == Some(tree.size()) {
                    *root = Some(tree.root());
                }
            };
            look(&grown.tree, &mut grown.root_at);
            for hash in batches.into_iter().flatten() {
                grown.tree.push(hash, &mut on_full);
                look(&grown.tree, &mut grown.root_at);
            }
            grown
        };
        Ok(Self {
            sender,
            batch: Vec::with_capacity(BATCH),
            thread: std::thread::Builder::new()
                .name("merkle tree".to_owned())
                .spawn(work)?,
        })
    }

    /// The next record.
    pub(crate) fn push(&mut self, hash: Digest) {
        self.batch.push(hash);
        if self.batch.len() == BATCH {
            let batch = std::mem::replace(&mut self.batch, Vec::with_capacity(BATCH));
            // Gone only when it panicked, which `finish` tells.
            drop(self.sender.send(batch));
        }
    }

    /// The tree, once everything is in it.
    pub(crate) fn finish(self) -> io::Result<Grown> {
        let Self {
            sender,
            batch,
            thread,
        } = self;
        drop(sender.send(batch));
        drop(sender);
        thread
            .join()
            .map_err(|_| io::Error::other("the thread that builds the Merkle tree panicked"))
    }
}
