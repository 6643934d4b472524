//! The guest's allocator: it only moves forward. Every decision runs in a fresh
//! instance that is thrown away, so freeing would be work for nothing.

#[cfg(target_arch = "wasm32")]
pub use bump::make_room;

#[cfg(target_arch = "wasm32")]
#[expect(
    unsafe_code,
    reason = "a global allocator is an unsafe trait; one thread, checked arithmetic"
)]
mod bump {
    use std::alloc::{GlobalAlloc, Layout};
    use std::cell::Cell;

    /// Tells the host that nothing here is ever given back: it may then hand over a
    /// question in one allocation instead of one for each text of it.
    #[used]
    #[unsafe(link_section = "selfheal:keeps-memory")]
    static KEEPS_MEMORY: [u8; 1] = *b"1";

    /// Wasm page, bytes.
    const PAGE: usize = 65_536;

    struct Bump {
        /// First free address; 0 before the first allocation.
        next: Cell<usize>,
        /// End of the memory that may be used.
        end: Cell<usize>,
    }

    // SAFETY: the target has one thread only.
    unsafe impl Sync for Bump {}

    /// Room that a question finds, bytes: its facts and what is made of them.
    const ROOM: usize = 256 << 10;

    /// Grows memory now, while nobody waits, so that a question need not. Where the
    /// host gives no more, a question may still do with less.
    pub fn make_room() {
        ALLOCATOR.reach(ALLOCATOR.next.get() + ROOM);
    }

    impl Bump {
        /// Makes sure that memory reaches up to `end`; false when the host refuses.
        fn reach(&self, end: usize) -> bool {
            if end <= self.end.get() {
                return true;
            }
            let missing = end - self.end.get();
            // Growing is a call into the host, so grow in steps of 1 MiB at least.
            let pages = missing.div_ceil(PAGE).max(16);
            let before = core::arch::wasm32::memory_grow(0, pages);
            if before == usize::MAX {
                return false;
            }
            // Nobody else grows this memory, so the new pages continue the old ones.
            if self.next.get() == 0 {
                self.next.set(before * PAGE);
            }
            self.end.set((before + pages) * PAGE);
            end <= self.end.get() || self.reach(end)
        }
    }

    // SAFETY: blocks never overlap, since `next` only grows; alignment is rounded
    // up; a refused growth returns null.
    unsafe impl GlobalAlloc for Bump {
        unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
            if self.next.get() == 0 && !self.reach(1) {
                return std::ptr::null_mut();
            }
            let Some(start) = self.next.get().checked_next_multiple_of(layout.align()) else {
                return std::ptr::null_mut();
            };
            let Some(end) = start.checked_add(layout.size()) else {
                return std::ptr::null_mut();
            };
            if !self.reach(end) {
                return std::ptr::null_mut();
            }
            self.next.set(end);
            start as *mut u8
        }

        unsafe fn dealloc(&self, _block: *mut u8, _layout: Layout) {}

        unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
            let start = block as usize;
            // The latest block grows where it stands.
            if start + layout.size() == self.next.get() {
                let Some(end) = start.checked_add(size) else {
                    return std::ptr::null_mut();
                };
                if !self.reach(end) {
                    return std::ptr::null_mut();
                }
                self.next.set(end);
                return block;
            }
            if size <= layout.size() {
                return block;
            }
            // SAFETY: `layout` describes `block`, the new block is larger and apart from it.
            unsafe {
                let fresh = self.alloc(Layout::from_size_align_unchecked(size, layout.align()));
                if !fresh.is_null() {
                    std::ptr::copy_nonoverlapping(block, fresh, layout.size());
                }
                fresh
            }
        }
    }

    #[global_allocator]
    static ALLOCATOR: Bump = Bump {
        next: Cell::new(0),
        end: Cell::new(0),
    };
}
