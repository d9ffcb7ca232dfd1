//! Answers to texts, as lines on standard output.

use crate::arguments::Arguments;
use crate::lines::{Line, Lines};
use anyhow::Context;
use edge_runtime::engine::Engine;
use edge_runtime::{Classifier, Error, ExitPolicy, Prediction};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;
use std::fs::File;
use std::io::{BufRead, BufReader, IsTerminal, Write};
use std::path::Path;
use std::time::{Duration, Instant};

/// Number of lines that are classified together, for each thread.
const LINES_PER_THREAD: usize = 64;

/// Answers to texts, printed as they are computed.
pub struct Answers<'a, E: Engine> {
    classifier: &'a Classifier<E>,
    threads: usize,
    policy: ExitPolicy,
    json: bool,
    out: std::io::StdoutLock<'static>,
    /// Texts that left after each stage.
    exits: Vec<usize>,
    /// Time spent on classifying.
    spent: Duration,
}

impl<'a, E: Engine> Answers<'a, E> {
    /// Prepares answers with the settings of the command line.
    ///
    /// # Errors
    /// The exit policy does not fit the model.
    pub fn new(classifier: &'a Classifier<E>, arguments: &Arguments) -> anyhow::Result<Self> {
        Ok(Answers {
            classifier,
            threads: arguments.threads.into(),
            policy: arguments.policy(classifier.policy())?,
            json: arguments.json,
            out: std::io::stdout().lock(),
            exits: vec![0; classifier.manifest().stages.len()],
            spent: Duration::ZERO,
        })
    }

    /// Answers every line of a file, a batch at a time. Returns the number of lines without an
    /// answer.
    pub fn of_file(&mut self, path: &Path, stats: bool) -> anyhow::Result<usize> {
        let file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
        let bytes = file.metadata().map(|m| m.len()).unwrap_or(0);
        let bar = progress_bar(bytes, stats);
        let lines = Lines::new(BufReader::new(file)).with_context(|| path.display().to_string())?;
        let bad = self.of_lines(lines, lines_per_batch(self.threads, false), &bar)?;
        bar.finish_and_clear();
        Ok(bad)
    }

    /// Answers every line of standard input, as [`of_file`](Self::of_file) does.
    pub fn of_standard_input(&mut self) -> anyhow::Result<usize> {
        let input = std::io::stdin().lock();
        let most = lines_per_batch(self.threads, input.is_terminal());
        self.of_lines(Lines::new(input)?, most, &ProgressBar::hidden())
    }

    fn of_lines(
        &mut self,
        mut lines: Lines<impl BufRead>,
        most: usize,
        bar: &ProgressBar,
    ) -> anyhow::Result<usize> {
        let mut bad = 0;
        let mut batch: Vec<(usize, String)> = Vec::new();
        for number in 1.. {
            let line = lines.next()?;
            let end = matches!(line, Line::End);
            let problem = match line {
                Line::Text(text) => {
                    batch.push((number, text));
                    None
                }
                Line::Bad(problem) => Some(problem),
                Line::End => None,
            };
            if end || problem.is_some() || batch.len() == most {
                bad += self.of_batch("line", &batch)?;
                batch.clear();
            }
            if let Some(problem) = problem {
                bad += 1;
                self.report("line", number, &problem)?;
            }
            bar.set_position(lines.bytes() as u64);
            if end {
                break;
            }
        }
        Ok(bad)
    }

    /// Answers numbered texts; `unit` names the numbers in messages. Returns the number of texts
    /// without an answer.
    pub fn of_batch(&mut self, unit: &str, texts: &[(usize, String)]) -> anyhow::Result<usize> {
        if texts.is_empty() {
            return Ok(0);
        }
        let mut bad = 0;
        let all: Vec<&str> = texts.iter().map(|(_, text)| text.as_str()).collect();
        let start = Instant::now();
        let answers = match self.classifier.classify(&all, &self.policy) {
            Ok(predictions) => predictions.into_iter().map(Ok).collect(),
            Err(error) if is_of_a_text(&error) => self.one_by_one(&all),
            Err(error) => return Err(error.into()),
        };
        self.spent += start.elapsed();
        for ((number, text), answer) in texts.iter().zip(answers) {
            match answer {
                Ok(prediction) => {
                    self.exits[prediction.stage] += 1;
                    self.print(text, &prediction)?;
                }
                Err(error) => {
                    bad += 1;
                    self.report(unit, *number, &error.to_string())?;
                }
            }
        }
        self.out.flush()?;
        Ok(bad)
    }

