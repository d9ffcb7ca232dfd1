//! One label for each text: cross-entropy, the Kullback–Leibler divergence, and accuracy.

use super::TaskTraining;
use crate::network::{log_softmax, softmax};
use candle_core::{D, Result, Tensor};
use edge_runtime::task::single_label::argmax;

/// Training of one label for each text.
pub(super) struct SingleLabel;

impl TaskTraining for SingleLabel {
    fn loss(&self, logits: &Tensor, labels: &[Option<u32>]) -> Result<Tensor> {
        let classes = logits.dim(1)?;
        let mut chosen = vec![0.0f32; labels.len() * classes];
        for (row, label) in chosen.chunks_exact_mut(classes).zip(labels) {
            if let Some(label) = label {
                row[*label as usize] = 1.0;
            }
        }
        let n = labels.iter().flatten().count().max(1);
        let chosen = Tensor::from_vec(chosen, logits.shape(), logits.device())?;
        log_softmax(logits)?.mul(&chosen)?.sum_all()? / -(n as f64)
    }

    /// T² · KL(teacher at T ‖ student at T).
    fn divergence(&self, teacher: &Tensor, student: &Tensor, temperature: f64) -> Result<Tensor> {
        let teacher = (teacher.detach() / temperature)?;
        let student = log_softmax(&(student / temperature)?)?;
        let p = softmax(&teacher)?;
        let each = p.mul(&(log_softmax(&teacher)? - student)?)?.sum(D::Minus1)?;
        each.mean_all()? * (temperature * temperature)
    }

    fn is_right(&self, logits: &[f32], label: u32) -> bool {
        argmax(logits) as u32 == label
    }
}
