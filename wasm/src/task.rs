//! Tasks: the meaning of the logits of an exit.
//!
//! A task is a value of the manifest. A new task is a file beside [`single_label`] and a variant of
//! [`Task`]; see `docs/adding-a-task.md`.

pub mod single_label;

use serde::{Deserialize, Serialize};
use std::collections::HashMap;

/// Task of a model. In the manifest: `{"kind": "single-label", "labels": ["NEGATIVE", "POSITIVE"]}`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Task {
    /// One label for each text, by softmax.
    SingleLabel {
        /// The labels, in the order of the logits.
        labels: Vec<String>,
    },
}

/// Measure of how sure a model is of its logits, on the scale of the exit policy of this name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Measure {
    /// The largest probability, 0 to 1.
    Confidence,
    /// The normalized entropy, 0 to 1; small if the model is sure.
    Entropy,
    /// The largest probability minus the second largest, 0 to 1.
    Margin,
}

/// Meaning of the logits of a text.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Output {
    /// One label.
    Label {
        /// The label's number.
        index: usize,
        /// One probability per label.
        probabilities: Vec<f32>,
    },
}

impl Task {
    /// Returns the labels, in the order of the logits.
    pub fn labels(&self) -> &[String] {
        match self {
            Task::SingleLabel { labels } => labels,
        }
    }

    /// Returns the number of logits of an exit.
    pub fn width(&self) -> usize {
        self.labels().len()
    }

    /// Measures how sure a model is of its logits.
    pub fn measure(&self, measure: Measure, logits: &[f32]) -> f32 {
        match self {
            Task::SingleLabel { .. } => single_label::measure(measure, logits),
        }
    }

    /// Returns true if the logits of two exits give the same answer.
    pub fn agrees(&self, a: &[f32], b: &[f32]) -> bool {
        match self {
            Task::SingleLabel { .. } => single_label::argmax(a) == single_label::argmax(b),
        }
    }

    /// Converts logits to their meaning.
    pub fn output(&self, logits: &[f32]) -> Output {
        match self {
            Task::SingleLabel { .. } => Output::Label {
                index: single_label::argmax(logits),
                probabilities: single_label::softmax(logits),
            },
        }
    }

    /// Checks that the task can be solved.
    ///
    /// # Errors
    /// A message with the actual labels and the remedy.
    pub fn check(&self) -> Result<(), String> {
        match self {
            Task::SingleLabel { labels } if labels.len() < 2 => {
                Err(format!("{} labels; expected 2 or more", labels.len()))
            }
            Task::SingleLabel { labels } => check_labels(labels).map_err(|problem| {
                format!(
                    "{problem}; give each label a name of its own in id2label of the checkpoint's \
                     config.json, and export it again"
                )
            }),
        }
    }
}

/// Checks that every label has a name of its own: answers contain names, not numbers.
///
/// # Errors
/// A message with the name and the numbers of its labels.
pub fn check_labels(labels: &[String]) -> Result<(), String> {
    let mut numbers = HashMap::new();
    for (number, label) in labels.iter().enumerate() {
        if label.trim().is_empty() {
            return Err(format!("label {number} has an empty name"));
        }
        if let Some(first) = numbers.insert(label.as_str(), number) {
            return Err(format!("labels {first} and {number} are both named `{label}`"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_is_written_with_its_kind() {
        let task = Task::SingleLabel { labels: vec!["no".into(), "yes".into()] };
        let json = r#"{"kind":"single-label","labels":["no","yes"]}"#;
        assert_eq!(serde_json::to_string(&task).unwrap(), json);
        assert_eq!(serde_json::from_str::<Task>(json).unwrap(), task);
        let error = serde_json::from_str::<Task>(r#"{"kind":"spans"}"#).unwrap_err().to_string();
        assert!(error.contains("`spans`") && error.contains("`single-label`"), "{error}");
    }

    #[test]
    fn labels_are_two_or_more_with_names_of_their_own() {
        let check = |labels: &[&str]| {
            let labels = labels.iter().map(|l| (*l).to_owned()).collect();
            Task::SingleLabel { labels }.check()
        };
        assert_eq!(check(&["a", "b"]), Ok(()));
        for (labels, message) in [
            (&["a"][..], "1 labels; expected 2"),
            (&["a", "b", "a"], "labels 0 and 2 are both named `a`"),
            (&["a", " "], "label 1 has an empty name"),
        ] {
            assert!(check(labels).unwrap_err().contains(message), "{labels:?}");
        }
    }
}
