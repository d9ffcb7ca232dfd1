//! Functions to open, query and close a bundle.

use crate::error::{EdgeError, EdgeStatus, Failure, guard, of_opening};
use edge_runtime::{Classifier, Error, ExitPolicy, Scratch};
use std::ffi::{CStr, CString, c_char, c_void};
use std::io::Read;
use std::path::Path;
use std::ptr;
use std::sync::{Mutex, PoisonError};

/// Text classifier. Any number of threads may use it at the same time. `edge_close` must be called
/// after all other calls have returned.
pub struct EdgeClassifier {
    pub(crate) classifier: Classifier,
    /// Exit policy of the bundle.
    pub(crate) policy: ExitPolicy,
    pub(crate) labels: Vec<CString>,
    /// Memory of calls that have returned: one for each simultaneous call.
    scratches: Mutex<Vec<Scratch>>,
}

impl EdgeClassifier {
    fn new(classifier: Classifier) -> Result<Self, Error> {
        let label = |label: &String| {
            CString::new(label.as_str()).map_err(|_| Error::Bundle {
                entry: "manifest.json".into(),
                problem: format!("the label {label:?} contains a NUL, which ends a string in C"),
            })
        };
        Ok(EdgeClassifier {
            policy: classifier.policy(),
            labels: classifier.labels().iter().map(label).collect::<Result<_, _>>()?,
            scratches: Mutex::default(),
            classifier,
        })
    }

    /// Calls `run` with memory that only this call uses.
    pub(crate) fn with_scratch<T>(&self, run: impl FnOnce(&mut Scratch) -> T) -> T {
        let scratches = || self.scratches.lock().unwrap_or_else(PoisonError::into_inner);
        let mut scratch = scratches().pop().unwrap_or_default();
        let result = run(&mut scratch);
        scratches().push(scratch);
        result
    }
}

/// Callback that reads the next bytes of a bundle. It writes up to `capacity` bytes to `buffer` and
/// returns their number, 0 at the end, or a negative number after a failure. `context` is the
/// argument of `edge_open_reader`, which calls the function on its own thread, only until it
/// returns.
pub type EdgeRead =
    Option<unsafe extern "C" fn(context: *mut c_void, buffer: *mut u8, capacity: usize) -> isize>;

struct Callback {
    read: unsafe extern "C" fn(*mut c_void, *mut u8, usize) -> isize,
    context: *mut c_void,
}

impl Read for Callback {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        // SAFETY: required of the caller of `edge_open_reader`.
        let read = unsafe { (self.read)(self.context, buffer.as_mut_ptr(), buffer.len()) };
        match usize::try_from(read) {
            Ok(read) if read <= buffer.len() => Ok(read),
            Ok(read) => Err(std::io::Error::other(format!(
                "the callback wrote {read} bytes; expected at most {}, the size of the buffer",
                buffer.len()
            ))),
            Err(_) => {
                Err(std::io::Error::other(format!("the callback failed: it returned {read}")))
            }
        }
    }
}

/// Opens a classifier with `open` and writes the handle to `out`.
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
            return Err(Failure::argument("`classifier` is NULL; expected memory for the handle"));
        }
        // SAFETY: required of the caller.
        unsafe { out.write(ptr::null_mut()) };
        let classifier = EdgeClassifier::new(open()?).map_err(of_opening)?;
        // SAFETY: required of the caller.
        unsafe { out.write(Box::into_raw(Box::new(classifier))) };
        Ok(())
    };
    // SAFETY: required of the caller.
    unsafe { guard(error, body) }
}

/// Converts a path: bytes on Unix, UTF-8 elsewhere.
///
/// # Safety
/// `path` is NULL or ends with a NUL.
unsafe fn read_path<'a>(path: *const c_char) -> Result<&'a Path, Failure> {
    if path.is_null() {
        return Err(Failure::argument("`path` is NULL"));
    }
    // SAFETY: required of the caller.
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

/// Opens a model.edge and reads it into memory. Writes a handle to `classifier`, or NULL after a
/// failure. `edge_close` frees the handle.
///
/// # Safety
/// `path` ends with a NUL; `error` is NULL or may be written to.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn edge_open(
    path: *const c_char,
    classifier: *mut *mut EdgeClassifier,
    error: *mut EdgeError,
) -> EdgeStatus {
    // SAFETY: required of the caller.
    unsafe {
        open_with(classifier, error, || Classifier::open(read_path(path)?).map_err(of_opening))
    }
}

