//! Suite of models to compare: a TOML file of models that are measured together.

use super::record::{
    self, CurvePoint, Data, Figures, MadeBy, Measured, Parameters, Record, Speed, Stated,
};
use super::speed::{Contestant, interleaved, processor};
use crate::Error;
use crate::checkpoint::Checkpoint;
use crate::data::Columns;
use crate::export::export;
use crate::measure::evaluation::Evaluation;
use crate::measure::metrics::Proportion;
use crate::measure::outcome::Outcomes;
use crate::measure::{Examples, labels};
use crate::network::load;
use crate::quantize::{Bits, Precision, Quantize};
use crate::settings;
use candle_core::Device;
use edge_runtime::bundle::sha256_hex;
use edge_runtime::{Classifier, ExitPolicy};
use serde::Deserialize;
use std::collections::HashSet;
use std::path::{Path, PathBuf};

/// Models to compare. Relative paths in the file are relative to the file.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Suite {
    /// Number of timed rounds, in each of which every model answers all sentences.
    #[serde(default = "rounds")]
    pub rounds: usize,
    /// The models.
    pub models: Vec<Entry>,
}

fn rounds() -> usize {
    5
}

/// A model of a suite: `model` is its path, or `stated` contains figures from elsewhere.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// Identifier; see [`Record::id`].
    pub id: String,
    /// Name for people; see [`Record::name`].
    pub name: String,
    /// Step that made the model; see [`Record::step`].
    pub step: MadeBy,
    /// `id` of the model that it was made from; see [`Record::from`].
    pub from: Option<String>,
    /// Path of a `model.edge`, or of a checkpoint's folder, which is exported.
    pub model: Option<PathBuf>,
    /// Folder of the checkpoint of a `model.edge`, for its parameters and its curve.
    pub checkpoint: Option<PathBuf>,
    /// Number format of an exported checkpoint, `fp32` or `int8`; `int8` if absent.
    pub precision: Option<Exported>,
    /// Bits of int8 weights, as in `edge-export --weight-bits`.
    pub weight_bits: Option<u8>,
    /// Bits of the word embeddings, as in `edge-export --embedding-bits`.
    pub embedding_bits: Option<u8>,
    /// Bits of the linear layers, as in `edge-export --linear-bits`.
    pub linear_bits: Option<u8>,
    /// True if its speed is measured; true if absent.
    #[serde(default = "yes")]
    pub timed: bool,
    /// Figures from elsewhere, for a model that is not measured here.
    pub stated: Option<Claim>,
}

fn yes() -> bool {
    true
}

/// Number format of an exported checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Exported {
    /// 32-bit floats.
    Fp32,
    /// Signed bytes.
    Int8,
}

/// Published figures of a model that is not measured here.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Claim {
    /// Source of the figures.
    pub source: String,
    /// Accuracy on the sentences of this suite, 0 to 1.
    pub accuracy: f64,
    /// Number of parameters.
    pub parameters: Option<u64>,
    /// Size of its file in bytes.
    pub bytes: Option<u64>,
}

impl Suite {
    /// Reads a suite from a TOML file.
    ///
    /// # Errors
    /// [`Error::Data`] with the wrong line.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let mut suite: Suite = settings::read(path)?;
        suite.check().map_err(|problem| Error::data(path, None, problem))?;
        let folder = path.parent().unwrap_or(Path::new(""));
        for entry in &mut suite.models {
            for path in [&mut entry.model, &mut entry.checkpoint].into_iter().flatten() {
                *path = folder.join(&*path);
            }
        }
        Ok(suite)
    }

    fn check(&self) -> Result<(), String> {
        let ids: HashSet<&str> = self.models.iter().map(|m| m.id.as_str()).collect();
        for (i, entry) in self.models.iter().enumerate() {
            record::check_id(&entry.id)?;
            let wrong = |problem: &str| Err(format!("`{}`: {problem}", entry.id));
            if self.models[..i].iter().any(|m| m.id.eq_ignore_ascii_case(&entry.id)) {
                return wrong("the id occurs twice");
            }
            match &entry.from {
                Some(from) if !ids.contains(from.as_str()) => {
                    return wrong(&format!("from is \"{from}\", but no model has that id"));
                }
                _ => {}
            }
            match (&entry.model, &entry.stated) {
                (None, None) => return wrong("has neither model nor stated; add one of them"),
                (Some(_), Some(_)) => {
                    return wrong("has both model and stated; remove one of them");
                }
                (None, Some(claim)) if !(0.0..=1.0).contains(&claim.accuracy) => {
                    return wrong(&format!(
                        "stated.accuracy is {}; expected a number between 0 and 1",
                        claim.accuracy
                    ));
                }
                _ => {}
            }
            if let Err(problem) = entry.precision(Quantize::default()) {
                return wrong(&problem);
            }
        }
        match self.models.iter().any(|m| m.model.is_some()) && self.rounds > 0 {
            true => Ok(()),
            false => {
                Err("nothing to measure; expected at least one model, in at least one round".into())
            }
        }
    }
}

