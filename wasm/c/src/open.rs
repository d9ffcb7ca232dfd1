//! Opening a bundle, asking what is in it, closing it.

use crate::error::{EdgeError, EdgeStatus, Failure, guard, of_opening};
use edge_runtime::{Classifier, Error, ExitPolicy, Scratch};
use std::ffi::{CStr, CString, c_char, c_void};
use std::io::Read;
use std::path::Path;
use std::ptr;
use std::sync::{Mutex, PoisonError};

/// A model that puts labels on texts. Any number of threads may use it at the same time; only
/// `edge_close` must come after all other calls have returned.
pub struct EdgeClassifier {
    pub(crate) classifier: Classifier,
    /// The bundle's own.
    pub(crate) policy: ExitPolicy,
    pub(crate) labels: Vec<CString>,
    /// The memory of calls that have returned: one for as many as there were at the same time.
    scratches: Mutex<Vec<Scratch>>,
}

impl EdgeClassifier {
    fn new(classifier: Classifier) -> Result<Self, Error> {
        let label = |label: &String| {
            CString::new(label.as_str()).map_err(|_| Error::Bundle {
                entry: "manifest.json".into(),
                problem: format!("the label {label:?} holds a NUL, which ends a text in C"),
            })
        };
        Ok(EdgeClassifier {
            policy: classifier.policy(),
            labels: classifier.labels().iter().map(label).collect::<Result<_, _>>()?,
            scratches: Mutex::default(),
            classifier,
        })
    }

    /// Calls `run` with memory that no other call uses meanwhile.
    pub(crate) fn with_scratch<T>(&self, run: impl FnOnce(&mut Scratch) -> T) -> T {
        let scratches = || self.scratches.lock().unwrap_or_else(PoisonError::into_inner);
        let mut scratch = scratches().pop().unwrap_or_default();
        let result = run(&mut scratch);
        scratches().push(scratch);
        result
    }
}

/// Reads the next bytes of a bundle: writes up to `capacity` of them to `buffer` and gives their
/// number, 0 at the end, or a negative number if it failed. `context` is what `edge_open_reader` was
/// given. It is called on the thread that opens, and not any more once that returns.
pub type EdgeRead =
    Option<unsafe extern "C" fn(context: *mut c_void, buffer: *mut u8, capacity: usize) -> isize>;

struct Callback {
    read: unsafe extern "C" fn(*mut c_void, *mut u8, usize) -> isize,
    context: *mut c_void,
}

impl Read for Callback {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        // SAFETY: the caller of `edge_open_reader` says that it may be called so.
        let read = unsafe { (self.read)(self.context, buffer.as_mut_ptr(), buffer.len()) };
        match usize::try_from(read) {
            Ok(read) if read <= buffer.len() => Ok(read),
            Ok(read) => Err(std::io::Error::other(format!(
                "the callback says that it wrote {read} bytes to a buffer of {}",
                buffer.len()
            ))),
            Err(_) => Err(std::io::Error::other(format!("the callback gave {read}"))),
        }
    }
}

/// Opens with `open` and hands the handle out.
///
/// # Safety
/// `out` and `error` are NULL or may be written to.
unsafe fn open_with(
    out: *mut *mut EdgeClassifier,
    error: *mut EdgeError,
    open: impl FnOnce() -> Result<Classifier, Failure>,
) -> EdgeStatus {
    let body = || {
        if out.is_null() {
            return Err(Failure::argument("`classifier`, where the handle is to go, is NULL"));
        }
        // SAFETY: the caller says so.
        unsafe { out.write(ptr::null_mut()) };
        let classifier = EdgeClassifier::new(open()?).map_err(of_opening)?;
        // SAFETY: the caller says so.
        unsafe { out.write(Box::into_raw(Box::new(classifier))) };
        Ok(())
    };
    // SAFETY: the caller says so.
    unsafe { guard(error, body) }
}

/// A path as the system has it: bytes on Unix, UTF-8 elsewhere.
///
/// # Safety
/// `path` is NULL or ends with a NUL.
unsafe fn read_path<'a>(path: *const c_char) -> Result<&'a Path, Failure> {
    if path.is_null() {
        return Err(Failure::argument("`path` is NULL"));
    }
    // SAFETY: the caller says so.
    let path = unsafe { CStr::from_ptr(path) };
    #[cfg(unix)]
    return Ok(Path::new(<std::ffi::OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(
        path.to_bytes(),
    )));
    #[cfg(not(unix))]
    return path
        .to_str()
        .map(Path::new)
        .map_err(|e| Failure::argument(format!("`path` is not UTF-8: {e}")));
}

/// Opens a model.edge and reads it into memory. Writes a handle to `classifier`, to be freed by
/// `edge_close`; NULL if it fails.
///
/// # Safety
/// `path` ends with a NUL; `error` is NULL or may be written to.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn edge_open(
    path: *const c_char,
    classifier: *mut *mut EdgeClassifier,
    error: *mut EdgeError,
) -> EdgeStatus {
    // SAFETY: the caller says so.
    unsafe {
        open_with(classifier, error, || Classifier::open(read_path(path)?).map_err(of_opening))
    }
}