/// Opens a model.edge like `edge_open`, and maps the file into memory. The system reads int8
/// embeddings, half of a small model, on first use, and drops them when memory is short.
///
/// # Safety
/// The requirements of `edge_open`. The file must stay unchanged while the handle lives: a read
/// behind the end of a shortened file ends the process (by SIGBUS on Unix). To replace a model,
/// write a new file and rename it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn edge_open_mapped(
    path: *const c_char,
    classifier: *mut *mut EdgeClassifier,
    error: *mut EdgeError,
) -> EdgeStatus {
    // SAFETY: required of the caller.
    unsafe {
        open_with(classifier, error, || {
            Classifier::open_mapped(read_path(path)?).map_err(of_opening)
        })
    }
}

/// Opens a bundle in memory like `edge_open`, for example one that is linked into the program. The
/// bundle is borrowed, not copied. Weights that are packed for this processor are used in place, if
/// `bytes` is a multiple of 64.
///
/// # Safety
/// The `length` bytes at `bytes` must stay unchanged until `edge_close`; `error` is NULL or may be
/// written to.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn edge_open_memory(
    bytes: *const u8,
    length: usize,
    classifier: *mut *mut EdgeClassifier,
    error: *mut EdgeError,
) -> EdgeStatus {
    let open = || {
        // SAFETY: the caller keeps the bytes until the handle is closed, and only the handle uses
        // them.
        let bytes: &'static [u8] = unsafe { slice(bytes, length, "bytes") }?;
        Classifier::from_static(bytes).map_err(of_opening)
    };
    // SAFETY: required of the caller.
    unsafe { open_with(classifier, error, open) }
}

/// Opens a bundle like `edge_open`, through a callback that reads it from front to back: from
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
    // SAFETY: required of the caller.
    unsafe { open_with(classifier, error, open) }
}

/// Frees a handle; does nothing if it is NULL.
///
/// # Safety
/// No thread uses the handle any more.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn edge_close(classifier: *mut EdgeClassifier) {
    let close = || {
        if !classifier.is_null() {
            // SAFETY: `Box::into_raw` made the handle, and the caller uses it no more.
            drop(unsafe { Box::from_raw(classifier) });
        }
        Ok(())
    };
    // SAFETY: NULL is permitted.
    unsafe { guard(ptr::null_mut(), close) };
}

/// The number of labels, and of the probabilities of a text; 0 if `classifier` is NULL.
///
/// # Safety
/// `classifier` is NULL or a handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn edge_labels(classifier: *const EdgeClassifier) -> usize {
    // SAFETY: required of the caller.
    unsafe { classifier.as_ref() }.map_or(0, |c| c.labels.len())
}

/// The label number `index`, in UTF-8, valid until the handle is closed; NULL if `index` is too
/// large.
///
/// # Safety
/// `classifier` is NULL or a handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn edge_label(
    classifier: *const EdgeClassifier,
    index: usize,
) -> *const c_char {
    // SAFETY: required of the caller.
    let label = unsafe { classifier.as_ref() }.and_then(|c| c.labels.get(index));
    label.map_or(ptr::null(), |label| label.as_ptr())
}

/// The number of exits, and of the thresholds of a policy with one threshold for each exit; 0 if
/// `classifier` is NULL.
///
/// # Safety
/// `classifier` is NULL or a handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn edge_exits(classifier: *const EdgeClassifier) -> usize {
    // SAFETY: required of the caller.
    unsafe { classifier.as_ref() }.map_or(0, |c| c.classifier.manifest().exits())
}

/// The model's length: the largest number of tokens of a text, special tokens included. Longer
/// texts are truncated. 0 if `classifier` is NULL.
///
/// # Safety
/// `classifier` is NULL or a handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn edge_max_tokens(classifier: *const EdgeClassifier) -> usize {
    // SAFETY: required of the caller.
    unsafe { classifier.as_ref() }.map_or(0, |c| c.classifier.manifest().input.max_tokens)
}

/// The version of the library, such as "0.1.0".
#[unsafe(no_mangle)]
pub extern "C" fn edge_version() -> *const c_char {
    const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), "\0");
    VERSION.as_ptr().cast()
}

/// Makes a slice of memory of the caller; NULL with length 0 gives an empty slice.
///
/// # Safety
/// `pointer` points to `length` elements, which stay unchanged for `'a`.
pub(crate) unsafe fn slice<'a, T>(
    pointer: *const T,
    length: usize,
    name: &str,
) -> Result<&'a [T], Failure> {
    if length == 0 {
        return Ok(&[]);
    }
    if pointer.is_null() {
        return Err(Failure::argument(format!(
            "`{name}` is NULL and its length is {length}; expected length 0"
        )));
    }
    if length.checked_mul(size_of::<T>()).is_none_or(|bytes| bytes > isize::MAX as usize) {
        return Err(Failure::argument(format!(
            "the length of `{name}` is {length}, more than memory can hold"
        )));
    }
    // SAFETY: required of the caller, and the size was checked above.
    Ok(unsafe { std::slice::from_raw_parts(pointer, length) })
}
