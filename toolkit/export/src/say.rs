//! Lines on standard output, for the command line programs.

use std::fmt::Arguments;
use std::io::{ErrorKind, Write};

/// Writes a line. A closed pipe, as of `
/// head`, is ignored: the program completes its work. Any other failure ends the program with
/// status 2 and a message.
pub fn line(program: &str, words: Arguments) {
    match writeln!(std::io::stdout(), "{words}") {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            eprintln!("{program}: standard output cannot be written: {error}");
            std::process::exit(2);
        }
        _ => {}
    }
}

/// Calls [`line()`](crate::say::line) with the syntax of `println!`.
#[macro_export]
macro_rules! say {
    ($($words:tt)*) => { $crate::say::line(env!("CARGO_BIN_NAME"), format_args!($($words)*)) };
}
