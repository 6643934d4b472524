//! The log in tiles: the layout of [C2SP tlog-tiles](https://c2sp.org/tlog-tiles).
//!
//! A tile holds up to 256 neighbouring hashes of one level of the tree; level 0 are
//! the leaves, each tile of level *n* + 1 holds the roots of 256 full tiles of level
//! *n*. An entry bundle holds the entries of up to 256 neighbouring leaves.
//!
//! The entry of a record is its hash, 32 bytes, and not its bytes: bundles bound
//! entries to 64 KiB, which a patch exceeds, and whoever mirrors the log off the host
//! learns nothing of what is in it. A record is shown to be in the log by its bytes,
//! whose SHA-256 is the entry.

use crate::merkle::{self, RootBuilder};
use selfheal_domain::digest::Digest;

/// Hashes in a full tile, entries in a full bundle.
pub const TILE_WIDTH: u64 = 256;
/// Levels of the tree that one tile covers.
const TILE_HEIGHT: u32 = 8;

/// What a tile holds.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum TileKind {
    /// Hashes of this level of tiles, from 0 at the leaves.
    Hashes(u8),
    /// Entries.
    Entries,
}

/// Name of a tile.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct TileId {
    /// What it holds.
    pub kind: TileKind,
    /// Its position in its level.
    pub index: u64,
    /// Items in it: 256, or fewer in a partial one.
    pub width: u16,
}

impl TileId {
    /// Path below the log's prefix, as in `tile/0/x001/x234/067` or
    /// `tile/entries/000.p/8`.
    pub fn path(&self) -> String {
        let mut number = format!("{:03}", self.index % 1000);
        let mut rest = self.index / 1000;
        while rest > 0 {
            number = format!("x{:03}/{number}", rest % 1000);
            rest /= 1000;
        }
        let kind = match self.kind {
            TileKind::Hashes(level) => level.to_string(),
            TileKind::Entries => "entries".to_owned(),
        };
        if u64::from(self.width) == TILE_WIDTH {
            format!("tile/{kind}/{number}")
        } else {
            format!("tile/{kind}/{number}.p/{}", self.width)
        }
    }

    /// The tile with this path; none when the path is not exactly that of a tile.
    pub fn parse(path: &str) -> Option<Self> {
        let (kind, rest) = path.strip_prefix("tile/")?.split_once('/')?;
        let kind = match kind {
            "entries" => TileKind::Entries,
            level => TileKind::Hashes(level.parse().ok()?),
        };
        let (number, width) = match rest.split_once(".p/") {
            Some((number, width)) => (number, width.parse().ok()?),
            None => (rest, 256),
        };
        let mut index = 0_u64;
        for part in number.split('/') {
            let digits = part.strip_prefix('x').unwrap_or(part);
            index = index.checked_mul(1000)?.checked_add(digits.parse().ok()?)?;
        }
        let tile = Self { kind, index, width };
        // Only the one form of a path is taken.
        (width >= 1 && tile.path() == path).then_some(tile)
    }

    /// Bytes of one item in it.
    fn item_bytes(&self) -> usize {
        match self.kind {
            TileKind::Hashes(_) => 32,
            TileKind::Entries => 34,
        }
    }

    /// Bytes of the whole tile.
    pub fn bytes(&self) -> usize {
        usize::from(self.width) * self.item_bytes()
    }

    /// The beginning of a wider tile at the same place.
    pub fn cut(&self, mut wider: Vec<u8>) -> Option<Vec<u8>> {
        (wider.len() >= self.bytes()).then(|| {
            wider.truncate(self.bytes());
            wider
        })
    }

    /// The first record on which the content of a tile at the bottom differs from
    /// `right`; the first of all that it covers, in higher ones.
    pub fn first_difference(&self, found: &[u8], right: &[u8]) -> u64 {
        let same = found.iter().zip(right).take_while(|(a, b)| a == b).count();
        let item = (same / self.item_bytes()) as u64;
        let level = match self.kind {
            TileKind::Hashes(level) => level,
            TileKind::Entries => 0,
        };
        (self.index * TILE_WIDTH + item).saturating_mul(TILE_WIDTH.saturating_pow(u32::from(level)))
    }
}

/// A tile's bytes: hashes one after the other.
fn hashes(items: &[Digest]) -> Vec<u8> {
    items.iter().flat_map(|hash| hash.0).collect()
}

/// A bundle's bytes: each entry after its length.
fn bundle(entries: &[Digest]) -> Vec<u8> {
    let mut out = Vec::with_capacity(entries.len() * 34);
    for entry in entries {
        out.extend_from_slice(&[0, 32]);
        out.extend_from_slice(&entry.0);
    }
    out
}

