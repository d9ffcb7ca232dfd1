//! An exit policy in the layout of the exit kernel, and the kernel's answers.

use super::memory::POLICY_LINES;
use crate::engine::Left;
use crate::{Error, ExitPolicy, Thresholds};

/// Constant HOST of `exit.wgsl`.
const HOST: u32 = 5;

/// Encodes the policy for a model with `exits` exits. All sentences leave at the last exit.
pub(super) fn lines(policy: &ExitPolicy, sentences: usize, grids: usize, exits: usize) -> Vec<u8> {
    let (kind, thresholds) = match policy {
        ExitPolicy::Never => (0, None),
        ExitPolicy::Confidence { threshold } => (1, Some(threshold)),
        ExitPolicy::Entropy { threshold } => (2, Some(threshold)),
        ExitPolicy::Margin { threshold } => (3, Some(threshold)),
        ExitPolicy::Patience { .. } => (4, None),
    };
    let mut lines = vec![[kind, sentences as u32, grids as u32, 0]];
    for exit in 0..exits {
        let threshold = match (policy, thresholds) {
            (ExitPolicy::Patience { threshold }, _) => *threshold as u32,
            (_, Some(Thresholds::Common(t))) => t.to_bits(),
            (_, Some(Thresholds::PerExit(all))) => all[exit].to_bits(),
            (_, None) => 0,
        };
        lines.push([threshold, u32::from(exit + 1 == exits), 0, 0]);
    }
    lines.truncate(POLICY_LINES as usize);
    lines.as_flattened().iter().flat_map(|n| n.to_le_bytes()).collect()
}

/// Encodes a policy that the host applies.
pub(super) fn by_host(grids: usize) -> Vec<u8> {
    [HOST, 0, grids as u32, 0].iter().flat_map(|n| n.to_le_bytes()).collect()
}

/// Decodes the exit kernel's answers for the `sentences` of a batch, in memory with room for
/// `capacity`. `exits` are the stage and the labels of each exit.
pub(super) fn answers(
    words: &[u32],
    exits: &[(usize, usize)],
    capacity: usize,
    sentences: usize,
) -> Result<Vec<Left>, Error> {
    let left = |sentence: usize| {
        let last = words[2 * capacity + sentence] as usize;
        let (stage, _) = exits.get(last).copied()?;
        let logits = |(exit, (_, labels)): (usize, &(usize, usize))| {
            let start = (3 + exit * labels) * capacity + sentence * labels;
            words[start..][..*labels].iter().map(|w| f32::from_bits(*w)).collect()
        };
        Some(Left { stage, exits: exits[..=last].iter().enumerate().map(logits).collect() })
    };
    (0..sentences)
        .map(|sentence| {
            left(sentence).ok_or_else(|| {
                let problem = format!("sentence {sentence} left at no exit of the model");
                Error::Engine { stage: 0, problem }
            })
        })
        .collect()
}
