//! Any change to a log is found; any record can be proved to be in it.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

use chrono::DateTime;
use proptest::prelude::*;
use selfheal_audit::merkle::{self, RootBuilder};
use selfheal_audit::personal::{SealError, SubjectKey, Subjects};
use selfheal_audit::{ChainVerifier, Entry, EntryError, Flaw, StoredEvent};
use selfheal_domain::digest::Digest;
use selfheal_domain::event::Event;
use selfheal_domain::ids::IssueNumber;
use selfheal_domain::risk::AutonomyLevel;
use selfheal_domain::user::{Actor, UserName};
use std::collections::HashSet;
use std::sync::Arc;

fn entry(seq: u64, previous: Digest, reason: &str) -> Entry {
    let event = Event::AutonomyChanged {
        level: AutonomyLevel::Suggest,
        reason: reason.to_owned(),
    };
    Entry {
        seq,
        at: DateTime::from_timestamp_micros(1_790_000_000_000_000 + seq as i64).unwrap(),
        actor: Actor::User(UserName::new("ada").unwrap()).into(),
        issue: (seq % 2 == 1).then_some(IssueNumber(seq)),
        event: StoredEvent::of(&event, |_, _| {}).unwrap(),
        previous,
    }
}

/// Has no keys.
struct Nobody;

impl Subjects for Nobody {
    fn of_name(&self, _: &str, _: bool) -> Result<Option<Arc<SubjectKey>>, SealError> {
        Ok(None)
    }
    fn of_id(&self, _: &str) -> Option<Arc<SubjectKey>> {
        None
    }
    fn nonce(&self) -> Result<[u8; 12], SealError> {
        Ok([0; 12])
    }
}

fn log(count: u64) -> Vec<Vec<u8>> {
    let mut previous = Digest([0; 32]);
    (0..count)
        .map(|seq| {
            let sealed = entry(seq, previous, &format!("reason {seq}")).seal();
            previous = sealed.hash;
            sealed.stored
        })
        .collect()
}

/// The first wrong record.
fn first_fault(log: &[Vec<u8>]) -> Option<(u64, Flaw)> {
    let mut verifier = ChainVerifier::new();
    log.iter()
        .find_map(|stored| verifier.check(stored).err())
        .map(|fault| (fault.seq, fault.flaw))
}

#[test]
fn a_record_reads_back_and_its_bytes_are_fixed() {
    let entry = entry(1, Digest([0xab; 32]), "why");
    let sealed = entry.seal();
    let (canonical, hash) = Entry::split(&sealed.stored).unwrap();
    assert_eq!(hash, Digest::of(canonical));
    assert_eq!(Entry::parse(canonical).unwrap(), entry);
    let record = entry.record(hash, &Nobody).unwrap();
    assert!(matches!(record.event, Event::AutonomyChanged { .. }));
    // The stored format never changes: logs of years ago must verify.
    let fixed = [
        "0001",
        "0000000000000001",
        "00065bfeda25e001",
        "01",
        "00000003",
        "616461",
        "01",
        "0000000000000001",
        "00000010",
        "6175746f6e6f6d792e6368616e676564",
        "0000001a",
        "7b226c6576656c223a312c22726561736f6e223a22776879227d",
        &"ab".repeat(32),
    ];
    assert_eq!(hex::encode(canonical), fixed.concat());
}

#[test]
fn every_actor_and_events_without_data_read_back() {
    let actors = [
        Actor::User(UserName::new("ada").unwrap()),
        Actor::Agent("ada".to_owned()),
        Actor::Host,
        Actor::Operator,
    ];
    let mut seen = HashSet::new();
    for actor in actors {
        let entry = Entry {
            actor: actor.into(),
            event: StoredEvent::of(&Event::HostStopped, |_, _| {}).unwrap(),
            ..entry(0, Digest([0; 32]), "")
        };
        assert!(entry.event.payload.is_empty());
        assert_eq!(Entry::parse(&entry.canonical()).unwrap(), entry);
        assert_eq!(entry.event.event().unwrap(), Event::HostStopped);
        assert!(seen.insert(entry.canonical()), "no two share their bytes");
    }
}