/// A growing log: knows its unfinished tiles and hands out those that got full.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct TileTree {
    size: u64,
    /// Entries of the unfinished bundle.
    entries: Vec<Digest>,
    /// Hashes of the unfinished tile of each level.
    levels: Vec<Vec<Digest>>,
}

impl TileTree {
    /// Adds the record with this hash; calls `full` with each tile that got full.
    pub fn push(&mut self, record: Digest, mut full: impl FnMut(TileId, Vec<u8>)) {
        let index = self.size / TILE_WIDTH;
        self.size += 1;
        self.entries.push(record);
        if self.entries.len() as u64 == TILE_WIDTH {
            full(full_tile(TileKind::Entries, index), bundle(&self.entries));
            self.entries.clear();
        }
        let mut hash = merkle::leaf_hash(&record.0);
        let mut index = index;
        for level in 0_u8.. {
            if self.levels.len() <= usize::from(level) {
                self.levels.push(Vec::with_capacity(256));
            }
            let Some(items) = self.levels.get_mut(usize::from(level)) else {
                return;
            };
            items.push(hash);
            if (items.len() as u64) < TILE_WIDTH {
                return;
            }
            full(full_tile(TileKind::Hashes(level), index), hashes(items));
            hash = merkle::root(items);
            items.clear();
            index /= TILE_WIDTH;
        }
    }

    /// Records so far.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Root of the tree; of an empty log it is SHA-256 of nothing.
    pub fn root(&self) -> Digest {
        let mut below: Option<Digest> = None;
        for items in &self.levels {
            // What is below is the last subtree of this level, and a smaller one.
            let mut builder = RootBuilder::default();
            for item in items.iter().copied().chain(below) {
                builder.push_leaf(item);
            }
            if !builder.is_empty() {
                below = Some(builder.root());
            }
        }
        below.unwrap_or_else(|| Digest::of(&[]))
    }

    /// A tile that is not full yet, or the beginning of one.
    pub fn partial(&self, tile: TileId) -> Option<Vec<u8>> {
        let (level, items) = match tile.kind {
            TileKind::Hashes(level) => (u32::from(level), self.levels.get(usize::from(level))?),
            TileKind::Entries => (0, &self.entries),
        };
        let current = self
            .size
            .checked_shr(TILE_HEIGHT * (level + 1))
            .unwrap_or(0);
        if tile.index != current {
            return None;
        }
        let items = items.get(..usize::from(tile.width))?;
        Some(match tile.kind {
            TileKind::Hashes(_) => hashes(items),
            TileKind::Entries => bundle(items),
        })
    }
}

fn full_tile(kind: TileKind, index: u64) -> TileId {
    TileId {
        kind,
        index,
        width: 256,
    }
}

/// Hashes that lead from leaf `index` to the root of the first `size` leaves, lowest
/// first, out of tiles that `read` fetches.
///
/// # Errors
/// What `read` answers. None inside of `Ok` when there is no such leaf, or a tile is
/// shorter than its name says.
pub fn inclusion_proof<E>(
    index: u64,
    size: u64,
    mut read: impl FnMut(TileId) -> Result<Vec<u8>, E>,
) -> Result<Option<Vec<Digest>>, E> {
    if index >= size {
        return Ok(None);
    }
    let mut source = Source {
        size,
        read: &mut read,
    };
    let (mut low, mut high) = (0, size);
    let mut proof = Vec::new();
    while high - low > 1 {
        // The largest power of two below the length splits it (RFC 6962, 2.1).
        let middle = low + (high - low).next_power_of_two() / 2;
        let sibling = if index < middle {
            let right = source.root(middle, high)?;
            high = middle;
            right
        } else {
            let left = source.root(low, middle)?;
            low = middle;
            left
        };
        match sibling {
            Some(hash) => proof.push(hash),
            None => return Ok(None),
        }
    }
    proof.reverse();
    Ok(Some(proof))
}

struct Source<'a, F> {
    size: u64,
    read: &'a mut F,
}

