//! Lines of a text file, in UTF-8.

use anyhow::{Context, bail};
use edge_runtime::encoding::{self, UTF8_MARK};
use std::io::{BufRead, Read};

/// Length of the longest line that is read, in bytes.
const LIMIT: usize = 1 << 20;

/// A line that was read.
pub enum Line {
    /// A text, without its line feed.
    Text(String),
    /// A line that cannot be read as text, with the reason.
    Bad(String),
    /// The end of the input.
    End,
}

/// Reader of lines. At most the limit is in memory of a line that is too long.
pub struct Lines<R> {
    input: R,
    read: usize,
}

impl<R: BufRead> Lines<R> {
    /// Checks the encoding at the start of the input.
    ///
    /// # Errors
    /// The input cannot be read, or is in another encoding than UTF-8.
    pub fn new(mut input: R) -> anyhow::Result<Self> {
        let start = input.fill_buf().context("cannot read the texts")?;
        if let Some(encoding) = encoding::recognize(start) {
            bail!("the texts are {encoding}");
        }
        let mark = if start.starts_with(UTF8_MARK.as_bytes()) { UTF8_MARK.len() } else { 0 };
        input.consume(mark);
        Ok(Lines { input, read: mark })
    }

    /// Bytes that were read.
    pub fn bytes(&self) -> usize {
        self.read
    }

    /// Reads the next line.
    ///
    /// # Errors
    /// The input cannot be read.
    pub fn next(&mut self) -> anyhow::Result<Line> {
        self.read_line().context("cannot read the texts")
    }

    fn read_line(&mut self) -> std::io::Result<Line> {
        let mut line = Vec::new();
        let mut read = self.input.by_ref().take(LIMIT as u64 + 1).read_until(b'\n', &mut line)?;
        self.read += read;
        if read == 0 {
            return Ok(Line::End);
        }
        if line.len() > LIMIT && line.last() != Some(&b'\n') {
            let rest = self.input.skip_until(b'\n')?;
            self.read += rest;
            read += rest;
            return Ok(Line::Bad(format!(
                "found {read} bytes; expected at most {LIMIT} in a line"
            )));
        }
        if line.last() == Some(&b'\n') {
            line.pop();
            if line.last() == Some(&b'\r') {
                line.pop();
            }
        }
        if let Some(nul) = line.iter().position(|b| *b == 0) {
            return Ok(Line::Bad(format!("a NUL at byte {}; expected text", nul + 1)));
        }
        Ok(match String::from_utf8(line) {
            Ok(text) => Line::Text(text),
            Err(e) => Line::Bad(format!("not UTF-8 at byte {}", e.utf8_error().valid_up_to() + 1)),
        })
    }
}
