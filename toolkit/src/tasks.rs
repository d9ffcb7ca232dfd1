//! Training of the tasks: losses and quality.
//!
//! A task is a file here, next to its meaning in [`edge_runtime::task`].

mod single_label;

use crate::Error;
use candle_core::{Result, Tensor};
use edge_runtime::Task;

/// Training of a task.
pub trait TaskTraining: Sync {
    /// Loss of `logits`, `[rows, width]`, against the labels, as a mean over the rows with a label.
    ///
    /// # Errors
    /// Errors of candle.
    fn loss(&self, logits: &Tensor, labels: &[Option<u32>]) -> Result<Tensor>;

    /// Divergence of a student's logits from a teacher's, as a mean over the rows (Hinton et al.
    /// 2015). The teacher's are not trained.
    ///
    /// # Errors
    /// Errors of candle.
    fn divergence(&self, teacher: &Tensor, student: &Tensor, temperature: f64) -> Result<Tensor>;

    /// True if the logits of a row give its label.
    fn is_right(&self, logits: &[f32], label: u32) -> bool;
}

/// Returns the training of a task.
///
/// # Errors
/// [`Error::Unfit`] for a task that is not trained.
pub fn of(task: &Task) -> std::result::Result<&'static dyn TaskTraining, Error> {
    match task {
        Task::SingleLabel { .. } => Ok(&single_label::SingleLabel),
        other => Err(Error::Unfit(format!("{other:?} is not trained; expected labels of texts"))),
    }
}
