//! Selection of the files of a repository.

use edge_runtime::pretrained::tokenizer::SETTINGS;

/// Extensions of readable data files, the best first.
const FORMATS: [&str; 6] = ["parquet", "jsonl", "ndjson", "json", "tsv", "csv"];

/// True if a file has the name of a readable data file.
pub(super) fn is_data(file: &str) -> bool {
    extension(file).is_some()
}

/// Rank of the file's format.
fn extension(file: &str) -> Option<usize> {
    let (_, extension) = file.rsplit_once('.')?;
    FORMATS.iter().position(|f| f.eq_ignore_ascii_case(extension))
}

/// Files of a checkpoint.
pub(super) fn checkpoint(files: &[String]) -> Result<Vec<String>, String> {
    let has = |name: &str| files.iter().any(|file| file == name);
    let mut chosen = vec!["config.json", "model.safetensors"];
    if let Some(missing) = chosen.iter().find(|name| !has(name)) {
        let hint = if has("model.safetensors.index.json") {
            ": the weights are in several files, which only very large models need"
        } else if has("pytorch_model.bin") {
            "; pytorch_model.bin is not read, save the checkpoint with `safe_serialization=True`"
        } else {
            ""
        };
        return Err(format!("there is no {missing}{hint}"));
    }
    match ["tokenizer.json", "vocab.txt"].into_iter().find(|name| has(name)) {
        Some(tokenizer) => chosen.push(tokenizer),
        None => return Err("there is neither tokenizer.json nor vocab.txt".into()),
    }
    chosen.extend([SETTINGS.as_slice(), &["exits.json"]].concat().into_iter().filter(|n| has(n)));
    Ok(chosen.into_iter().map(str::to_string).collect())
}

/// Files of a split: their names begin with it, and they have the same folder and format.
pub(super) fn split(
    files: &[String],
    within: Option<&str>,
    split: &str,
) -> Result<Vec<String>, String> {
    let folder = |file: &str| file.rsplit_once('/').map_or("", |(folder, _)| folder).to_string();
    let data: Vec<&String> = files
        .iter()
        .filter(|file| is_data(file) && within.is_none_or(|w| is_within(file, w)))
        .collect();
    let mut chosen: Vec<&String> = data.iter().copied().filter(|f| begins(f, split)).collect();
    chosen.sort();
    let Some(best) = chosen.iter().filter_map(|file| extension(file)).min() else {
        let place = within.map_or_else(String::new, |w| format!(" in {w}/"));
        let there = match &data[..] {
            [] => format!("and none that is read ({})", FORMATS.join(", ")),
            some => format!("there are {}", list(some)),
        };
        return Err(format!("there is no file for the split `{split}`{place}, {there}"));
    };
    chosen.retain(|file| extension(file) == Some(best));
    let mut folders: Vec<String> = chosen.iter().map(|file| folder(file)).collect();
    folders.dedup();
    if folders.len() > 1 {
        let folders: Vec<&String> = folders.iter().collect();
        return Err(format!(
            "there are several data sets; put the folder of one behind the name, as \
             organization/name/folder: {}",
            list(&folders)
        ));
    }
    // An incomplete data set must be detected.
    if let Some(shards) = chosen.iter().find_map(|file| shards(file))
        && shards != chosen.len()
    {
        return Err(format!(
            "of the {shards} files of the split `{split}` there are {}: {}",
            chosen.len(),
            list(&chosen)
        ));
    }
    Ok(chosen.into_iter().cloned().collect())
}

fn is_within(file: &str, folder: &str) -> bool {
    file.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'))
}

/// Returns true if a file's name is the split, alone or followed by a character other than a letter
/// or digit.
fn begins(file: &str, split: &str) -> bool {
    let name = file.rsplit('/').next().unwrap_or(file);
    name.strip_prefix(split).is_some_and(|rest| !rest.starts_with(char::is_alphanumeric))
}

/// Number of shards, for example 3 for `train-00000-of-00003.parquet`.
fn shards(file: &str) -> Option<usize> {
    let (_, count) = file.rsplit_once("-of-")?;
    let digits = count.len() - count.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    count[..digits].parse().ok()
}

fn list(files: &[&String]) -> String {
    const MOST: usize = 12;
    let mut text: String =
        files.iter().take(MOST).map(|f| f.as_str()).collect::<Vec<_>>().join(", ");
    if files.len() > MOST {
        text += &format!(" and {} more", files.len() - MOST);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(names: &str) -> Vec<String> {
        names.split_whitespace().map(str::to_string).collect()
    }

    #[test]
    fn settings_of_a_tokenizer_come_with_a_checkpoint() {
        let all = "config.json model.safetensors tokenizer.json tokenizer_config.json \
                   special_tokens_map.json added_tokens.json";
        assert_eq!(checkpoint(&files(all)).unwrap(), files(all));
    }

    #[test]
    fn a_checkpoint_has_its_files() {
        let all =
            files("README.md config.json exits.json model.safetensors tokenizer.json vocab.txt");
        let chosen = checkpoint(&all).unwrap();
        assert_eq!(chosen, files("config.json model.safetensors tokenizer.json exits.json"));
        let old = checkpoint(&files("config.json model.safetensors vocab.txt")).unwrap();
        assert_eq!(old, files("config.json model.safetensors vocab.txt"));
        for (names, said) in [
            ("config.json pytorch_model.bin vocab.txt", "safe_serialization"),
            ("config.json model.safetensors.index.json vocab.txt", "several files"),
            ("model.safetensors vocab.txt", "no config.json"),
            ("config.json model.safetensors", "neither tokenizer.json"),
        ] {
            let error = checkpoint(&files(names)).unwrap_err();
            assert!(error.contains(said), "{error}");
        }
    }

    #[test]
    fn a_split_has_all_its_shards() {
        let sst = "README.md data/train-00001-of-00002.parquet data/train-00000-of-00002.parquet \
                   data/training-notes.csv train.csv data/validation-00000-of-00001.parquet";
        let chosen = split(&files(sst), None, "train").unwrap();
        let both = "data/train-00000-of-00002.parquet data/train-00001-of-00002.parquet";
        assert_eq!(chosen, files(both));
        let dev = split(&files("dev.jsonl dev.csv train.jsonl"), None, "dev").unwrap();
        assert_eq!(dev, files("dev.jsonl"));
        let glue = files("cola/train-0.parquet sst2/train-0.parquet sst2/test-0.parquet");
        let chosen = split(&glue, Some("sst2"), "train").unwrap();
        assert_eq!(chosen, files("sst2/train-0.parquet"));
        for (names, within, said) in [
            ("train-00000-of-00002.parquet", None, "of the 2 files"),
            ("a/train.csv b/train.csv", None, "several data sets"),
            ("a/dev.csv", None, "no file for the split `train`, there are a/dev.csv"),
            ("loader.py", None, "none that is read"),
            ("a/train.csv", Some("b"), "in b/"),
        ] {
            let error = split(&files(names), within, "train").unwrap_err();
            assert!(error.contains(said), "{error}");
        }
    }
}
