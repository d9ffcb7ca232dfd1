//! Test of allocations: a batch that is at no stage larger than an earlier one allocates nothing.

mod model;

use edge_runtime::engine::{CpuEngine, Engine, Logits, Tokens};
use model::{stages, tokens};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

/// Allocator that counts per thread, so that the test harness does not disturb.
struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: `System` does all the work; counting does not allocate.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // A thread that ends allocates after its counter is gone.
        let _ = ALLOCATIONS.try_with(|count| count.set(count.get() + 1));
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the contract of `dealloc`.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Runs both stages; two sentences of each batch leave after the first stage. Sets `logits` to
/// those of the remaining sentences.
fn walk(engine: &CpuEngine, tokens: Tokens, logits: &mut Logits) {
    let stay = tokens.sentences() - 2;
    let mut batch = engine.begin(tokens).unwrap();
    assert!(engine.run(0, &mut batch, logits).unwrap());
    let stay: &[usize] = &[0, 2, 3, 4, 6, 7][..stay.min(6)];
    engine.keep(&mut batch, stay).unwrap();
    assert!(engine.run(1, &mut batch, logits).unwrap());
    assert_eq!(logits.rows().count(), stay.len());
}

#[test]
fn nothing_is_allocated_after_the_first_batch() {
    for quantized in [false, true] {
        let mut engine = CpuEngine::default();
        for stage in stages(quantized) {
            engine.add_stage(stage).unwrap();
        }
        let mut logits = Logits::default();
        let all = [[17, 40, 1, 33, 5], [5, 3, 9, 1, 2], [33, 17, 40, 1, 5].map(|n| n / 2 + 1)];
        walk(&engine, tokens(&all[0]), &mut logits);
        let first = logits.clone();
        for lengths in &all {
            let tokens = tokens(lengths);
            let before = ALLOCATIONS.get();
            walk(&engine, tokens, &mut logits);
            assert_eq!(ALLOCATIONS.get() - before, 0, "{lengths:?}, int8: {quantized}");
        }
        walk(&engine, tokens(&all[0]), &mut logits);
        assert_eq!(logits, first, "memory that is used again changes the answer");
    }
}

#[test]
fn the_allocator_counts() {
    let before = ALLOCATIONS.get();
    drop(std::hint::black_box(vec![1u8; 100]));
    assert_eq!(ALLOCATIONS.get() - before, 1);
}
