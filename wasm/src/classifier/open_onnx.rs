//! Opening of an ONNX file from another program, with the files beside it.

use super::Classifier;
use crate::Error;
use crate::bundle::{
    Encoder, FORMAT, InputLimits, Manifest, Provenance, Stage, VERSION, WeightFormat,
};
use crate::engine::ForeignModel;
use crate::pretrained::{config, tokenizer};
use crate::task::Task;
use crate::tokenizer::Tokenizer;
use std::path::Path;

/// Default for the most tokens of a text, if `config.json` has no `max_position_embeddings`: that
/// of transformers.
const MAX_TOKENS: usize = 512;

impl Classifier<ForeignModel> {
    /// Opens an ONNX file with the tokenizer's files and the `config.json` in the same folder.
    ///
    /// The labels are those of [`config::Config`]. Texts are cut to `max_position_embeddings`
    /// tokens, 512 if it is absent. If tract panics, here or while a text is classified, the error
    /// names the file. Where panics abort, as in WebAssembly, a panic ends the program.
    ///
    /// # Errors
    /// - [`Error::Io`] if a file is missing.
    /// - [`Error::File`] if tract cannot run the model as a text classifier, or the number of
    ///   outputs is not that of the labels.
    /// - [`Error::Tokenizer`].
    pub fn open_onnx(path: impl AsRef<Path>) -> Result<Self, Error> {
        let path = path.as_ref();
        let config_path = path.with_file_name("config.json");
        let config = config::Config::read(&config_path)?;
        let max_tokens = config.max_tokens.unwrap_or(MAX_TOKENS);
        let tokenizer = tokenizer::read(path.parent().unwrap_or(Path::new("")))?;
        let tokenizer = Tokenizer::from_json(&tokenizer, max_tokens)?;
        let bytes = std::fs::read(path).map_err(|cause| Error::Io { path: path.into(), cause })?;
        let file = path.display().to_string();
        let wrong = |problem| Error::file(path, problem);
        let model = ForeignModel::open(&bytes, file.clone(), config.labels.len());
        let model = model.map_err(wrong)?;
        drop(bytes);
        if let Some(outputs) = model.outputs().filter(|n| *n != config.labels.len()) {
            return Err(Error::file(config_path, unequal(&config.labels, outputs, &file)));
        }
        let manifest = Manifest {
            format: FORMAT.into(),
            version: VERSION,
            digest: String::new(),
            task: Task::SingleLabel { labels: config.labels },
            input: InputLimits { texts: 1, max_tokens },
            encoder: Encoder {
                family: "onnx".into(),
                layers: 1,
                hidden: 0,
                heads: 0,
                intermediate: 0,
                vocabulary: config.vocabulary.unwrap_or(usize::MAX),
            },
            weights: WeightFormat::default(),
            stages: vec![Stage { layers: 1, exit: true }],
            policy: None,
            provenance: Provenance { checkpoint: file, ..Default::default() },
            entries: Vec::new(),
        };
        Ok(Classifier::from_parts(manifest, tokenizer, model))
    }
}

fn unequal(labels: &[String], outputs: usize, file: &str) -> String {
    let shown = labels.iter().take(4).map(String::as_str).collect::<Vec<_>>().join(", ");
    let more = if labels.len() > 4 { ", …" } else { "" };
    let regression =
        if outputs == 1 { "; one output is a regression, which is not supported" } else { "" };
    format!(
        "{} labels ({shown}{more}), and {file} has {outputs} outputs; expected a name in id2label \
         for each output{regression}",
        labels.len()
    )
}
