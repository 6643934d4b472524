//! Instances made while nobody waits for them. A module that is asked gets a few,
//! each for exactly one decision; a thread of the engine's makes new ones, told by
//! the ticker, so that a decision never pays for waking it. Without a spare a
//! decision makes its own instance, which is all that a spare saves.
//!
//! Taking an instance apart costs as much as making it, so used ones are handed to
//! the same thread. Both go with their module: a generation that is gone keeps none.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::thread::Thread;

/// Spares of one module, unless said otherwise: two runs at once find one each.
pub(crate) const EACH: usize = 2;

/// Something that has spares to make.
pub(crate) trait Refill: Send + Sync {
    /// Makes one more; false when there are enough or none can be made.
    fn refill(&self) -> bool;
    /// Takes used instances apart.
    fn clear(&self);
}

/// Makes the spares of all modules of an engine.
pub(crate) struct Filler {
    /// For one module.
    each: usize,
    /// For all of them.
    total: usize,
    /// Spares that wait or are being made.
    made: AtomicUsize,
    /// Used instances that are not taken apart yet, `total` at most.
    used: AtomicUsize,
    /// Somebody took one, or came new.
    wanted: AtomicBool,
    closed: AtomicBool,
    modules: Mutex<Vec<Weak<dyn Refill>>>,
    thread: OnceLock<Thread>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Filler {
    /// Starts the thread; with `each` 0 there is none, and no spares.
    pub(crate) fn start(each: usize, total: usize) -> std::io::Result<Arc<Self>> {
        let filler = Arc::new(Self {
            each: each.min(total),
            total,
            made: AtomicUsize::new(0),
            used: AtomicUsize::new(0),
            wanted: AtomicBool::new(false),
            closed: AtomicBool::new(false),
            modules: Mutex::default(),
            thread: OnceLock::new(),
        });
        if filler.each > 0 {
            let own = Arc::clone(&filler);
            let thread = std::thread::Builder::new()
                .name("policy-spares".into())
                .spawn(move || own.run())?;
            let _ = filler.thread.set(thread.thread().clone());
        }
        Ok(filler)
    }

    /// Ends the thread.
    pub(crate) fn close(&self) {
        self.closed.store(true, SeqCst);
        if let Some(thread) = self.thread.get() {
            thread.unpark();
        }
    }

    /// Wakes the thread if there is something to make. For the ticker: waking
    /// somebody costs more than a spare saves.
    pub(crate) fn nudge(&self) {
        if self.wanted.load(SeqCst)
            && let Some(thread) = self.thread.get()
        {
            thread.unpark();
        }
    }

    /// Also keeps this one's spares, as long as it lives.
    fn join(&self, module: Weak<dyn Refill>) {
        lock(&self.modules).push(module);
    }

    fn run(&self) {
        while !self.closed.load(SeqCst) {
            if !self.wanted.swap(false, SeqCst) {
                std::thread::park();
                continue;
            }
            let mut living = Vec::new();
            lock(&self.modules).retain(|module| {
                let module = module.upgrade();
                let lives = module.is_some();
                living.extend(module);
                lives
            });
            for module in living {
                module.clear();
                loop {
                    if self.closed.load(SeqCst) || !module.refill() {
                        break;
                    }
                }
            }
        }
    }

    /// Room for one more in `count`, of whoever has `own`.
    fn book(&self, count: &AtomicUsize, own: usize) -> bool {
        let more = |count| (count < self.total).then_some(count + 1);
        own < self.each && count.fetch_update(SeqCst, SeqCst, more).is_ok()
    }
}

/// The spares of one module.
pub(crate) struct Spares<T> {
    filler: Arc<Filler>,
    ready: Mutex<Vec<T>>,
    used: Mutex<Vec<T>>,
    joined: AtomicBool,
    /// None can be made of this module.
    barred: AtomicBool,
}

impl<T> Spares<T> {
    pub(crate) fn new(filler: Arc<Filler>) -> Self {
        Self {
            filler,
            ready: Mutex::default(),
            used: Mutex::default(),
            joined: AtomicBool::new(false),
            barred: AtomicBool::new(false),
        }
    }

    /// A spare, if there is one; asks for a new one. `owner` makes it.
    pub(crate) fn take(&self, owner: impl FnOnce() -> Weak<dyn Refill>) -> Option<T> {
        if self.filler.each == 0 || self.barred.load(SeqCst) {
            return None;
        }
        if !self.joined.swap(true, SeqCst) {
            self.filler.join(owner());
        }
        let spare = lock(&self.ready).pop();
        if spare.is_some() {
            self.filler.made.fetch_sub(1, SeqCst);
        }
        self.filler.wanted.store(true, SeqCst);
        spare
    }

