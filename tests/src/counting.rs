//! Counting allocator. A test declares it:
//!
//! ```
//! use edge_tests::counting::{Counting, counted};
//!
//! #[global_allocator]
//! static ALLOCATOR: Counting = Counting;
//!
//! let (kept, counts) = counted(|| vec![0u8; 1000]);
//! assert_eq!((counts.allocations, counts.left, counts.peak), (1, 1000, 1000));
//! drop(kept);
//! ```

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

/// The system's allocator, which counts for each thread separately, so that parallel tests do not
/// disturb each other.
#[derive(Debug)]
pub struct Counting;

/// Allocations of a thread during a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counts {
    /// Number of allocations, growing and shrinking included.
    pub allocations: usize,
    /// Bytes that are still allocated at the end; negative if more was freed.
    pub left: isize,
    /// Largest number of bytes at once.
    pub peak: usize,
}

thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
    static LIVE: Cell<isize> = const { Cell::new(0) };
    static PEAK: Cell<isize> = const { Cell::new(0) };
}

/// Calls `run`, and returns its result and its allocations.
pub fn counted<T>(run: impl FnOnce() -> T) -> (T, Counts) {
    let (allocations, live) = (ALLOCATIONS.get(), LIVE.get());
    PEAK.set(live);
    let result = run();
    let counts = Counts {
        allocations: ALLOCATIONS.get() - allocations,
        left: LIVE.get() - live,
        peak: (PEAK.get() - live) as usize,
    };
    (result, counts)
}

fn count(bytes: isize) {
    // Cells of constants need no destructor, so they exist as long as their thread.
    LIVE.set(LIVE.get() + bytes);
    PEAK.set(PEAK.get().max(LIVE.get()));
    ALLOCATIONS.set(ALLOCATIONS.get() + usize::from(bytes > 0));
}

// SAFETY: `System` allocates; counting itself does not allocate.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(-(layout.size() as isize));
        // SAFETY: the caller keeps the contract of `dealloc`.
        unsafe { System.dealloc(pointer, layout) }
    }
}
