//! Settings from `HOLM_*` variables: read once at start, each named in the error when it is wrong.
//!
//! A section and its key are joined by two underscores, so that a key may hold one. An unknown `HOLM_` variable is an error, because a
//! misspelt replication factor must not pass in silence. Variables of the tools around a node (`HOLM_DEV_…`) are left alone.

use std::path::PathBuf;

/// Every variable a node knows.
const KNOWN: [&str; 11] = [
    "HOLM_NODE__NAME",
    "HOLM_DATA_DIR",
    "HOLM_CLUSTER__NAME",
    "HOLM_CLUSTER__LISTEN",
    "HOLM_CLUSTER__SEEDS",
    "HOLM_CLUSTER__EXPECTED_NODES",
    "HOLM_CLUSTER__REPLICATION",
    "HOLM_CLUSTER__SHARDS",
    "HOLM_CLUSTER__SECRET",
    "HOLM_HTTP__BIND",
    "HOLM_HTTP__TOKEN",
];

/// What the variables say; what is absent keeps its default.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Environment {
    pub(crate) node_name: Option<String>,
    pub(crate) data_dir: Option<PathBuf>,
    pub(crate) cluster: Option<String>,
    pub(crate) listen: Option<std::net::SocketAddr>,
    pub(crate) seeds: Option<Vec<std::net::SocketAddr>>,
    pub(crate) expected_nodes: Option<u32>,
    pub(crate) replication: Option<u32>,
    pub(crate) shards: Option<u32>,
    pub(crate) secret: Option<String>,
}

impl Environment {
    /// Reads pairs as `std::env::vars` gives them.
    pub(crate) fn read(
        variables: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, EnvironmentError> {
        let mut settings = Self::default();
        for (name, value) in variables {
            match name.as_str() {
                "HOLM_NODE__NAME" => settings.node_name = Some(value),
                "HOLM_DATA_DIR" => settings.data_dir = Some(value.into()),
                "HOLM_CLUSTER__NAME" => settings.cluster = Some(value),
                "HOLM_CLUSTER__LISTEN" => settings.listen = Some(parse(&name, &value)?),
                "HOLM_CLUSTER__SEEDS" => settings.seeds = Some(parse_list(&name, &value)?),
                "HOLM_CLUSTER__EXPECTED_NODES" => {
                    settings.expected_nodes = Some(parse(&name, &value)?);
                }
                "HOLM_CLUSTER__REPLICATION" => settings.replication = Some(parse(&name, &value)?),
                "HOLM_CLUSTER__SHARDS" => settings.shards = Some(parse(&name, &value)?),
                "HOLM_CLUSTER__SECRET" => settings.secret = Some(value),
                // Read by whoever serves the pages.
                "HOLM_HTTP__BIND" | "HOLM_HTTP__TOKEN" => {}
                other if other.starts_with("HOLM_") && !other.starts_with("HOLM_DEV_") => {
                    return Err(EnvironmentError::Unknown {
                        nearest: nearest(other),
                        name: name.clone(),
                    });
                }
                _ => {}
            }
        }
        Ok(settings)
    }
}

fn parse<T: std::str::FromStr>(name: &str, value: &str) -> Result<T, EnvironmentError>
where
    T::Err: std::fmt::Display,
{
    value.trim().parse().map_err(|error: T::Err| EnvironmentError::Malformed {
        name: name.to_owned(),
        value: value.to_owned(),
        reason: error.to_string(),
    })
}

fn parse_list<T: std::str::FromStr>(name: &str, value: &str) -> Result<Vec<T>, EnvironmentError>
where
    T::Err: std::fmt::Display,
{
    value.split(',').filter(|part| !part.trim().is_empty()).map(|part| parse(name, part)).collect()
}

/// The known variable that shares the longest beginning with `name`.
fn nearest(name: &str) -> &'static str {
    let shared = |known: &&str| {
        known.bytes().zip(name.bytes()).take_while(|(known, given)| known == given).count()
    };
    KNOWN.into_iter().max_by_key(shared).unwrap_or("HOLM_NODE__NAME")
}

/// Why the variables are no settings.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EnvironmentError {
    /// There is no such variable.
    #[error("{name} is no setting of Holm; did you mean {nearest}?")]
    Unknown {
        /// What was set.
        name: String,
        /// The known variable most like it.
        nearest: &'static str,
    },
    /// The value cannot be read.
    #[error("{name}={value} cannot be read: {reason}")]
    Malformed {
        /// The variable.
        name: String,
        /// Its value.
        value: String,
        /// What is wrong with it.
        reason: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&str, &str)]) -> Result<Environment, EnvironmentError> {
        Environment::read(pairs.iter().map(|(name, value)| ((*name).into(), (*value).into())))
    }

    #[test]
    fn every_known_variable_is_read() {
        let values = |name: &str| match name {
            "HOLM_CLUSTER__LISTEN" => "127.0.0.1:0",
            "HOLM_CLUSTER__SEEDS" => "127.0.0.1:1, 127.0.0.1:2",
            _ => "3",
        };
        let all: Vec<_> = KNOWN.iter().map(|name| (*name, values(name))).collect();
        let settings = read(&all).unwrap();
        assert_eq!(settings.seeds.map(|seeds| seeds.len()), Some(2));
        assert_eq!(settings.replication, Some(3));
    }

    #[test]
    fn a_misspelt_variable_is_refused_with_a_suggestion() {
        assert_eq!(
            read(&[("HOLM_CLUSTER__REPLICAS", "3")]),
            Err(EnvironmentError::Unknown {
                name: "HOLM_CLUSTER__REPLICAS".into(),
                nearest: "HOLM_CLUSTER__REPLICATION",
            })
        );
        assert!(read(&[("HOLM_DEV_DIR", "x"), ("PATH", "y")]).is_ok());
    }

    #[test]
    fn a_malformed_value_is_named() {
        let error = read(&[("HOLM_CLUSTER__SHARDS", "many")]).unwrap_err();
        assert!(error.to_string().starts_with("HOLM_CLUSTER__SHARDS=many"), "{error}");
    }
}
