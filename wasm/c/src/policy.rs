//! Exit policies.

use crate::error::Failure;
use crate::open::slice;
use edge_runtime::{ExitPolicy, Thresholds};

/// Rule by which a text leaves early.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EdgePolicyKind {
    /// Full depth for every text.
    Never = 0,
    /// Leave when the largest probability is at least the threshold, 0 to 1.
    Confidence = 1,
    /// Leave when the normalized entropy is at most the threshold, 0 to 1.
    Entropy = 2,
    /// Leave when the two largest probabilities are at least the threshold apart, 0 to 1.
    Margin = 3,
    /// Leave when a number of exits in a row agree; the threshold is the number, a whole one, 1 or
    /// more.
    Patience = 4,
}

/// An exit policy: `EdgePolicy policy = {EDGE_POLICY_KIND_CONFIDENCE, 0.9f};`, or with a threshold
/// for each exit `{EDGE_POLICY_KIND_CONFIDENCE, 0, thresholds, edge_exits(classifier)}`. NULL
/// instead of a policy means the policy of the bundle.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct EdgePolicy {
    /// Kind of the policy, a value of `EdgePolicyKind`.
    pub kind: u32,
    /// The threshold at every exit; ignored with `EDGE_POLICY_KIND_NEVER`.
    pub threshold: f32,
    /// Array of one threshold for each exit, used instead of `threshold`; or NULL.
    pub thresholds: *const f32,
    /// The number of `thresholds`.
    pub count: usize,
}

impl EdgePolicy {
    /// # Safety
    /// `thresholds` is NULL or points to `count` numbers.
    pub(crate) unsafe fn read(&self) -> Result<ExitPolicy, Failure> {
        let threshold = || match self.thresholds.is_null() {
            true => Ok(Thresholds::Common(self.threshold)),
            // SAFETY: required of the caller.
            false => unsafe { slice(self.thresholds, self.count, "thresholds") }
                .map(|thresholds| Thresholds::PerExit(thresholds.to_vec())),
        };
        const NEVER: u32 = EdgePolicyKind::Never as u32;
        const CONFIDENCE: u32 = EdgePolicyKind::Confidence as u32;
        const ENTROPY: u32 = EdgePolicyKind::Entropy as u32;
        const MARGIN: u32 = EdgePolicyKind::Margin as u32;
        const PATIENCE: u32 = EdgePolicyKind::Patience as u32;
        Ok(match self.kind {
            NEVER => ExitPolicy::Never,
            CONFIDENCE => ExitPolicy::Confidence { threshold: threshold()? },
            ENTROPY => ExitPolicy::Entropy { threshold: threshold()? },
            MARGIN => ExitPolicy::Margin { threshold: threshold()? },
            PATIENCE => {
                let exits = self.threshold;
                if !self.thresholds.is_null()
                    || exits.fract() != 0.0
                    || !(1.0..=1e6).contains(&exits)
                {
                    return Err(Failure::policy(format!(
                        "exit policy: patience is {exits}; expected one whole number of exits, 1 or \
                         more, in `threshold`"
                    )));
                }
                ExitPolicy::patience(exits as usize)
            }
            other => {
                return Err(Failure::policy(format!(
                    "exit policy: kind is {other}; expected 0 to {PATIENCE}"
                )));
            }
        })
    }
}
