//! Maps whose keys are no texts, written as lists of pairs: JSON knows no other keys, and a state that cannot be shown hides what an operator looks for. In bincode
//! the bytes are those of a map.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

pub(crate) fn serialize<K: Serialize, V: Serialize, S: Serializer>(
    map: &BTreeMap<K, V>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(map)
}

pub(crate) fn deserialize<'de, K, V, D>(deserializer: D) -> Result<BTreeMap<K, V>, D::Error>
where
    K: Deserialize<'de> + Ord,
    V: Deserialize<'de>,
    D: Deserializer<'de>,
{
    Ok(Vec::<(K, V)>::deserialize(deserializer)?.into_iter().collect())
}

#[cfg(test)]
mod tests {
    use holm_persistence::{decode, encode};

    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct AsMap(BTreeMap<(u32, u64), String>);

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct AsPairs(#[serde(with = "super")] BTreeMap<(u32, u64), String>);

    /// Snapshots that were written as maps stay readable.
    #[test]
    fn the_bytes_are_those_of_a_map() {
        let map = || (0..300).map(|n| ((n, u64::from(n) * 7), n.to_string())).collect();
        let bytes = encode(&AsMap(map())).unwrap();
        assert_eq!(encode(&AsPairs(map())).unwrap(), bytes);
        assert_eq!(decode::<AsPairs>(&bytes).unwrap(), AsPairs(map()));
        assert!(serde_json::to_value(AsMap(map())).is_err());
        let shown = serde_json::to_value(AsPairs(map())).unwrap();
        assert_eq!(shown[1], serde_json::json!([[1, 7], "1"]));
        assert_eq!(serde_json::from_value::<AsPairs>(shown).unwrap(), AsPairs(map()));
    }
}
