//! Names of a network's linear layers, and sets of them.

use crate::encoder::{EncoderConfig, LayerPart};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::str::FromStr;

/// Linear layers with the same input, by layer or by exit, both counted from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Site {
    /// Queries, keys and values of a layer.
    Qkv(usize),
    /// Linear layer after the concatenated heads of a layer.
    AttentionOutput(usize),
    /// First linear layer of a layer's feed-forward network.
    Intermediate(usize),
    /// Second linear layer of a layer's feed-forward network.
    Output(usize),
    /// Dense layer of an exit.
    Dense(usize),
    /// Classifier of an exit.
    Classifier(usize),
}

/// Beginning and end of a name, in the order of [`Site::place`].
const NAMES: [(&str, &str); 6] = [
    ("layers", "qkv"),
    ("layers", "attention_output"),
    ("layers", "intermediate"),
    ("layers", "output"),
    ("exits", "dense"),
    ("exits", "classifier"),
];

impl Site {
    /// Kind of the linear layer, and the index of its layer or exit.
    fn place(self) -> (usize, usize) {
        match self {
            Site::Qkv(i) => (0, i),
            Site::AttentionOutput(i) => (1, i),
            Site::Intermediate(i) => (2, i),
            Site::Output(i) => (3, i),
            Site::Dense(i) => (4, i),
            Site::Classifier(i) => (5, i),
        }
    }

    fn at(kind: usize, index: usize) -> Self {
        let kinds = [
            Site::Qkv,
            Site::AttentionOutput,
            Site::Intermediate,
            Site::Output,
            Site::Dense,
            Site::Classifier,
        ];
        kinds[kind](index)
    }

    /// Name in files: `layers.0.qkv`, `exits.0.dense`.
    ///
    /// ```
    /// use edge_export::quantize::Site;
    /// assert_eq!(Site::AttentionOutput(2).name(), "layers.2.attention_output");
    /// assert_eq!("layers.2.attention_output".parse(), Ok(Site::AttentionOutput(2)));
    /// ```
    pub fn name(self) -> String {
        let (kind, index) = self.place();
        let (part, name) = NAMES[kind];
        format!("{part}.{index}.{name}")
    }

    /// All linear layers that can have 4 bits in a network with `exits` exits: those of the layers,
    /// then those of the exits.
    pub fn all(encoder: &EncoderConfig, exits: usize) -> Vec<Site> {
        let of_layer = |i| (0..4).map(move |kind| Site::at(kind, i));
        (0..encoder.layers).flat_map(of_layer).chain((0..exits).map(Site::Dense)).collect()
    }

    /// Shape of its weight, `[inputs, outputs]`, for exits of this width and this many labels.
    pub fn shape(self, encoder: &EncoderConfig, exit_width: usize, labels: usize) -> [usize; 2] {
        let part = |part: LayerPart, layer: usize| {
            let shape = part.shape(encoder, layer);
            [shape[1], shape[0]]
        };
        match self {
            Site::Qkv(layer) => {
                let [inputs, outputs] = part(LayerPart::Query, layer);
                [inputs, 3 * outputs]
            }
            Site::AttentionOutput(layer) => part(LayerPart::AttentionOutput, layer),
            Site::Intermediate(layer) => part(LayerPart::Intermediate, layer),
            Site::Output(layer) => part(LayerPart::Output, layer),
            Site::Dense(_) => [encoder.hidden, exit_width],
            Site::Classifier(_) => [exit_width, labels],
        }
    }
}

impl FromStr for Site {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = NAMES.iter().enumerate().find_map(|(kind, (part, name))| {
            let index = text.strip_prefix(part)?.strip_prefix('.')?.strip_suffix(name)?;
            Some(Site::at(kind, index.strip_suffix('.')?.parse().ok()?))
        });
        found.ok_or_else(|| {
            format!(
                "`{text}` is no linear layer; expected layers.N.qkv, layers.N.attention_output, \
                 layers.N.intermediate, layers.N.output or exits.N.dense, counted from 0"
            )
        })
    }
}

impl fmt::Display for Site {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name())
    }
}

/// A set of linear layers that can have 4 bits, of the first 64 layers and exits. In files it is
/// `"all"` or a list of [names](Site::name).
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Sites([u64; 5]);

impl Sites {
    /// Empty set.
    pub const NONE: Sites = Sites([0; 5]);
    /// All linear layers, in any network.
    pub const ALL: Sites = Sites([u64::MAX; 5]);

    /// True if the set is empty.
    pub fn is_empty(&self) -> bool {
        *self == Sites::NONE
    }

    /// True if the set contains `site`.
    pub fn contains(&self, site: Site) -> bool {
        let (kind, index) = site.place();
        self.0.get(kind).is_some_and(|set| index < 64 && set >> index & 1 == 1)
    }

