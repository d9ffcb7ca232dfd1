//! Progress on standard error: a bar on a terminal, elsewhere a line for every tenth of the work.

use edge_toolkit::train::Event;
use indicatif::{ProgressBar, ProgressStyle};
use std::cell::Cell;
use std::io::Write;

/// Progress display: a bar, or lines.
pub struct Progress {
    bar: ProgressBar,
    /// Work done at the last call, and all work.
    last: Cell<(usize, usize)>,
}

impl Progress {
    /// Creates a bar without a length.
    pub fn new() -> Self {
        let bar = ProgressBar::no_length();
        let style =
            ProgressStyle::with_template("{bar:24} {pos}/{len} {msg} {elapsed}, left {eta}");
        bar.set_style(style.expect("a template that is right"));
        Progress { bar, last: Cell::new((0, 0)) }
    }

    /// Shows that `done` of `of` are done; `words` name the unit.
    pub fn at(&self, done: usize, of: usize, words: impl Into<String>) {
        let due = tenth_passed(self.last.get(), (done, of));
        self.show(done, of, words.into(), due);
    }

    /// Shows progress as [`at`](Self::at) does; without a bar it always writes a line.
    pub fn each(&self, done: usize, of: usize, words: impl Into<String>) {
        self.show(done, of, words.into(), true);
    }

    fn show(&self, done: usize, of: usize, words: String, due: bool) {
        self.last.set((done, of));
        if self.bar.is_hidden() && due {
            self.say(&format!("{done}/{of} {words}"));
        }
        self.bar.set_length(of as u64);
        self.bar.set_position(done as u64);
        self.bar.set_message(words);
    }

    /// Writes a line, above the bar if there is one. The line is lost if standard error is closed.
    pub fn say(&self, line: &str) {
        self.bar.suspend(|| drop(writeln!(std::io::stderr(), "{line}")));
    }

    /// Removes the bar.
    pub fn finish(&self) {
        self.bar.finish_and_clear();
    }

    /// Shows the events of a run.
    pub fn events(&self) -> impl FnMut(Event) + '_ {
        // Loss and accuracy, smoothed.
        let (mut loss, mut accuracy) = (None::<f64>, None::<f64>);
        let smooth =
            |old: Option<f64>, new: f64| Some(old.map_or(new, |old| old + 0.02 * (new - old)));
        move |event| match event {
            Event::Note(note) => self.say(&note),
            Event::Progress(what, done, of) => self.at(done, of, what),
            Event::Step(step, of) => {
                loss = smooth(loss, step.loss);
                accuracy = step.accuracy.map_or(accuracy, |a| smooth(accuracy, a));
                let text = format!(
                    "steps, loss {:.3}, accuracy {:.1} %, {:.0} tokens/s",
                    loss.unwrap_or(0.0),
                    100.0 * accuracy.unwrap_or(0.0),
                    step.tokens_per_second
                );
                match step.step % 100 {
                    0 => self.each(step.step, of, text),
                    _ => self.at(step.step, of, text),
                }
            }
            Event::HeldOut(exits) => {
                let each: Vec<_> = exits.iter().map(|a| format!("{:.2}", 100.0 * a)).collect();
                self.say(&format!("held-out accuracy of every exit: {} %", each.join(" ")));
            }
        }
    }
}

/// True if a further tenth of the work is done since the last call. Other work starts at zero.
fn tenth_passed(last: (usize, usize), now: (usize, usize)) -> bool {
    let tenth = |(done, of): (usize, usize)| 10 * done / of.max(1);
    let before = if last.1 == now.1 && last.0 <= now.0 { tenth(last) } else { 0 };
    tenth(now) > before
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_tenth_is_due_once() {
        let mut last = (0, 0);
        let mut due = |done, of| {
            let passed = tenth_passed(last, (done, of));
            last = (done, of);
            passed
        };
        assert_eq!((0..=100).filter(|done| due(*done, 100)).count(), 10);
        assert_eq!((0..=3).filter(|done| due(*done, 3)).count(), 3);
        assert!(!due(0, 3) && due(3, 3), "the same once more");
        assert!(due(1, 1) && !due(0, 0));
    }
}