impl<E, F: FnMut(TileId) -> Result<Vec<u8>, E>> Source<'_, F> {
    /// Root over the leaves from `low` to `high`, a subtree as RFC 6962 splits them.
    fn root(&mut self, low: u64, high: u64) -> Result<Option<Digest>, E> {
        let length = high - low;
        if length.is_power_of_two() {
            return self.node(length.trailing_zeros(), low >> length.trailing_zeros());
        }
        let middle = low + length.next_power_of_two() / 2;
        let (left, right) = (self.root(low, middle)?, self.root(middle, high)?);
        Ok(left
            .zip(right)
            .map(|(left, right)| merkle::node_hash(&left, &right)))
    }

    /// Root of a full subtree: the one at `index` of those that are `height` high.
    fn node(&mut self, height: u32, index: u64) -> Result<Option<Digest>, E> {
        let level = height / TILE_HEIGHT;
        let inside = height % TILE_HEIGHT;
        let first = index << inside;
        let items_there = self.size >> (TILE_HEIGHT * level);
        let tile = first / TILE_WIDTH;
        let width = (items_there - tile * TILE_WIDTH).min(TILE_WIDTH);
        let id = TileId {
            kind: TileKind::Hashes(u8::try_from(level).unwrap_or(u8::MAX)),
            index: tile,
            width: u16::try_from(width).unwrap_or(u16::MAX),
        };
        let bytes = (self.read)(id)?;
        let from = usize::try_from(first % TILE_WIDTH).unwrap_or(usize::MAX);
        let items: Vec<Digest> = bytes
            .chunks_exact(32)
            .skip(from)
            .take(1 << inside)
            .filter_map(|hash| hash.try_into().ok().map(Digest))
            .collect();
        Ok((items.len() == 1 << inside).then(|| merkle::root(&items)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;
    use std::convert::Infallible;

    #[test]
    fn paths_are_those_of_the_specification_and_of_one_form() {
        let tile = |kind, index, width| TileId { kind, index, width };
        for (tile, path) in [
            (tile(TileKind::Hashes(0), 0, 256), "tile/0/000"),
            (tile(TileKind::Hashes(1), 67, 8), "tile/1/067.p/8"),
            (
                tile(TileKind::Hashes(0), 1_234_067, 256),
                "tile/0/x001/x234/067",
            ),
            (
                tile(TileKind::Entries, 1000, 1),
                "tile/entries/x001/000.p/1",
            ),
        ] {
            assert_eq!(tile.path(), path);
            assert_eq!(TileId::parse(path), Some(tile));
        }
        for wrong in [
            "",
            "tile/0/0",
            "tile/0/000.p/256",
            "tile/0/000.p/0",
            "tile/0/000/000",
            "tile/0/x000/001",
            "tile/00/000",
            "tile/0/../000",
            "tile/0/+01",
            "tile/256/000",
            "tile/0/x999/x999/x999/x999/x999/x999/x999/999",
        ] {
            assert_eq!(TileId::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn tiles_hold_the_tree_and_prove_every_leaf() {
        let records: Vec<Digest> = (0..66_000_u32)
            .map(|number| Digest::of(&number.to_be_bytes()))
            .collect();
        let leaves: Vec<Digest> = records
            .iter()
            .map(|record| merkle::leaf_hash(&record.0))
            .collect();
        let mut tree = TileTree::default();
        let mut full = HashMap::new();
        assert_eq!(tree.root(), Digest::of(&[]));
        let sizes = [
            1, 2, 255, 256, 257, 511, 512, 700, 65_535, 65_536, 65_537, 66_000,
        ];
        for (position, record) in records.iter().enumerate() {
            tree.push(*record, |tile, bytes| {
                assert_eq!(bytes.len(), tile.bytes());
                assert!(full.insert(tile, bytes).is_none());
            });
            let size = position as u64 + 1;
            if !sizes.contains(&size) {
                continue;
            }
            let root = merkle::root(&leaves[..=position]);
            assert_eq!((tree.size(), tree.root()), (size, root), "{size}");
            for index in [0, 1, size / 3, size / 2, size.saturating_sub(2), size - 1] {
                let read = |id: TileId| {
                    let whole = full_tile(id.kind, id.index);
                    let bytes = full
                        .get(&whole)
                        .and_then(|bytes| id.cut(bytes.clone()))
                        .or_else(|| tree.partial(id));
                    Ok::<_, Infallible>(bytes.unwrap_or_else(|| panic!("{id:?} at {size}")))
                };
                let proof = inclusion_proof(index, size, read).unwrap();
                if index >= size {
                    assert_eq!(proof, None);
                    continue;
                }
                let leaf = leaves[index as usize];
                let proof = proof.unwrap();
                assert!(
                    merkle::verify_inclusion(leaf, index, size, &proof, root),
                    "{index} of {size}"
                );
            }
        }
        let bundle = &full[&full_tile(TileKind::Entries, 3)];
        assert_eq!(bundle[..2], [0, 32]);
        assert_eq!(bundle[2..34], records[768].0);
        let mut changed = bundle.clone();
        changed[34 * 5 + 4] ^= 1;
        let id = full_tile(TileKind::Entries, 3);
        assert_eq!(id.first_difference(&changed, bundle), 768 + 5);
    }
}
