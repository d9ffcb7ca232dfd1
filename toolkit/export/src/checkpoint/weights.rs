//! Reads `model.safetensors` and maps the names of its tensors.

use crate::Error;
use edge_runtime::lfs;
use half::{bf16, f16};
use memmap2::Mmap;
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, Metadata, TensorView};
use serde::Deserialize;
use std::collections::HashMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

/// Tensors of a checkpoint, by their current names. They are read on demand.
pub(super) struct WeightsFile {
    file: Mmap,
    metadata: Metadata,
    /// Offset of the first byte of the values, after the header.
    values: usize,
    /// Names in the file, by current name.
    names: HashMap<String, String>,
    pub path: PathBuf,
}

impl WeightsFile {
    /// Opens the weights of a checkpoint's folder.
    ///
    /// # Errors
    /// [`Error::Checkpoint`] if the folder has no weights in a supported format, [`Error::Io`].
    pub fn open(folder: &Path) -> Result<Self, Error> {
        let path = folder.join("model.safetensors");
        let wrong = |problem: String| Error::checkpoint(&path, problem);
        if !path.exists() {
            return Err(wrong(missing(folder)));
        }
        look(&path)
            .map_err(|e| Error::io(&path, e))?
            .map_or(Ok(()), |problem| Err(wrong(problem)))?;
        let io = |e| Error::io(&path, e);
        // SAFETY: the mapping is only read. A checkpoint that changes during the export gives the
        // weights of that moment, as with every mapped file.
        let file = unsafe { Mmap::map(&File::open(&path).map_err(io)?) }.map_err(io)?;
        let (header, metadata) = SafeTensors::read_metadata(&file)
            .map_err(|e| wrong(format!("not a safetensors file: {e}")))?;
        let stored = metadata.tensors().into_keys().collect();
        let names = current_names(stored).map_err(wrong)?;
        Ok(WeightsFile { file, metadata, values: 8 + header, names, path })
    }

    pub fn has(&self, name: &str) -> bool {
        self.names.contains_key(name)
    }

    /// Tensor with a current name.
    ///
    /// # Errors
    /// A message, if the tensor is missing or cannot be read.
    pub fn get(&self, name: &str) -> Result<TensorView<'_>, String> {
        let stored = self.names.get(name).ok_or_else(|| self.missing(name))?;
        let info = self.metadata.info(stored).ok_or("is missing")?;
        let (start, end) = info.data_offsets;
        let bytes = self.file.get(self.values + start..self.values + end);
        let bytes = bytes.ok_or("is beyond the end of the file")?;
        TensorView::new(info.dtype, info.shape.clone(), bytes)
            .map_err(|e| format!("cannot be read: {e}"))
    }

    fn missing(&self, name: &str) -> String {
        let longer = format!(".{name}");
        match self.names.values().filter(|stored| stored.ends_with(&longer)).min() {
            Some(stored) => format!("is missing; `{stored}` has a prefix that other names lack"),
            None => "is missing".into(),
        }
    }

    pub fn names(&self) -> impl Iterator<Item = &String> {
        self.names.keys()
    }
}

/// Converts the values of a tensor to f32, row major.
///
/// # Errors
/// A message, if the tensor does not contain floats.
pub(super) fn floats(tensor: &TensorView) -> Result<Vec<f32>, String> {
    fn each<const N: usize>(bytes: &[u8], read: impl Fn([u8; N]) -> f32) -> Vec<f32> {
        bytes.as_chunks().0.iter().map(|chunk| read(*chunk)).collect()
    }
    let bytes = tensor.data();
    match tensor.dtype() {
        Dtype::F32 => Ok(each(bytes, f32::from_le_bytes)),
        Dtype::F64 => Ok(each(bytes, |b| f64::from_le_bytes(b) as f32)),
        Dtype::F16 => Ok(each(bytes, |b| f16::from_le_bytes(b).to_f32())),
        Dtype::BF16 => Ok(each(bytes, |b| bf16::from_le_bytes(b).to_f32())),
        other => Err(format!("has the number format {other:?}; expected f64, f32, f16 or bf16")),
    }
}

/// Prefixes that wrappers of a model add to names: data parallelism, compilation, a user's module.
const WRAPPERS: [&str; 3] = ["module.", "_orig_mod.", "model."];

/// Maps the names of transformers to those in a file. A wrapper's prefix is removed if all names
/// have it.
fn current_names(stored: Vec<String>) -> Result<HashMap<String, String>, String> {
    let mut prefix = 0;
    let begins = |from: usize, with: &str| stored.iter().all(|name| name[from..].starts_with(with));
    while let Some(wrapper) = WRAPPERS.iter().find(|w| !stored.is_empty() && begins(prefix, w)) {
        prefix += wrapper.len();
    }
    let mut names = HashMap::new();
    for name in &stored {
        if let Some(other) = names.insert(current_name(&name[prefix..]), name.clone()) {
            return Err(format!("holds `{other}` and `{name}`, two names of the same tensor"));
        }
    }
    Ok(names)
}

