//! Tests of the exit kernel against [`ExitRule::leaves`].

use super::{Given, Random, gpu, of_floats, params, run};
use crate::engine::wgpu::memory::POLICY_LINES;
use crate::engine::wgpu::pipelines::EXIT;
use crate::engine::wgpu::policy::lines;
use crate::engine::wgpu::words;
use crate::exit::ExitRule;
use crate::task::Task;
use crate::task::single_label::argmax;
use crate::{ExitPolicy, Thresholds};

/// Rows per workgroup, 1 if rows are tokens, and the second dimension.
const GRIDS: [[u32; 4]; 3] = [[1, 0, 1, 0], [4, 1, 1, 0], [32, 1, 9, 0]];
/// Number of exits of the model. The kernel runs for the second exit.
const EXITS: usize = 3;

#[test]
fn sentences_leave_as_the_policy_says_and_those_that_stay_close_up() {
    let Some(gpu) = gpu(false) else { return };
    let mut random = Random(11);
    let per_exit = Thresholds::PerExit(vec![1.0, 0.7, 0.0]);
    let mut policies = vec![
        ExitPolicy::Never,
        ExitPolicy::confidence(0.8),
        ExitPolicy::confidence(1.0),
        ExitPolicy::entropy(0.5),
        ExitPolicy::entropy(0.0),
        ExitPolicy::margin(0.4),
        ExitPolicy::Confidence { threshold: per_exit },
    ];
    policies.extend((1..4).map(ExitPolicy::patience));
    for (sentences, labels) in [(1, 2), (5, 1), (255, 3), (256, 2), (257, 7), (700, 3)] {
        let capacity = sentences + 3;
        let lengths: Vec<usize> = (0..sentences).map(|_| random.upto(40)).collect();
        // Places in the original batch: in order, with gaps.
        let records: Vec<[u32; 4]> = lengths
            .iter()
            .scan(0, |end, n| {
                *end += n;
                Some(*end - n)
            })
            .zip(&lengths)
            .enumerate()
            .map(|(i, (start, n))| [start as u32, *n as u32, i as u32 + 2, 77])
            .collect();
        let before = random.floats(sentences * labels);
        let logits: Vec<f32> = random.floats(sentences * labels).iter().map(|x| x * 2.0).collect();
        let nan = f32::NAN.to_bits();
        let mut answers = vec![nan; capacity * (3 + EXITS * labels)];
        for (logits, record) in before.chunks(labels).zip(&records) {
            answers[record[2] as usize] = argmax(logits) as u32;
            answers[capacity + record[2] as usize] = 1;
        }
        let tokens = lengths.iter().sum::<usize>() as u32;
        let names = (0..labels).map(|l| l.to_string()).collect();
        let task = Task::SingleLabel { labels: names };
        for policy in &policies {
            let rule = ExitRule { task: &task, policy };
            let mut policy_words = words(&lines(policy, capacity, GRIDS.len(), EXITS));
            policy_words.resize(4 * POLICY_LINES as usize, 0);
            let mut grids = GRIDS.as_flattened().to_vec();
            grids.resize(64 * 4, 0);
            let given = [
                Given::Uniform(params(0, labels, 0, 1, 0, 0.0)),
                Given::Uniform(policy_words),
                Given::Uniform(grids),
                Given::Changed(vec![sentences as u32, tokens]),
                Given::Changed(records.as_flattened().to_vec()),
                Given::Written(3 * GRIDS.len()),
                Given::Changed(answers.clone()),
                Given::Read(of_floats(&logits)),
                Given::Read(vec![0]),
            ];
            let out = run(&gpu, (EXIT, ""), &given, (1, 1));
            let (mut stay, mut end, mut expected) = (Vec::new(), 0, answers.clone());
            let rows = before.chunks(labels).zip(logits.chunks(labels));
            for ((before, here), [start, length, origin, _]) in rows.zip(&records) {
                let origin = *origin as usize;
                let same = argmax(before) == argmax(here);
                expected[origin] = argmax(here) as u32;
                expected[capacity + origin] = if same { 2 } else { 1 };
                let place = (3 + labels) * capacity + origin * labels;
                expected[place..][..labels].copy_from_slice(&of_floats(here));
                if rule.leaves(1, &[before, here]) {
                    expected[2 * capacity + origin] = 1;
                } else {
                    stay.extend([end, *length, origin as u32, *start]);
                    end += length;
                }
            }
            let what = format!("{sentences} sentences, {labels} labels, {policy:?}");
            let inside = stay.len() as u32 / 4;
            assert_eq!(out[0], [inside, end], "{what}");
            assert_eq!(out[1][..stay.len()], stay, "{what}");
            let sizes = GRIDS.map(|[per, of_tokens, y, _]| {
                [if of_tokens == 1 { end } else { inside }.div_ceil(per), y, 1]
            });
            assert_eq!(out[2], sizes.as_flattened(), "{what}");
            assert_eq!(out[3], expected, "{what}");
        }
    }
}
