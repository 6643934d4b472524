//! The promises of the queue, in every order of events: exclusion, no deadlock, nobody
//! starved.

use super::*;
use proptest::prelude::*;

fn claim(files: &[u8], services: &[u8]) -> Claim {
    Claim {
        files: files.iter().map(|name| format!("f{name}")).collect(),
        services: services.iter().map(|name| format!("s{name}")).collect(),
    }
}

#[test]
fn approved_work_comes_first_but_nobody_is_passed_for_ever() {
    let mut queue = Queue::default();
    queue.put(IssueNumber(1), Job::Automatic);
    let mut taken = Vec::new();
    for number in 10..20 {
        queue.put(IssueNumber(number), Job::Approved);
        let issue = queue.take(Worker::Any).unwrap();
        queue.done(issue, None);
        taken.push(issue.0);
    }
    assert_eq!(
        taken.iter().position(|number| *number == 1),
        Some(3),
        "{taken:?}"
    );
}

#[test]
fn a_cleared_patch_waits_for_no_agent_but_for_its_files() {
    let mut queue = Queue::default();
    queue.put(IssueNumber(1), Job::Approved);
    queue.put(IssueNumber(2), Job::Apply(claim(&[1], &[])));
    queue.put(IssueNumber(3), Job::Apply(claim(&[1, 2], &[])));
    queue.put(IssueNumber(4), Job::Apply(claim(&[2], &[])));
    queue.put(IssueNumber(5), Job::Apply(claim(&[], &[1])));
    assert_eq!(queue.take(Worker::Closer), Some(IssueNumber(2)));
    // 3 waits for 2, and 4 came after 3.
    assert_eq!(queue.take(Worker::Closer), Some(IssueNumber(5)));
    assert_eq!(queue.take(Worker::Closer), None);
    assert_eq!(queue.take(Worker::Any), Some(IssueNumber(1)));
    assert!(!queue.hold(IssueNumber(1), &claim(&[2], &[])));
    assert!(queue.hold(IssueNumber(1), &claim(&[9], &[])));
    assert_eq!(
        queue.in_the_way(IssueNumber(9), &claim(&[9], &[])),
        Some(IssueNumber(1))
    );
    // It is done, but the record says that it still holds its file.
    queue.done(IssueNumber(2), Some(claim(&[1], &[])));
    assert_eq!(queue.take(Worker::Any), None);
    queue.done(IssueNumber(2), None);
    assert_eq!(queue.take(Worker::Any), Some(IssueNumber(3)));
}

#[test]
fn an_issue_is_never_worked_on_twice_at_a_time() {
    let mut queue = Queue::default();
    queue.put(IssueNumber(1), Job::Approved);
    assert_eq!(queue.take(Worker::Any), Some(IssueNumber(1)));
    queue.put(IssueNumber(1), Job::Approved);
    assert_eq!(queue.take(Worker::Any), None);
    queue.done(IssueNumber(1), None);
    assert_eq!(queue.take(Worker::Any), Some(IssueNumber(1)));
    queue.done(IssueNumber(1), None);
    assert!(queue.is_idle());
}

#[derive(Clone, Debug)]
enum Act {
    Report {
        approved: bool,
    },
    Take(Worker),
    /// The n-th issue under way comes to a cleared patch.
    Cleared(usize, Vec<u8>, Vec<u8>),
    /// The n-th issue under way comes to its end.
    End(usize),
    /// The host starts again.
    Restart,
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let names = || prop::collection::vec(0..5_u8, 0..3);
    let act = prop_oneof![
        3 => any::<bool>().prop_map(|approved| Act::Report { approved }),
        4 => prop_oneof![Just(Worker::Any), Just(Worker::Closer)].prop_map(Act::Take),
        3 => (0..4_usize, names(), names()).prop_map(|(n, files, services)| Act::Cleared(n, files, services)),
        3 => (0..4_usize).prop_map(Act::End),
        1 => Just(Act::Restart),
    ];
    prop::collection::vec(act, 0..120)
}

/// What the records say of an issue.
#[derive(Clone, PartialEq, Debug)]
enum Recorded {
    New(bool),
    Cleared(Claim),
    Applied(Claim),
}

#[derive(Default)]
struct Host {
    queue: Queue,
    records: BTreeMap<IssueNumber, Recorded>,
    working: Vec<IssueNumber>,
}

