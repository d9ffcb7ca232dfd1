//! Lines on standard output, for the command lines.

use std::fmt::Arguments;
use std::io::{ErrorKind, Write};

/// Writes a line. Where nobody reads on, as behind `| head`, what is being made is made to its end; any
/// other failure ends the program, with status 2 and a message.
pub fn line(program: &str, words: Arguments) {
    match writeln!(std::io::stdout(), "{words}") {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            eprintln!("{program}: standard output cannot be written: {error}");
            std::process::exit(2);
        }
        _ => {}
    }
}

/// [`line()`](crate::say::line), with the words of `println!`.
#[macro_export]
macro_rules! say {
    ($($words:tt)*) => { $crate::say::line(env!("CARGO_BIN_NAME"), format_args!($($words)*)) };
}
