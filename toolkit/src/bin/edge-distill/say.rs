//! Lines on standard output.

use std::fmt::Arguments;
use std::io::{ErrorKind, Write};

/// Writes a line. Where nobody reads on, as behind `| head`, what is being made is made to its end.
pub fn line(words: Arguments) {
    match writeln!(std::io::stdout(), "{words}") {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            eprintln!("edge-distill: standard output cannot be written: {error}");
            std::process::exit(2);
        }
        _ => {}
    }
}

/// [`line()`], with the words of `println!`.
macro_rules! say {
    ($($words:tt)*) => { $crate::say::line(format_args!($($words)*)) };
}
pub(crate) use say;
