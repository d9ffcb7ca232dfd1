//! Failures: a status for the program, and a message in memory of the caller.

use edge_runtime::Error;
use std::ffi::c_char;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Result of a call.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EdgeStatus {
    /// The call succeeded.
    Ok = 0,
    /// An argument is NULL, not UTF-8, or has too little room for the answer.
    Argument = 1,
    /// The file, or the callback that reads the bundle, failed.
    Io = 2,
    /// The bundle is damaged, cut short, of another version, or not supported by this library.
    Bundle = 3,
    /// The exit policy does not fit the model.
    Policy = 4,
    /// The text or the token ids cannot be classified.
    Input = 5,
    /// The computation failed.
    Engine = 6,
    /// A bug in the library. The classifier may still be closed.
    Panic = 7,
}

/// The size of a message in bytes, with the NUL at its end.
pub const EDGE_MESSAGE_BYTES: usize = 512;

/// Failure of a call, in memory of the caller. A call that succeeds leaves it unchanged.
#[repr(C)]
#[derive(Debug)]
pub struct EdgeError {
    /// The status that the call returned.
    pub status: EdgeStatus,
    /// Message with the fault, its place and the accepted form: UTF-8, cut to the size of the
    /// array, with a NUL at its end.
    pub message: [c_char; EDGE_MESSAGE_BYTES],
}

/// Failure of a call, before it is written to memory of the caller.
pub(crate) struct Failure {
    status: EdgeStatus,
    message: String,
}

impl Failure {
    pub(crate) fn argument(message: impl Into<String>) -> Self {
        Failure { status: EdgeStatus::Argument, message: message.into() }
    }

    pub(crate) fn policy(message: impl Into<String>) -> Self {
        Failure { status: EdgeStatus::Policy, message: message.into() }
    }
}

/// Converts an error of opening a bundle.
pub(crate) fn of_opening(error: Error) -> Failure {
    let status = match error {
        Error::Io { .. } | Error::Stream(_) => EdgeStatus::Io,
        _ => EdgeStatus::Bundle,
    };
    Failure { status, message: error.to_string() }
}

/// Converts an error of classifying a text.
pub(crate) fn of_classifying(error: Error) -> Failure {
    let status = match error {
        Error::Policy(_) => EdgeStatus::Policy,
        // Stage 0 reads the ids, so its error is a fault of the caller's ids.
        Error::Tokenizer(_) | Error::Engine { stage: 0, .. } => EdgeStatus::Input,
        _ => EdgeStatus::Engine,
    };
    Failure { status, message: error.to_string() }
}

/// Runs the body of a function: every failure, and a panic, becomes a status and a message.
///
/// # Safety
/// `error` is NULL or points to an [`EdgeError`] that may be written to.
pub(crate) unsafe fn guard(
    error: *mut EdgeError,
    body: impl FnOnce() -> Result<(), Failure>,
) -> EdgeStatus {
    // A body changes memory of the caller and local values only, so a panic leaves no broken state.
    let failure = match catch_unwind(AssertUnwindSafe(body)) {
        Ok(Ok(())) => return EdgeStatus::Ok,
        Ok(Err(failure)) => failure,
        Err(panic) => {
            let words = panic.downcast_ref::<&str>().copied();
            let words = words.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
            let message = format!("a bug in the library: {}", words.unwrap_or("no message"));
            Failure { status: EdgeStatus::Panic, message }
        }
    };
    if !error.is_null() {
        let status = failure.status;
        let mut message = [0; EDGE_MESSAGE_BYTES];
        let end = failure.message.floor_char_boundary(EDGE_MESSAGE_BYTES - 1);
        // A NUL would end the message early.
        let bytes = failure.message[..end].bytes().map(|b| if b == 0 { b' ' } else { b });
        for (to, from) in message.iter_mut().zip(bytes) {
            *to = from as c_char;
        }
        // SAFETY: required of the caller.
        unsafe { error.write(EdgeError { status, message }) };
    }
    failure.status
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::CStr;

    fn given(body: impl FnOnce() -> Result<(), Failure>) -> (EdgeStatus, EdgeStatus, String) {
        let mut error = EdgeError { status: EdgeStatus::Ok, message: [0x55; EDGE_MESSAGE_BYTES] };
        // SAFETY: `error` may be written to.
        let status = unsafe { guard(&mut error, body) };
        // SAFETY: every message ends with a NUL.
        let message = unsafe { CStr::from_ptr(error.message.as_ptr()) };
        (status, error.status, message.to_str().expect("UTF-8").to_owned())
    }

    #[test]
    fn a_panic_is_a_status() {
        let (status, same, message) = given(|| panic!("of {} words", "two"));
        assert_eq!((status, same), (EdgeStatus::Panic, EdgeStatus::Panic));
        assert_eq!(message, "a bug in the library: of two words");
        assert_eq!(given(|| panic!("of one")).2, "a bug in the library: of one");
        assert_eq!(given(|| std::panic::panic_any(5)).2, "a bug in the library: no message");
        // SAFETY: NULL is permitted.
        let status = unsafe { guard(std::ptr::null_mut(), || panic!("unheard")) };
        assert_eq!(status, EdgeStatus::Panic);
    }

    #[test]
    fn a_message_has_one_end() {
        let (.., message) = given(|| Err(Failure::argument("a\0b")));
        assert_eq!(message, "a b");
        let (.., message) = given(|| Err(Failure::argument("é".repeat(EDGE_MESSAGE_BYTES))));
        assert_eq!(message.len(), EDGE_MESSAGE_BYTES - 2);
    }
}