    /// Makes one more where there is room; `make` gives none where none can be made,
    /// which is final.
    pub(crate) fn refill(&self, make: impl FnOnce() -> Option<T>) -> bool {
        if self.barred.load(SeqCst) || !self.filler.book(&self.filler.made, self.waiting()) {
            return false;
        }
        match make() {
            Some(spare) => {
                lock(&self.ready).push(spare);
                true
            }
            None => {
                self.barred.store(true, SeqCst);
                self.filler.made.fetch_sub(1, SeqCst);
                false
            }
        }
    }

    /// Takes a used instance apart when nobody waits for it, or now where too many
    /// are used already.
    pub(crate) fn retire(&self, used: T) {
        let mut others = lock(&self.used);
        if self.joined.load(SeqCst) && self.filler.book(&self.filler.used, others.len()) {
            others.push(used);
            self.filler.wanted.store(true, SeqCst);
        }
    }

    /// Takes apart what was used.
    pub(crate) fn clear(&self) {
        let used = std::mem::take(&mut *lock(&self.used));
        self.filler.used.fetch_sub(used.len(), SeqCst);
    }

    /// How many are ready.
    pub(crate) fn waiting(&self) -> usize {
        lock(&self.ready).len()
    }
}

impl<T> Drop for Spares<T> {
    fn drop(&mut self) {
        self.filler.made.fetch_sub(self.waiting(), SeqCst);
        self.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Numbers {
        spares: Spares<usize>,
        last: AtomicUsize,
        most: usize,
    }

    impl Refill for Numbers {
        fn refill(&self) -> bool {
            self.spares.refill(|| {
                let number = self.last.fetch_add(1, SeqCst);
                (number < self.most).then_some(number)
            })
        }

        fn clear(&self) {
            self.spares.clear();
        }
    }

    fn numbers(filler: &Arc<Filler>, most: usize) -> Arc<Numbers> {
        Arc::new(Numbers {
            spares: Spares::new(Arc::clone(filler)),
            last: AtomicUsize::new(0),
            most,
        })
    }

    fn take(numbers: &Arc<Numbers>) -> Option<usize> {
        numbers.spares.take(|| {
            let weak: Weak<Numbers> = Arc::downgrade(numbers);
            weak
        })
    }

    /// A filler without a thread: the test is the thread.
    fn still(each: usize, total: usize) -> Arc<Filler> {
        let filler = Filler::start(0, total).unwrap();
        let mut filler = Arc::into_inner(filler).unwrap();
        filler.each = each;
        Arc::new(filler)
    }

    #[test]
    fn each_spare_is_given_once() {
        let filler = still(2, 8);
        let module = numbers(&filler, 100);
        assert_eq!(take(&module), None);
        while module.refill() {}
        assert_eq!(module.spares.waiting(), 2);
        assert_eq!(
            [take(&module), take(&module), take(&module)],
            [Some(1), Some(0), None]
        );
        assert_eq!(filler.made.load(SeqCst), 0);
    }

    #[test]
    fn all_together_stay_within_the_total_and_give_it_back() {
        let filler = still(2, 3);
        let modules = [numbers(&filler, 100), numbers(&filler, 100)];
        for module in &modules {
            while module.refill() {}
        }
        assert_eq!(
            modules
                .iter()
                .map(|module| module.spares.waiting())
                .sum::<usize>(),
            3
        );
        drop(modules);
        assert_eq!(filler.made.load(SeqCst), 0);
    }

    #[test]
    fn used_ones_are_bounded_and_cleared() {
        let filler = still(2, 3);
        let modules = [numbers(&filler, 100), numbers(&filler, 100)];
        for module in &modules {
            take(module);
            for number in 0..5 {
                module.spares.retire(number);
            }
        }
        assert_eq!(filler.used.load(SeqCst), 3);
        modules[0].clear();
        assert_eq!(filler.used.load(SeqCst), 1);
        drop(modules);
        assert_eq!(filler.used.load(SeqCst), 0);
    }

    #[test]
    fn a_module_of_which_none_can_be_made_is_left_alone() {
        let filler = still(2, 8);
        let module = numbers(&filler, 1);
        while module.refill() {}
        assert_eq!(filler.made.load(SeqCst), 1);
        assert!(!module.refill());
        assert_eq!(take(&module), None);
    }

    #[test]
    fn the_thread_makes_what_was_taken() {
        let filler = Filler::start(2, 8).unwrap();
        let module = numbers(&filler, 100);
        let mut seen = 0;
        while seen < 10 {
            seen += usize::from(take(&module).is_some());
            filler.nudge();
            std::thread::yield_now();
        }
        filler.close();
    }
}