/// Replaces TensorFlow's names of layer norm parameters, which old checkpoints contain.
fn current_name(name: &str) -> String {
    for (legacy, current) in [(".gamma", ".weight"), (".beta", ".bias")] {
        if let Some(stem) = name.strip_suffix(legacy) {
            return format!("{stem}{current}");
        }
    }
    name.into()
}

/// Describes a folder without `model.safetensors`: other weights in it, and the remedy.
fn missing(folder: &Path) -> String {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut names: Vec<String> =
        entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    let ending = |ends: &[&str]| names.iter().find(|n| ends.iter().any(|end| n.ends_with(end)));
    let shard = |name: &&String| name.contains("-of-") && !name.ends_with(".index.json");
    if let Some(name) = ending(&[".index.json"]).or(names.iter().find(shard)) {
        return format!(
            "missing: the folder has sharded weights, {name}; expected one file. Load the checkpoint with \
             transformers and save it with `max_shard_size=\"100GB\"`"
        );
    }
    if let Some(name) = ending(&["adapter_model.safetensors", "adapter_model.bin"]) {
        return format!(
            "missing: the folder has an adapter, {name}, without its base model; merge the two with \
             `merge_and_unload()` and save the result"
        );
    }
    if let Some(name) = ending(&[".safetensors"]) {
        return format!(
            "missing; the folder has {name}: rename that file if it contains the weights"
        );
    }
    let others = [".bin", ".pt", ".pth", ".ckpt", ".h5", ".msgpack"];
    match ending(&others) {
        Some(name) => format!(
            "missing; save the checkpoint again with `safe_serialization=True`, {name} is not read"
        ),
        None => "missing; expected the weights of the checkpoint".into(),
    }
}

/// Largest header that is read; a limit of the format.
const HEADER: u64 = 100_000_000;

/// Checks the header of a weights file, and returns the fault of the file.
fn look(path: &Path) -> std::io::Result<Option<String>> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    let mut start = Vec::new();
    file.by_ref().take(256).read_to_end(&mut start)?;
    if lfs::is_pointer(&start) {
        return Ok(Some(lfs::POINTER.into()));
    }
    let not = |problem: String| Ok(Some(format!("not a safetensors file: {problem}")));
    if start.is_empty() {
        return not("it is empty; download it again".into());
    }
    if start.starts_with(b"PK\x03\x04") || start.starts_with(b"\x80\x02") {
        return not(
            "it was written by `torch.save`; write it with `safetensors.torch.save_file`".into()
        );
    }
    let cut =
        |whole: u64| not(format!("cut off after {length} of {whole} bytes; download it again"));
    let Some((size, rest)) = start.split_first_chunk::<8>() else { return cut(8) };
    let size = u64::from_le_bytes(*size);
    if size > HEADER || rest.first().is_some_and(|first| *first != b'{') {
        return not("it does not begin with a header".into());
    }
    if length < 8 + size {
        return cut(8 + size);
    }
    let mut header = rest[..rest.len().min(size as usize)].to_vec();
    file.take(size - header.len() as u64).read_to_end(&mut header)?;
    #[derive(Deserialize)]
    struct Entry {
        data_offsets: Option<[u64; 2]>,
    }
    // Other faults are reported by the reader.
    let Ok(entries) = serde_json::from_slice::<HashMap<String, Entry>>(&header) else {
        return Ok(None);
    };
    let end = entries.values().filter_map(|entry| entry.data_offsets).map(|[_, end]| end).max();
    let whole = (8 + size).saturating_add(end.unwrap_or(0));
    if length < whole { cut(whole) } else { Ok(None) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(stored: &[&str]) -> Result<HashMap<String, String>, String> {
        current_names(stored.iter().map(|name| name.to_string()).collect())
    }

    #[test]
    fn a_prefix_of_all_names_is_taken_off() {
        for wrapper in ["module.", "_orig_mod.", "model.", "module._orig_mod.", "model.model."] {
            let stored = ["bert.a.weight", "bert.a.gamma", "classifier.bias"]
                .map(|name| format!("{wrapper}{name}"));
            let error = names(&stored.each_ref().map(String::as_str)).unwrap_err();
            assert!(error.contains("two names of the same tensor"), "{error}");
            let found = names(&[&stored[1], &stored[2]]).unwrap();
            assert_eq!(found["bert.a.weight"], stored[1]);
            assert_eq!(found["classifier.bias"], stored[2]);
        }
    }

    #[test]
    fn a_prefix_of_some_names_stays() {
        let found = names(&["module.bert.a.weight", "loss.weight"]).unwrap();
        assert!(found.contains_key("module.bert.a.weight") && found.contains_key("loss.weight"));
        assert!(names(&[]).unwrap().is_empty());
    }
}