#[test]
fn other_versions_and_malformed_bytes_are_refused() {
    let canonical = entry(0, Digest([0; 32]), "x").canonical();
    let mut newer = canonical.clone();
    newer[1] = 3;
    assert!(matches!(Entry::parse(&newer), Err(EntryError::Schema(3))));
    for cut in 0..canonical.len() {
        assert!(Entry::parse(&canonical[..cut]).is_err(), "cut at {cut}");
    }
    let longer = [canonical.as_slice(), b"x"].concat();
    assert!(matches!(Entry::parse(&longer), Err(EntryError::Layout(_))));
    assert!(Entry::split(&canonical[..31]).is_err());
    // A name is data, never syntax.
    for name in ["issue.forgotten", r#"host.stopped","data":{},"x":""#] {
        let unknown = StoredEvent {
            name: name.to_owned(),
            payload: Vec::new(),
            sealed: false,
        };
        assert!(matches!(unknown.event(), Err(EntryError::Event(_))));
    }
}

#[test]
fn each_kind_of_tampering_has_its_name() {
    let whole = log(6);
    assert!(first_fault(&whole).is_none());
    let with = |change: &dyn Fn(&mut Vec<Vec<u8>>)| {
        let mut log = whole.clone();
        change(&mut log);
        first_fault(&log).unwrap()
    };
    assert!(matches!(with(&|log| log[2][40] ^= 1), (2, Flaw::WrongHash)));
    assert!(matches!(
        with(&|log| drop(log.remove(2))),
        (2, Flaw::Gap { found: 3 })
    ));
    assert!(matches!(
        with(&|log| log.swap(1, 4)),
        (1, Flaw::Gap { found: 4 })
    ));
    assert!(matches!(
        with(&|log| log.insert(3, log[1].clone())),
        (3, Flaw::Order { found: 1 })
    ));
    // Rewritten with a right hash of its own: the next one knows better.
    let forged = |log: &mut Vec<Vec<u8>>| {
        let previous = Entry::split(&log[1]).unwrap().1;
        log[2] = entry(2, previous, "nothing happened").seal().stored;
    };
    assert!(matches!(with(&forged), (3, Flaw::WrongPrevious)));
    assert!(matches!(
        with(&|log| log[0].truncate(20)),
        (0, Flaw::Undecodable(_))
    ));
}

/// RFC 6962 as written, to check the quick one against.
fn slow_root(leaves: &[Vec<u8>]) -> Digest {
    match leaves {
        [] => Digest::of(b""),
        [leaf] => Digest::of(&[&[0], leaf.as_slice()].concat()),
        _ => {
            let mut split = 1;
            while split * 2 < leaves.len() {
                split *= 2;
            }
            let (left, right) = (slow_root(&leaves[..split]), slow_root(&leaves[split..]));
            Digest::of(&[&[1], left.0.as_slice(), right.0.as_slice()].concat())
        }
    }
}

