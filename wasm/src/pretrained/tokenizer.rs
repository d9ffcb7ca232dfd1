//! Tokenizer files: `tokenizer.json`, or `vocab.txt`, with the settings beside them.
