//! Git LFS pointers: small texts that Git leaves in place of large files.

/// Problem of a file that Git LFS has not fetched, with the remedy.
pub const POINTER: &str = "is a Git LFS pointer in place of the file; run `git lfs pull` in \
                           its repository";

/// True if a file with this beginning is a pointer.
///
/// The beginning is that of the
/// [specification](https://github.com/git-lfs/git-lfs/blob/main/docs/spec.md).
pub fn is_pointer(start: &[u8]) -> bool {
    start.starts_with(b"version https://git-lfs.github.com/spec/")
}
