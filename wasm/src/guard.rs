//! Boundary to dependencies that panic on some files: turns a panic into an error.

/// Runs `body`. A panic in `body` becomes an error with the panic's message, and is not printed.
///
/// In a build in which panics abort, as in WebAssembly, a panic ends the program.
#[cfg(panic = "unwind")]
pub(crate) fn guard<T>(body: impl FnOnce() -> T) -> Result<T, String> {
    use std::cell::Cell;
    use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};
    use std::sync::Once;

    thread_local! {
        static INSIDE: Cell<bool> = const { Cell::new(false) };
    }
    static QUIET: Once = Once::new();
    // Panics outside of `body` go to the previous hook.
    QUIET.call_once(|| {
        let before = take_hook();
        set_hook(Box::new(move |panic| {
            if !INSIDE.get() {
                before(panic);
            }
        }));
    });
    let outer = INSIDE.replace(true);
    // A panic leaves no value behind: `body` and everything it owns is dropped.
    let result = catch_unwind(AssertUnwindSafe(body));
    INSIDE.set(outer);
    result.map_err(|panic| {
        let words = panic.downcast_ref::<String>().map(String::as_str);
        let words = words.or_else(|| panic.downcast_ref::<&str>().copied());
        words.unwrap_or("a panic without a message").to_owned()
    })
}

/// Runs `body`, in a build in which panics abort.
#[cfg(not(panic = "unwind"))]
pub(crate) fn guard<T>(body: impl FnOnce() -> T) -> Result<T, String> {
    Ok(body())
}

#[cfg(all(test, panic = "unwind"))]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_an_error_with_its_words() {
        let words = |body: fn()| guard(body).unwrap_err();
        assert_eq!(words(|| panic!("number {}", 7)), "number 7");
        assert_eq!(words(|| panic!("plain")), "plain");
        assert_eq!(words(|| std::panic::panic_any(7)), "a panic without a message");
        assert_eq!(guard(|| 1), Ok(1));
    }
}
