//! Fuzz target of `config.json`: any input gives an error, or different labels.

#![no_main]

use edge_runtime::pretrained::config::Config;
use libfuzzer_sys::fuzz_target;
use std::collections::HashSet;

fuzz_target!(|input: &[u8]| {
    match Config::from_json(input) {
        Ok(config) => {
            assert!(config.labels.len() > 1);
            assert_eq!(config.labels.iter().collect::<HashSet<_>>().len(), config.labels.len());
        }
        Err(problem) => assert!(!problem.is_empty()),
    }
});
