//! Evaluation of a model: all its figures, for people and for machines.

use super::metrics::{self, F1, McNemar, Proportion};
use super::outcome::{Outcomes, Walked};
use super::table::{accuracy, aligned, percent};
use crate::Error;
use edge_runtime::ExitPolicy;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Figures of a model under a policy. `Display` is for people, serialization for machines.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Evaluation {
    /// The name of the model.
    pub name: String,
    /// Number of sentences.
    pub sentences: usize,
    /// The labels, in the order of the logits.
    pub labels: Vec<String>,
    /// Number of encoder layers.
    pub layers: usize,
    /// Figures of every exit, if all sentences left there.
    pub exits: Vec<Exit>,
    /// Figures if every sentence leaves at the last exit.
    pub full_depth: Figures,
    /// The policy.
    pub policy: ExitPolicy,
    /// Figures if every sentence leaves by the policy.
    pub early_exit: Figures,
}

/// The figures of one exit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Exit {
    /// Layer before the exit; 0 is the embeddings.
    pub layer: usize,
    /// The share of sentences whose label is right.
    pub accuracy: Proportion,
    /// The expected calibration error, 0 to 1.
    pub calibration_error: f64,
    /// The sentences that leave here under the policy.
    pub leave: usize,
}

/// Figures of all sentences under one policy.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Figures {
    /// The share of sentences whose label is right.
    pub accuracy: Proportion,
    /// F1.
    pub f1: F1,
    /// The expected calibration error, 0 to 1.
    pub calibration_error: f64,
    /// The layers computed, as a share of those at full depth, 0 to 1.
    pub share: f64,
    /// The sentences that leave at each exit.
    pub histogram: Vec<usize>,
}

impl Evaluation {
    /// Computes the figures of a model from its outcomes.
    ///
    /// # Errors
    /// [`Error::Measure`] if the outcomes are inconsistent or the policy does not match the model.
    pub fn of(name: &str, outcomes: &Outcomes, policy: &ExitPolicy) -> Result<Self, Error> {
        let early = outcomes.walk(policy)?;
        let full = outcomes.walk(&ExitPolicy::Never)?;
        let early_exit = Figures::of(outcomes, &early)?;
        let exits = outcomes.exits.iter().enumerate().map(|(exit, layer)| {
            let rows: Vec<&[f32]> = outcomes.logits.iter().map(|l| l[exit].as_slice()).collect();
            Ok(Exit {
                layer: *layer,
                accuracy: metrics::accuracy(&outcomes.truth, &outcomes.at_exit(exit)?)?,
                calibration_error: metrics::calibration_error(&outcomes.truth, &rows)?,
                leave: early_exit.histogram[exit],
            })
        });
        Ok(Evaluation {
            name: name.into(),
            sentences: outcomes.sentences(),
            labels: outcomes.labels.clone(),
            layers: outcomes.layers_total,
            exits: exits.collect::<Result<_, Error>>()?,
            full_depth: Figures::of(outcomes, &full)?,
            policy: policy.clone(),
            early_exit,
        })
    }
}

impl Figures {
    fn of(outcomes: &Outcomes, walked: &Walked) -> Result<Self, Error> {
        let rows: Vec<&[f32]> =
            walked.exit.iter().zip(&outcomes.logits).map(|(e, l)| l[*e].as_slice()).collect();
        Ok(Figures {
            accuracy: metrics::accuracy(&outcomes.truth, &walked.predicted)?,
            f1: metrics::f1(&outcomes.truth, &walked.predicted, outcomes.labels.len())?,
            calibration_error: metrics::calibration_error(&outcomes.truth, &rows)?,
            share: outcomes.share(walked),
            histogram: metrics::histogram(&walked.exit, outcomes.exits.len()),
        })
    }
}