    /// Adds a linear layer. `None` for a classifier, which stays in floats, or beyond the 64th
    /// layer or exit.
    #[must_use]
    pub fn with(mut self, site: Site) -> Option<Sites> {
        let (kind, index) = site.place();
        let set = self.0.get_mut(kind).filter(|_| index < 64)?;
        *set |= 1 << index;
        Some(self)
    }

    /// Linear layers of the set in a network with `exits` exits; [`Sites::ALL`] gives all of them.
    /// Each must exist and be compatible with 4 bits.
    ///
    /// # Errors
    /// A message that names the first layer that is missing or has an odd number of inputs.
    pub fn of_network(&self, encoder: &EncoderConfig, exits: usize) -> Result<Vec<Site>, String> {
        let all = Site::all(encoder, exits);
        if *self != Sites::ALL
            && let Some(site) = self.iter().find(|site| !all.contains(site))
        {
            let (name, layers) = (site.name(), encoder.layers);
            return Err(format!(
                "there is no {name} in a network of {layers} layers and {exits} exits"
            ));
        }
        let chosen: Vec<Site> = all.into_iter().filter(|site| self.contains(*site)).collect();
        let inputs = |site: &Site| site.shape(encoder, encoder.hidden, 0)[0];
        match chosen.iter().find(|site| inputs(site) % 2 == 1) {
            None => Ok(chosen),
            Some(site) => Err(format!(
                "weights of 4 bits need an even number of inputs; {} has {}",
                site.name(),
                inputs(site)
            )),
        }
    }

    fn iter(&self) -> impl Iterator<Item = Site> {
        let sets = self.0;
        (0..64).flat_map(move |index| {
            let here = move |kind: &usize| sets[*kind] >> index & 1 == 1;
            (0..sets.len()).filter(here).map(move |kind| Site::at(kind, index))
        })
    }
}

impl fmt::Debug for Sites {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self == Sites::ALL {
            true => f.write_str("all"),
            false => f.debug_set().entries(self.iter().map(Site::name)).finish(),
        }
    }
}

impl FromIterator<Site> for Sites {
    /// Builds a set; linear layers that cannot have 4 bits are left out.
    fn from_iter<T: IntoIterator<Item = Site>>(sites: T) -> Self {
        sites.into_iter().fold(Sites::NONE, |sum, site| sum.with(site).unwrap_or(sum))
    }
}

#[derive(Deserialize, Serialize)]
#[serde(untagged)]
enum Written {
    Word(String),
    Names(Vec<String>),
}

impl Serialize for Sites {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match *self == Sites::ALL {
            true => Written::Word("all".into()),
            false => Written::Names(self.iter().map(Site::name).collect()),
        }
        .serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Sites {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        use serde::de::Error;
        let names = match Written::deserialize(deserializer) {
            Ok(Written::Word(word)) if word == "all" => return Ok(Sites::ALL),
            Ok(Written::Names(names)) => names,
            _ => return Err(D::Error::custom("expected \"all\" or a list of linear layers")),
        };
        names.iter().try_fold(Sites::NONE, |sum, name| {
            let site = name.parse().map_err(D::Error::custom)?;
            sum.with(site).ok_or_else(|| D::Error::custom(format!("{name} cannot have 4 bits")))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_they_are_written() {
        for kind in 0..NAMES.len() {
            for index in [0, 7, 63] {
                let site = Site::at(kind, index);
                assert_eq!(site.name().parse(), Ok(site));
            }
        }
        for wrong in ["layers.qkv", "layers.x.qkv", "exits.0.output", "layers.0.qkv.weight", ""] {
            assert!(wrong.parse::<Site>().unwrap_err().contains("layers.N.qkv"), "{wrong}");
        }
    }

    #[test]
    fn a_set_is_written_as_a_word_or_a_list() {
        let some: Sites = [Site::Output(1), Site::Dense(3), Site::Qkv(0)].into_iter().collect();
        let json = r#"["layers.0.qkv","layers.1.output","exits.3.dense"]"#;
        assert_eq!(serde_json::to_string(&some).unwrap(), json);
        assert_eq!(serde_json::from_str::<Sites>(json).unwrap(), some);
        assert_eq!(serde_json::to_string(&Sites::ALL).unwrap(), r#""all""#);
        assert_eq!(serde_json::from_str::<Sites>(r#""all""#).unwrap(), Sites::ALL);
        assert!(some.contains(Site::Dense(3)) && !some.contains(Site::Dense(2)));
        for (wrong, said) in [
            (r#""none""#, "\"all\" or a list"),
            ("4", "\"all\" or a list"),
            (r#"["exits.0.classifier"]"#, "cannot have 4 bits"),
            (r#"["layers.64.qkv"]"#, "cannot have 4 bits"),
            (r#"["layers.1"]"#, "is no linear layer"),
        ] {
            let error = serde_json::from_str::<Sites>(wrong).unwrap_err().to_string();
            assert!(error.contains(said), "{error}");
        }
    }
}