/// As `edge_open`, with the file mapped into memory: int8 embeddings, half of a small model, are read
/// when they are needed and given back when memory is short.
///
/// # Safety
/// As `edge_open`. Nobody may write to the file or cut it short while the handle lives: a read behind
/// its end ends the process (by SIGBUS on Unix). To replace a model, write a new file and rename it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn edge_open_mapped(
    path: *const c_char,
    classifier: *mut *mut EdgeClassifier,
    error: *mut EdgeError,
) -> EdgeStatus {
    // SAFETY: the caller says so.
    unsafe {
        open_with(classifier, error, || {
            Classifier::open_mapped(read_path(path)?).map_err(of_opening)
        })
    }
}

/// As `edge_open`, for a bundle in memory: that of the program, if it is linked in. It is borrowed, not
/// copied; weights that are packed for this processor are computed with in place, if 64 divides `bytes`.
///
/// # Safety
/// The `length` bytes at `bytes` must stay as they are until `edge_close`; `error` is NULL or may be
/// written to.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn edge_open_memory(
    bytes: *const u8,
    length: usize,
    classifier: *mut *mut EdgeClassifier,
    error: *mut EdgeError,
) -> EdgeStatus {
    let open = || {
        // SAFETY: the caller keeps them until the handle is closed, and the handle holds nothing longer.
        let bytes: &'static [u8] = unsafe { slice(bytes, length, "bytes") }?;
        Classifier::from_static(bytes).map_err(of_opening)
    };
    // SAFETY: the caller says so.
    unsafe { open_with(classifier, error, open) }
}

/// As `edge_open`, for a bundle that a callback reads, from front to back, until it is complete: from
/// flash, an archive or the network.
///
/// # Safety
/// `read` may be called with `context`; `error` is NULL or may be written to.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn edge_open_reader(
    read: EdgeRead,
    context: *mut c_void,
    classifier: *mut *mut EdgeClassifier,
    error: *mut EdgeError,
) -> EdgeStatus {
    let open = || {
        let read = read.ok_or_else(|| Failure::argument("`read` is NULL"))?;
        Classifier::from_reader(Callback { read, context }).map_err(of_opening)
    };
    // SAFETY: the caller says so.
    unsafe { open_with(classifier, error, open) }
}

/// Frees a handle; does nothing if it is NULL.
///
/// # Safety
/// The handle is not used any more, by this thread or another.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn edge_close(classifier: *mut EdgeClassifier) {
    let close = || {
        if !classifier.is_null() {
            // SAFETY: it was made by `Box::into_raw`, and the caller uses it no more.
            drop(unsafe { Box::from_raw(classifier) });
        }
        Ok(())
    };
    // SAFETY: NULL is taken.
    unsafe { guard(ptr::null_mut(), close) };
}

/// The number of labels, which is that of the probabilities of a text; 0 if `classifier` is NULL.
///
/// # Safety
/// `classifier` is NULL or a handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn edge_labels(classifier: *const EdgeClassifier) -> usize {
    // SAFETY: the caller says so.
    unsafe { classifier.as_ref() }.map_or(0, |c| c.labels.len())
}

/// The label number `index`, in UTF-8; it lives as long as the handle. NULL if there is none.
///
/// # Safety
/// `classifier` is NULL or a handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn edge_label(
    classifier: *const EdgeClassifier,
    index: usize,
) -> *const c_char {
    // SAFETY: the caller says so.
    let label = unsafe { classifier.as_ref() }.and_then(|c| c.labels.get(index));
    label.map_or(ptr::null(), |label| label.as_ptr())
}

/// The number of exits, which is that of the thresholds of a policy with one for each; 0 if
/// `classifier` is NULL.
///
/// # Safety
/// `classifier` is NULL or a handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn edge_exits(classifier: *const EdgeClassifier) -> usize {
    // SAFETY: the caller says so.
    unsafe { classifier.as_ref() }.map_or(0, |c| c.classifier.manifest().exits())
}

/// The most tokens that the model takes, special ones included; longer texts are truncated. 0 if
/// `classifier` is NULL.
///
/// # Safety
/// `classifier` is NULL or a handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn edge_max_tokens(classifier: *const EdgeClassifier) -> usize {
    // SAFETY: the caller says so.
    unsafe { classifier.as_ref() }.map_or(0, |c| c.classifier.manifest().architecture.max_tokens)
}

/// The version of the library, such as "0.1.0".
#[unsafe(no_mangle)]
pub extern "C" fn edge_version() -> *const c_char {
    const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), "\0");
    VERSION.as_ptr().cast()
}

/// A slice of the caller's; NULL is taken for an empty one.
///
/// # Safety
/// There are so many elements, and they stay as they are for `'a`.
pub(crate) unsafe fn slice<'a, T>(
    pointer: *const T,
    length: usize,
    name: &str,
) -> Result<&'a [T], Failure> {
    if length == 0 {
        return Ok(&[]);
    }
    if pointer.is_null() {
        return Err(Failure::argument(format!("`{name}` is NULL, and its length is {length}")));
    }
    if length.checked_mul(size_of::<T>()).is_none_or(|bytes| bytes > isize::MAX as usize) {
        return Err(Failure::argument(format!(
            "the length of `{name}`, {length}, is more than memory can hold"
        )));
    }
    // SAFETY: the caller says so, and it fits in memory.
    Ok(unsafe { std::slice::from_raw_parts(pointer, length) })
}