#[test]
fn roots_are_those_of_the_reference_implementation() {
    // Test vectors of the Certificate Transparency reference implementation.
    let vectors = [
        (
            "",
            "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        ),
        (
            "00",
            "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
        ),
        (
            "10",
            "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
        ),
        (
            "2021",
            "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        ),
        (
            "3031",
            "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
        ),
        (
            "40414243",
            "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
        ),
        (
            "5051525354555657",
            "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
        ),
        (
            "606162636465666768696a6b6c6d6e6f",
            "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
        ),
    ];
    let mut builder = RootBuilder::default();
    assert_eq!(builder.root(), slow_root(&[]));
    for (input, root) in vectors {
        builder.push_leaf(merkle::leaf_hash(&hex::decode(input).unwrap()));
        assert_eq!(builder.root().to_string(), root);
    }
}

/// RFC 6962 as written: the way from a leaf to the root.
fn slow_proof(leaves: &[Vec<u8>], index: usize) -> Vec<Digest> {
    if leaves.len() == 1 {
        return Vec::new();
    }
    let split = leaves.len().next_power_of_two() / 2;
    let (left, right) = leaves.split_at(split);
    let (mut way, sibling) = if index < split {
        (slow_proof(left, index), slow_root(right))
    } else {
        (slow_proof(right, index - split), slow_root(left))
    };
    way.push(sibling);
    way
}

#[test]
fn every_leaf_is_proved_and_nothing_else() {
    let leaves: Vec<Vec<u8>> = (0..67_u8).map(|byte| vec![byte]).collect();
    let hashes: Vec<Digest> = leaves.iter().map(|leaf| merkle::leaf_hash(leaf)).collect();
    let verify = |leaf, index: usize, size: usize, proof: &[Digest], root| {
        merkle::verify_inclusion(leaf, index as u64, size as u64, proof, root)
    };
    let stranger = Digest([7; 32]);
    for size in 1..=leaves.len() {
        let root = merkle::root(&hashes[..size]);
        assert_eq!(root, slow_root(&leaves[..size]));
        for (index, leaf) in hashes[..size].iter().copied().enumerate() {
            let proof = slow_proof(&leaves[..size], index);
            assert!(verify(leaf, index, size, &proof, root));
            assert!(!verify(stranger, index, size, &proof, root));
            assert!(!verify(leaf, index, size, &proof, stranger));
            assert!(size == 1 || !verify(leaf, (index + 1) % size, size, &proof, root));
            assert!(!verify(leaf, size, size, &proof, root));
            if let Some(shorter) = proof.len().checked_sub(1) {
                assert!(!verify(leaf, index, size, &proof[..shorter], root));
            }
            let longer = [proof.as_slice(), &[root]].concat();
            assert!(!verify(leaf, index, size, &longer, root));
        }
    }
}

proptest! {
    #[test]
    fn any_flipped_byte_is_found(record in 0..8_usize, place in 0.0..1.0_f64, flip in 1..=255_u8) {
        let mut log = log(8);
        let byte = (log[record].len() as f64 * place) as usize;
        log[record][byte] ^= flip;
        prop_assert_eq!(first_fault(&log).unwrap().0, record as u64);
    }

    #[test]
    fn any_removed_or_swapped_records_are_found(one in 0..8_usize, two in 0..8_usize) {
        let whole = log(8);
        if one + 1 < whole.len() {
            let mut removed = whole.clone();
            removed.remove(one);
            prop_assert_eq!(first_fault(&removed).unwrap().0, one as u64);
        }
        if one != two {
            let mut swapped = whole.clone();
            swapped.swap(one, two);
            prop_assert_eq!(first_fault(&swapped).unwrap().0, one.min(two) as u64);
        }
    }

    #[test]
    fn no_two_records_share_their_bytes(
        one in (any::<u64>(), "\\PC{0,12}", "\\PC{0,12}", any::<Vec<u8>>(), any::<bool>()),
        two in (any::<u64>(), "\\PC{0,12}", "\\PC{0,12}", any::<Vec<u8>>(), any::<bool>()),
    ) {
        let made = |(seq, agent, name, payload, sealed): (u64, String, String, Vec<u8>, bool)| Entry {
            seq,
            actor: Actor::Agent(agent).into(),
            event: StoredEvent {
                name,
                payload,
                sealed,
            },
            ..entry(0, Digest([0; 32]), "")
        };
        let (one, two) = (made(one), made(two));
        prop_assert_eq!(one == two, one.canonical() == two.canonical());
        prop_assert_eq!(&Entry::parse(&one.canonical()).unwrap(), &one);
    }
}