impl Entry {
    /// Precision of the export; `own` is the checkpoint's own quantization.
    fn precision(&self, own: Quantize) -> Result<Precision, String> {
        let bits = Bits {
            weights: self.weight_bits,
            embeddings: self.embedding_bits,
            linear: self.linear_bits,
        };
        let int8 = own.with(bits)?.int8()?;
        match self.precision {
            Some(Exported::Fp32) if bits != Bits::default() => Err(
                "fp32 has no weight_bits, embedding_bits or linear_bits; remove these or set int8"
                    .into(),
            ),
            Some(Exported::Fp32) => Ok(Precision::Fp32),
            _ => Ok(Precision::Int8(int8)),
        }
    }
}

/// Measures the models of a suite on labelled texts and writes a record of each into a folder. The
/// models are timed in turn.
///
/// `progress` is called with the name of the step, the number done and the total.
///
/// # Errors
/// Errors of exporting and running the models; [`Error::Unfit`] if their labels differ;
/// [`Error::Output`] if a record would replace another kind of file.
pub fn measure(
    suite: &Suite,
    (data, columns): (&Path, &Columns),
    output: &Path,
    mut progress: impl FnMut(&str, usize, usize),
) -> Result<Vec<Record>, Error> {
    check_output(suite, output)?;
    let place = tempfile::tempdir().map_err(|e| Error::io(std::env::temp_dir(), e))?;
    let opened: Vec<Option<Opened>> = (suite.models.iter().enumerate())
        .map(|(i, entry)| {
            progress("models opened", i, suite.models.len());
            entry.model.as_ref().map(|model| Opened::new(entry, model, place.path())).transpose()
        })
        .collect::<Result<_, _>>()?;
    let here = || opened.iter().flatten();
    let Some(first) = here().next() else {
        return Err(Error::Unfit("there is no model to measure".into()));
    };
    let wanted = labels(&first.bundle)?;
    if let Some(other) = here().find(|o| o.classifier.labels() != wanted) {
        return Err(Error::Unfit(format!(
            "{}: labels are {:?}; expected {wanted:?}, as in the other models",
            other.bundle.display(),
            other.classifier.labels()
        )));
    }
    let examples = Examples::read(data, columns, &wanted)?;
    let data = Data {
        name: data.file_name().unwrap_or_default().to_string_lossy().into_owned(),
        sha256: sha256_hex(&edge_export::text_file::read_file(data)?),
        sentences: examples.texts.len(),
    };

    let mut records = Vec::new();
    for (i, (entry, opened)) in suite.models.iter().zip(&opened).enumerate() {
        progress("models evaluated", i, suite.models.len());
        records.push(match (opened, &entry.stated) {
            (Some(opened), _) => opened.record(entry, &examples, &data)?,
            (None, Some(claim)) => stated(entry, claim, &data),
            (None, None) => unreachable!("checked when the suite was read"),
        });
    }

    let mut ways = Vec::new();
    let mut contestants = Vec::new();
    for (i, opened) in opened.iter().enumerate() {
        let Some(opened) = opened.as_ref().filter(|_| suite.models[i].timed) else { continue };
        for policy in [Some(ExitPolicy::Never), early(&opened.classifier)].into_iter().flatten() {
            ways.push(i);
            contestants.push(Contestant { classifier: &opened.classifier, policy });
        }
    }
    let paces = interleaved(&contestants, &examples.texts, suite.rounds, |done, of| {
        progress("rounds timed", done, of);
    })?;
    let conditions = (processor(), day());
    for (at, pace) in ways.into_iter().zip(paces) {
        let Figures::Measured(measured) = &mut records[at].figures else { continue };
        match &mut measured.speed {
            Some(speed) => speed.early_exit = Some(pace),
            none => {
                *none = Some(Speed {
                    processor: conditions.0.clone(),
                    day: conditions.1.clone(),
                    threads: THREADS,
                    rounds: suite.rounds,
                    full_depth: pace,
                    early_exit: None,
                });
            }
        }
    }
    records.iter().try_for_each(|record| record.write(output))?;
    Ok(records)
}

