//! Data sets: reading, splitting, batching, fetching.
//!
//! | file | |
//! |---|---|
//! | `.tsv` | a header, then one row a line; no quoting, as in GLUE |
//! | `.csv` | a header, then rows as in RFC 4180 |
//! | `.jsonl`, `.ndjson`, `.json` | one object a line |
//! | `.parquet` | snappy, gzip, brotli, lz4, zstd or not compressed |
//!
//! A row has one text and, to learn from or to measure with, one label: a word, a whole number or a
//! boolean. In TSV and CSV files without a header the columns are numbers, from 1.

mod batches;
mod columns;
mod dataset;
mod delimited;
mod headless;
pub mod hub;
mod json_lines;
mod labels;
mod parquet;
mod split;
mod words;

pub use batches::{batches, in_order};
pub use columns::Columns;
pub use dataset::{Dataset, Example, Guess};
pub use split::{Split, hold_out};
