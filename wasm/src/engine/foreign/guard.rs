//! The border to tract: its panics become errors.

use tract_onnx::prelude::*;
use tract_onnx::tract_core::internal::*;

/// Runs `body`; a panic in it becomes an error with the panic's message, which is not printed.
///
/// A build in which panics abort, as in WebAssembly, has no such border: there the program ends.
#[cfg(panic = "unwind")]
pub(super) fn guard<T>(body: impl FnOnce() -> TractResult<T>) -> TractResult<T> {
    use std::cell::Cell;
    use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};
    use std::sync::Once;

    thread_local! {
        static INSIDE: Cell<bool> = const { Cell::new(false) };
    }
    static QUIET: Once = Once::new();
    // Panics elsewhere go to the hook that was set before.
    QUIET.call_once(|| {
        let before = take_hook();
        set_hook(Box::new(move |panic| {
            if !INSIDE.get() {
                before(panic);
            }
        }));
    });
    let outer = INSIDE.replace(true);
    // What a panic leaves half done is dropped with `body`: a plan is not changed by a run.
    let result = catch_unwind(AssertUnwindSafe(body));
    INSIDE.set(outer);
    result.unwrap_or_else(|panic| {
        let words = panic
            .downcast_ref::<String>()
            .map(String::as_str)
            .or_else(|| panic.downcast_ref::<&str>().copied())
            .unwrap_or("without a message");
        Err(format_err!("tract panicked: {words}"))
    })
}

/// Runs `body`, in a build in which panics abort.
#[cfg(not(panic = "unwind"))]
pub(super) fn guard<T>(body: impl FnOnce() -> TractResult<T>) -> TractResult<T> {
    body()
}

#[cfg(all(test, panic = "unwind"))]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_an_error_with_its_words() {
        let words = |body: fn() -> TractResult<u8>| guard(body).unwrap_err().to_string();
        assert_eq!(words(|| panic!("number {}", 7)), "tract panicked: number 7");
        assert_eq!(words(|| panic!("plain")), "tract panicked: plain");
        assert_eq!(words(|| std::panic::panic_any(7)), "tract panicked: without a message");
        assert_eq!(words(|| bail!("an error")), "an error");
        assert_eq!(guard(|| Ok(1)).unwrap(), 1);
    }
}