/// Checks that the records can be written and replace only records.
fn check_output(suite: &Suite, output: &Path) -> Result<(), Error> {
    std::fs::create_dir_all(output).map_err(|e| Error::io(output, e))?;
    for entry in &suite.models {
        let path = Record::path(output, &entry.id);
        if path.exists() && !Record::is_one(&path) {
            let problem = "is not a measurement and would be replaced by one; move it away";
            return Err(Error::Output { path, problem: problem.into() });
        }
    }
    Ok(())
}

/// Number of threads that compute.
const THREADS: usize = 1;

/// Date of today, in UTC.
fn day() -> String {
    chrono::Utc::now().format("%Y-%m-%d").to_string()
}

fn early(classifier: &Classifier) -> Option<ExitPolicy> {
    Some(classifier.policy()).filter(|policy| *policy != ExitPolicy::Never)
}

fn stated(entry: &Entry, claim: &Claim, data: &Data) -> Record {
    let right = (claim.accuracy * data.sentences as f64).round() as usize;
    let all = claim.parameters;
    Record {
        version: record::VERSION,
        id: entry.id.clone(),
        name: entry.name.clone(),
        step: entry.step,
        from: entry.from.clone(),
        data: data.clone(),
        // Zeros of a model that is not here are unknown.
        parameters: all.map(|all| Parameters { all, nonzero: all, ..Parameters::default() }),
        bytes: claim.bytes,
        weights: None,
        figures: Figures::Stated(Stated {
            source: claim.source.clone(),
            accuracy: Proportion::wilson(right, data.sentences),
        }),
    }
}

/// A model that is opened and measured here.
struct Opened {
    bundle: PathBuf,
    bytes: u64,
    classifier: Classifier,
    checkpoint: Option<Checkpoint>,
    folder: Option<PathBuf>,
}

impl Opened {
    fn new(entry: &Entry, model: &Path, place: &Path) -> Result<Self, Error> {
        let folder = match model.is_dir() {
            true => Some(model.to_path_buf()),
            false => entry.checkpoint.clone(),
        };
        let checkpoint = folder.as_ref().map(Checkpoint::open).transpose()?;
        let bundle = match &checkpoint {
            Some(checkpoint) if model.is_dir() => {
                let bundle = place.join(format!("{}.edge", entry.id));
                let own = checkpoint.config.quantize.unwrap_or_default();
                let precision = entry.precision(own).map_err(Error::Unfit)?;
                export(checkpoint, precision, &bundle, |_, _, _| {})?;
                bundle
            }
            _ => model.to_path_buf(),
        };
        let bytes = std::fs::metadata(&bundle).map_err(|e| Error::io(&bundle, e))?.len();
        let failed = |cause| Error::Bundle { path: bundle.clone(), cause };
        let classifier = Classifier::open(&bundle).map_err(failed)?.with_threads(THREADS);
        Ok(Opened { bundle, bytes, classifier, checkpoint, folder })
    }

    fn record(&self, entry: &Entry, examples: &Examples, data: &Data) -> Result<Record, Error> {
        let outcomes =
            Outcomes::of_bundle(&self.bundle, &examples.texts, examples.truth.clone(), |_, _| {})?;
        let policy = self.classifier.policy();
        let weights = &self.classifier.manifest().weights;
        let curve = match &self.folder {
            Some(folder) => curve(&folder.join("curve.csv"), &policy)?,
            None => Vec::new(),
        };
        Ok(Record {
            version: record::VERSION,
            id: entry.id.clone(),
            name: entry.name.clone(),
            step: entry.step,
            from: entry.from.clone(),
            data: data.clone(),
            parameters: self.checkpoint.as_ref().map(Parameters::of).transpose()?,
            bytes: Some(self.bytes),
            weights: Some(weights.clone()),
            figures: Figures::Measured(Box::new(Measured {
                evaluation: Evaluation::of(&entry.name, &outcomes, &policy)?,
                speed: None,
                curve,
            })),
        })
    }
}

impl Parameters {
    /// Counts the parameters of a checkpoint.
    ///
    /// # Errors
    /// Errors of loading an incomplete network.
    pub fn of(checkpoint: &Checkpoint) -> Result<Self, Error> {
        let network = load(checkpoint, Device::Cpu)?;
        let config = &network.config;
        let stems: Vec<String> =
            (0..config.encoder.layers).map(|layer| config.family.layer(layer)).collect();
        let mut counts = Parameters::default();
        for parameter in network.parameters() {
            let values: Vec<f32> = parameter.var().flatten_all()?.to_vec1()?;
            let (all, nonzero) = (values.len(), values.iter().filter(|v| **v != 0.0).count());
            counts.all += all as u64;
            counts.nonzero += nonzero as u64;
            if parameter.decays() && stems.iter().any(|stem| parameter.name().contains(stem)) {
                counts.encoder += all as u64;
                counts.encoder_nonzero += nonzero as u64;
            }
        }
        Ok(counts)
    }
}

