//! Data sets: reading, splitting, batching.
