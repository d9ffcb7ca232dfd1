//! `config.json`: labels, task and sizes of a text classifier.
