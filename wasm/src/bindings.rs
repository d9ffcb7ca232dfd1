//! The runtime for other languages.

mod js;