impl fmt::Display for Evaluation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}, {} sentences\n", self.name, self.sentences)?;
        let row = |name: &str, figures: &Figures| {
            [
                name.to_string(),
                accuracy(figures.accuracy),
                match figures.f1.positive {
                    Some(positive) => format!("{positive:.4}"),
                    None => format!("{:.4}", figures.f1.macro_mean),
                },
                format!("{:.4}", figures.calibration_error),
                percent(figures.share),
            ]
        };
        let f1 = match (self.early_exit.f1.positive, self.labels.last()) {
            (Some(_), Some(label)) => format!("F1 ({})", label.replace('|', "\\|")),
            _ => "macro F1".into(),
        };
        let head = ["".into(), "accuracy (95 %)".into(), f1, "ECE".into(), "layers".into()];
        let rows = [row("full depth", &self.full_depth), row("early exit", &self.early_exit)];
        writeln!(f, "{}", aligned(&head, &rows))?;
        let head = ["exit", "accuracy (95 %)", "ECE", "leave here"].map(String::from);
        let rows: Vec<[String; 4]> = (self.exits.iter())
            .map(|exit| {
                let name = match exit.layer {
                    0 => "after the embeddings".into(),
                    layer => format!("after layer {layer}"),
                };
                let leave = percent(exit.leave as f64 / self.sentences as f64);
                [name, accuracy(exit.accuracy), format!("{:.4}", exit.calibration_error), leave]
            })
            .collect();
        write!(f, "{}", aligned(&head, &rows))
    }
}

/// Two models on the same sentences.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Comparison {
    /// The name of the first model.
    pub first: String,
    /// The name of the second model.
    pub second: String,
    /// The accuracy of the second less that of the first, −1 to 1, with its 95 % interval (paired
    /// bootstrap).
    pub difference: Proportion,
    /// McNemar's test.
    pub mcnemar: McNemar,
}

impl Comparison {
    /// Compares two models, given by name and by the label of every sentence.
    ///
    /// # Errors
    /// [`Error::Measure`] if the numbers of labels and sentences differ.
    pub fn of(truth: &[u32], first: (&str, &[u32]), second: (&str, &[u32])) -> Result<Self, Error> {
        Ok(Comparison {
            first: first.0.into(),
            second: second.0.into(),
            difference: metrics::difference(truth, first.1, second.1)?,
            mcnemar: metrics::mcnemar(truth, first.1, second.1)?,
        })
    }
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Comparison { first, second, difference: d, mcnemar: m } = self;
        writeln!(
            f,
            "{second} against {first}: {:+.2} points of accuracy (95 %: {:+.2} to {:+.2})",
            100.0 * d.value,
            100.0 * d.low,
            100.0 * d.high
        )?;
        let p = if m.p < 0.001 { "< 0.001".into() } else { format!("= {:.3}", m.p) };
        write!(
            f,
            "right only in {second}: {}, only in {first}: {}; McNemar's exact test: p {p}",
            m.only_second, m.only_first
        )
    }
}

#[cfg(test)]
mod tests {
    use super::super::outcome::tests::random;
    use super::*;

    #[test]
    fn the_figures_fit_each_other() {
        let outcomes = random(200, 4, 2, 1);
        let e = Evaluation::of("student", &outcomes, &ExitPolicy::confidence(0.8)).unwrap();
        let leave: Vec<usize> = e.exits.iter().map(|x| x.leave).collect();
        assert_eq!(leave, e.early_exit.histogram);
        assert_eq!(leave.iter().sum::<usize>(), 200);
        let layers: usize = e.exits.iter().map(|x| x.leave * x.layer).sum();
        assert!((e.early_exit.share - layers as f64 / 600.0).abs() < 1e-12);
        assert_eq!(e.full_depth.accuracy, e.exits[3].accuracy);
        assert_eq!((e.full_depth.share, &e.full_depth.histogram[..]), (1.0, &[0, 0, 0, 200][..]));
        let text = e.to_string();
        for words in ["student, 200 sentences", "full depth", "F1 (label 1)", "after layer 3"] {
            assert!(text.contains(words), "{text}");
        }
        let json = serde_json::to_value(&e).unwrap();
        assert_eq!(json["policy"]["kind"], "confidence");
        assert_eq!(json["exits"][2]["layer"], 2);
        assert!(Evaluation::of("x", &outcomes, &ExitPolicy::patience(0)).is_err());
    }

    #[test]
    fn a_comparison_reads_as_a_sentence() {
        let truth = [0, 1, 0, 1, 0, 1, 0, 1, 0, 1];
        let c = Comparison::of(&truth, ("a", &[1; 10]), ("b", &truth)).unwrap();
        let text = c.to_string();
        assert!(text.contains("b against a: +50.00 points"), "{text}");
        // Five heads in a row, or five tails.
        assert!(text.contains("only in a: 0; McNemar's exact test: p = 0.062"), "{text}");
        assert!(Comparison::of(&truth, ("a", &[]), ("b", &truth)).is_err());
    }
}