/// Points of a policy's kind in a `curve.csv`; a missing file gives an empty list.
fn curve(path: &Path, policy: &ExitPolicy) -> Result<Vec<CurvePoint>, Error> {
    if !path.exists() {
        return Ok(Vec::new());
    }
    #[derive(Deserialize)]
    struct Line {
        kind: String,
        accuracy: f64,
        share: f64,
    }
    let policy = serde_json::to_value(policy).expect("plain data");
    let wrong = |e: csv::Error| Error::data(path, None, format!("not a calibration curve: {e}"));
    let mut lines = csv::Reader::from_path(path).map_err(wrong)?;
    let lines = lines.deserialize().collect::<Result<Vec<Line>, _>>().map_err(wrong)?;
    let of_kind = lines.into_iter().filter(|line| policy["kind"] == line.kind);
    Ok(of_kind.map(|Line { accuracy, share, .. }| CurvePoint { accuracy, share }).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quantize::{EmbeddingBits, Int8, WeightBits};

    const STUDENT: &str = "[[models]]\nid='student'\nname='a'\nstep='distil'\nmodel='x'\n";

    fn read(text: &str) -> Result<Suite, Error> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("suite.toml");
        std::fs::write(&path, text).unwrap();
        let mut suite = Suite::read(&path)?;
        for path in
            suite.models.iter_mut().flat_map(|m| [&mut m.model, &mut m.checkpoint]).flatten()
        {
            *path = path.strip_prefix(folder.path()).expect("beside the file").into();
        }
        Ok(suite)
    }

    #[test]
    fn a_suite_says_where_models_are_and_how_they_are_exported() {
        let suite = read(&format!(
            "{STUDENT}precision='fp32'\n[[models]]\nid='int8'\nname='b'\nstep='quantize'\n\
             from='student'\nmodel='y'\nembedding_bits=4\ntimed=false\n[[models]]\nid='t'\n\
             name='c'\nstep='teacher'\n[models.stated]\nsource='its card'\naccuracy=0.5\n"
        ))
        .unwrap();
        assert_eq!(suite.rounds, 5);
        let own = Quantize::default();
        assert_eq!(suite.models[0].precision(own), Ok(Precision::Fp32));
        let int8 = Precision::Int8(Int8::new(WeightBits::Seven, EmbeddingBits::Four));
        assert_eq!(suite.models[1].precision(own), Ok(int8));
        assert_eq!(suite.models[1].model, Some("y".into()));
        assert_eq!(suite.models.iter().map(|m| m.timed).collect::<Vec<_>>(), [true, false, true]);
    }

    #[test]
    fn what_is_wrong_in_a_suite_is_named() {
        for (more, words) in [
            ("colour='red'", "colour"),
            ("weight_bits=9", "`student`: weight_bits is 9; expected 7 or 8"),
            ("embedding_bits=2", "embedding_bits is 2; expected 4 or 8"),
            ("linear_bits=3", "linear_bits is 3; expected 4 or 8"),
            ("precision='fp32'\nweight_bits=8", "fp32 has no weight_bits"),
            ("precision='int4'", "int4"),
            ("from='nobody'", "no model has that id"),
            ("[models.stated]\nsource='a'\naccuracy=0.5", "model and stated"),
            ("[[models]]\nid='STUDENT'\nname='b'\nstep='prune'\nmodel='z'", "occurs twice"),
            ("[[models]]\nid='b'\nname='b'\nstep='prune'", "`b`: has neither model nor stated"),
            ("[[models]]\nid='a/b'\nname='b'\nstep='prune'\nmodel='z'", "the id `a/b`"),
            ("[[models]]\nid='b'\nname='b'\nstep='shrink'\nmodel='z'", "line 9"),
            (
                "[[models]]\nid='b'\nname='b'\nstep='teacher'\n[models.stated]\nsource='a'\naccuracy=92.9",
                "between 0 and 1",
            ),
        ] {
            let error = read(&format!("{STUDENT}{more}\n")).unwrap_err().to_string();
            assert!(error.contains("suite.toml") && error.contains(words), "{words}: {error}");
        }
        for text in ["models = []", &format!("rounds = 0\n{STUDENT}")] {
            let error = read(text).unwrap_err().to_string();
            assert!(error.contains("at least"), "{error}");
        }
    }
}
