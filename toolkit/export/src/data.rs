//! Data sets in files: texts and their labels.
//!
//! | file | |
//! |---|---|
//! | `.tsv` | a header, then one row a line; no quoting, as in GLUE |
//! | `.csv` | a header, then rows as in RFC 4180 |
//! | `.jsonl`, `.ndjson`, `.json` | one object a line |
//! | `.parquet` | snappy, gzip, brotli, lz4, zstd or not compressed; with the feature `parquet` |
//!
//! A row has one text and, for training or measuring, one label: a word, a whole number or a
//! boolean. In TSV and CSV files without a header the columns are named by numbers, from 1.

mod columns;
mod dataset;
mod delimited;
mod headless;
mod json_lines;
mod labels;
#[cfg(feature = "parquet")]
mod parquet;
mod raw;
mod words;

pub use columns::Columns;
pub use dataset::{Dataset, Example, Guess};
pub use words::words;