    /// Answers each text alone, so that an error of one text affects that text only.
    fn one_by_one(&self, texts: &[&str]) -> Vec<Result<Prediction, Error>> {
        let one = |text: &&str| {
            let mut predictions = self.classifier.classify(&[*text], &self.policy)?;
            Ok(predictions.remove(0))
        };
        texts.iter().map(one).collect()
    }

    /// Reports a text that has no answer.
    fn report(&mut self, unit: &str, number: usize, problem: &str) -> std::io::Result<()> {
        eprintln!("edge-run: {unit} {number}: {problem}");
        if self.json {
            writeln!(self.out, "{}", json!({unit: number, "error": problem}))?;
        }
        Ok(())
    }

    fn print(&mut self, text: &str, p: &Prediction) -> std::io::Result<()> {
        if self.json {
            let probabilities: serde_json::Map<_, _> = self
                .classifier
                .labels()
                .iter()
                .cloned()
                .zip(p.probabilities.iter().map(|p| json!(p)))
                .collect();
            let line = json!({
                "text": text,
                "label": p.label,
                "probabilities": probabilities,
                "stage": p.stage,
                "tokens": p.tokens,
                "truncated": p.truncated,
                "exits": p.exits,
            });
            return writeln!(self.out, "{line}");
        }
        let probability = p.probabilities.iter().copied().fold(0.0, f32::max);
        let mut remarks = Vec::new();
        // An ONNX file from elsewhere is one stage with one exit.
        if self.exits.len() > 1 {
            remarks.push(format!("stage {} of {}", p.stage, self.exits.len() - 1));
        }
        if p.truncated {
            remarks.push("truncated".into());
        }
        let remarks = match remarks.is_empty() {
            true => String::new(),
            false => format!("  ({})", remarks.join(", ")),
        };
        writeln!(self.out, "{} {probability:.3}{remarks}  {text}", p.label)
    }

    /// Prints the exits at which texts left, and the speed, on standard error.
    pub fn print_stats(&self) {
        let texts: usize = self.exits.iter().sum();
        if texts == 0 {
            return eprintln!("no texts");
        }
        let share = |n: usize| 100.0 * n as f64 / texts as f64;
        for (stage, left) in self.exits.iter().enumerate() {
            if self.classifier.manifest().stages[stage].exit {
                let bar = "█".repeat((share(*left) / 2.5).round() as usize);
                eprintln!("stage {stage:>2}  {left:>8}  {:>5.1} %  {bar}", share(*left));
            }
        }
        let layers: usize = (0..self.exits.len())
            .map(|stage| self.exits[stage] * self.classifier.layers_through(stage))
            .sum();
        let full = texts * self.classifier.layers_through(self.exits.len() - 1);
        eprintln!(
            "{texts} texts, {:.1} % of the layers computed, {:.0} sentences per second",
            100.0 * layers as f64 / full.max(1) as f64,
            texts as f64 / self.spent.as_secs_f64().max(1e-9),
        );
    }
}

/// Number of lines that are classified together; 1 if a person types, who waits for each answer.
fn lines_per_batch(threads: usize, typed: bool) -> usize {
    if typed { 1 } else { LINES_PER_THREAD * threads }
}

/// Returns true if an error may concern a single text of a batch.
fn is_of_a_text(error: &Error) -> bool {
    matches!(error, Error::Tokenizer(_) | Error::Engine { .. })
}

/// Makes a progress bar. It is hidden if standard error is a file, or if answers go to the
/// terminal.
fn progress_bar(bytes: u64, wanted: bool) -> ProgressBar {
    if !std::io::stderr().is_terminal() || (std::io::stdout().is_terminal() && !wanted) {
        return ProgressBar::hidden();
    }
    let style = "{wide_bar} {bytes}/{total_bytes} {eta} left";
    ProgressBar::new(bytes)
        .with_style(ProgressStyle::with_template(style).expect("a valid template"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_typed_lines_are_answered_one_by_one() {
        assert_eq!(lines_per_batch(4, true), 1);
        assert_eq!(lines_per_batch(4, false), 4 * LINES_PER_THREAD);
    }
}