impl Host {
    fn job(&self, issue: IssueNumber) -> Job {
        match &self.records[&issue] {
            Recorded::New(true) => Job::Approved,
            Recorded::New(false) => Job::Automatic,
            Recorded::Cleared(claim) => Job::Apply(claim.clone()),
            Recorded::Applied(claim) => Job::Close(claim.clone()),
        }
    }

    fn put(&mut self, issue: IssueNumber) {
        let job = self.job(issue);
        self.queue.put(issue, job);
    }

    /// As the walk does: at a cleared patch it goes on if it may, else it waits.
    fn take(&mut self, worker: Worker) {
        let Some(issue) = self.queue.take(worker) else {
            return;
        };
        self.working.push(issue);
        if let Recorded::Cleared(claim) = self.records[&issue].clone() {
            self.records.insert(issue, Recorded::Applied(claim));
        }
    }

    fn cleared(&mut self, at: usize, claim: Claim) {
        let Some(issue) = self.working.get(at).copied() else {
            return;
        };
        if !matches!(self.records[&issue], Recorded::New(_)) {
            return;
        }
        if self.queue.hold(issue, &claim) {
            self.records.insert(issue, Recorded::Applied(claim));
        } else {
            self.records.insert(issue, Recorded::Cleared(claim));
            self.put(issue);
            self.queue.done(issue, None);
            self.working.remove(at);
        }
    }

    fn end(&mut self, at: usize) {
        if at < self.working.len() {
            let issue = self.working.remove(at);
            self.queue.done(issue, None);
            self.records.remove(&issue);
        }
    }

    fn restart(&mut self) {
        self.queue = Queue::default();
        self.working.clear();
        for issue in self.records.keys().copied().collect::<Vec<_>>() {
            self.put(issue);
        }
    }

    fn check(&self) {
        let applied: Vec<&Claim> = self
            .records
            .values()
            .filter_map(|it| match it {
                Recorded::Applied(claim) => Some(claim),
                Recorded::New(_) | Recorded::Cleared(_) => None,
            })
            .collect();
        for (at, one) in applied.iter().enumerate() {
            for other in applied.iter().skip(at + 1) {
                assert!(
                    !one.meets(other),
                    "{one:?} and {other:?} are applied at once"
                );
            }
        }
        let unique: BTreeSet<_> = self.working.iter().collect();
        assert_eq!(unique.len(), self.working.len());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_two_hold_the_same_and_everything_comes_to_its_end(acts in acts()) {
        let mut host = Host::default();
        let mut next = 0;
        for act in acts {
            match act {
                Act::Report { approved } => {
                    next += 1;
                    host.records.insert(IssueNumber(next), Recorded::New(approved));
                    host.put(IssueNumber(next));
                }
                Act::Take(worker) => host.take(worker),
                Act::Cleared(at, files, services) => host.cleared(at, claim(&files, &services)),
                Act::End(at) => host.end(at),
                Act::Restart => host.restart(),
            }
            host.check();
        }
        // Nothing new comes: one worker after the other finishes everything.
        for _ in 0..2 * next + 2 {
            while !host.working.is_empty() {
                host.end(0);
            }
            host.take(Worker::Any);
            host.check();
        }
        while !host.working.is_empty() {
            host.end(0);
        }
        prop_assert!(host.records.is_empty(), "left over: {:?}", host.records);
        prop_assert!(host.queue.is_idle());
        prop_assert!(host.queue.holding.is_empty());
    }

    #[test]
    fn nobody_starves_however_much_approved_work_comes(
        waiting in prop::collection::vec(any::<bool>(), 1..8),
        flood in 40..80_u64,
    ) {
        let mut queue = Queue::default();
        for (number, approved) in (1..).zip(&waiting) {
            let job = if *approved { Job::Approved } else { Job::Automatic };
            queue.put(IssueNumber(number), job);
        }
        let mut taken = BTreeSet::new();
        // Two new approved ones for each that is done.
        for number in 0..flood {
            queue.put(IssueNumber(100 + 2 * number), Job::Approved);
            queue.put(IssueNumber(101 + 2 * number), Job::Approved);
            let issue = queue.take(Worker::Any).unwrap();
            queue.done(issue, None);
            taken.insert(issue);
        }
        for number in 1..=waiting.len() as u64 {
            prop_assert!(taken.contains(&IssueNumber(number)), "{number} waits still");
        }
    }
}
