//! Settings from `HOLM_*` variables: read once at start, each named in the error when it is wrong.
//!
//! A section and its key are joined by two underscores, so that a key may hold one. An unknown `HOLM_` variable is an error, because a
//! misspelt replication factor must not pass in silence. Variables of the tools around a node (`HOLM_DEV_…`) are left alone.
//!
//! A secret may stand in a file instead: `NAME__FILE` names it, so that the secret shows in no list of processes and no log of a deployment.

use std::io::Read as _;
use std::path::{Path, PathBuf};

/// Every variable a node knows.
const KNOWN: [&str; 19] = [
    "HOLM_NODE__NAME",
    "HOLM_DATA_DIR",
    "HOLM_JOURNAL__CORRELATION_INDEX",
    "HOLM_CLUSTER__NAME",
    "HOLM_CLUSTER__LISTEN",
    "HOLM_CLUSTER__ADVERTISE",
    "HOLM_CLUSTER__SEEDS",
    "HOLM_CLUSTER__EXPECTED_NODES",
    "HOLM_CLUSTER__REPLICATION",
    "HOLM_CLUSTER__SHARDS",
    "HOLM_CLUSTER__REST_AFTER_MS",
    SECRET,
    SECRET_FILE,
    "HOLM_DISK__FREE_PERCENT",
    "HOLM_DISK__FREE_MIB",
    "HOLM_HTTP__BIND",
    "HOLM_HTTP__TOKEN",
    "HOLM_HTTP__TOKEN__FILE",
    "HOLM_VIEWS__DIR",
];

const SECRET: &str = "HOLM_CLUSTER__SECRET";
const SECRET_FILE: &str = "HOLM_CLUSTER__SECRET__FILE";

/// Longest file of a secret: a key of 4,096 bits in any text form is shorter, and a wrong path to something large is noticed.
const SECRET_FILE_BYTES: u64 = 4_096;

/// What the variables say; what is absent keeps its default.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Environment {
    pub(crate) node_name: Option<String>,
    pub(crate) data_dir: Option<PathBuf>,
    pub(crate) correlation_index: Option<bool>,
    pub(crate) cluster: Option<String>,
    pub(crate) listen: Option<std::net::SocketAddr>,
    pub(crate) advertise: Option<std::net::SocketAddr>,
    pub(crate) seeds: Option<Vec<std::net::SocketAddr>>,
    pub(crate) expected_nodes: Option<u32>,
    pub(crate) replication: Option<u32>,
    pub(crate) shards: Option<u32>,
    pub(crate) rest_after_ms: Option<u64>,
    pub(crate) secret: Option<String>,
    pub(crate) disk_free_percent: Option<u8>,
    pub(crate) disk_free_mib: Option<u64>,
}

impl Environment {
    /// Reads pairs as `std::env::vars` gives them.
    pub(crate) fn read(
        variables: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, EnvironmentError> {
        let mut settings = Self::default();
        let (mut secret, mut secret_file) = (None, None);
        for (name, value) in variables {
            match name.as_str() {
                "HOLM_NODE__NAME" => settings.node_name = Some(value),
                "HOLM_DATA_DIR" => settings.data_dir = Some(value.into()),
                "HOLM_JOURNAL__CORRELATION_INDEX" => {
                    settings.correlation_index = Some(parse(&name, &value)?);
                }
                "HOLM_CLUSTER__NAME" => settings.cluster = Some(value),
                "HOLM_CLUSTER__LISTEN" => settings.listen = Some(parse(&name, &value)?),
                "HOLM_CLUSTER__ADVERTISE" => settings.advertise = Some(parse(&name, &value)?),
                "HOLM_CLUSTER__SEEDS" => settings.seeds = Some(parse_list(&name, &value)?),
                "HOLM_CLUSTER__EXPECTED_NODES" => {
                    settings.expected_nodes = Some(parse(&name, &value)?);
                }
                "HOLM_CLUSTER__REPLICATION" => settings.replication = Some(parse(&name, &value)?),
                "HOLM_CLUSTER__SHARDS" => settings.shards = Some(parse(&name, &value)?),
                "HOLM_CLUSTER__REST_AFTER_MS" => {
                    settings.rest_after_ms = Some(parse(&name, &value)?);
                }
                "HOLM_DISK__FREE_PERCENT" => {
                    settings.disk_free_percent = Some(parse(&name, &value)?);
                }
                "HOLM_DISK__FREE_MIB" => settings.disk_free_mib = Some(parse(&name, &value)?),
                SECRET => secret = Some(value),
                SECRET_FILE => secret_file = Some(value),
                // Read by whoever serves the pages, and by whoever runs views.
                "HOLM_HTTP__BIND"
                | "HOLM_HTTP__TOKEN"
                | "HOLM_HTTP__TOKEN__FILE"
                | "HOLM_VIEWS__DIR" => {}
                other if other.starts_with("HOLM_") && !other.starts_with("HOLM_DEV_") => {
                    return Err(EnvironmentError::Unknown {
                        nearest: nearest(other),
                        name: name.clone(),
                    });
                }
                _ => {}
            }
        }
        settings.secret = secret_of(SECRET, secret, secret_file)?;
        Ok(settings)
    }
}

/// The secret that the variable `name` of this process holds, or the first line of the file that `name__FILE` names.
///
/// # Errors
/// [`EnvironmentError::Secret`] names the file that cannot be read; [`EnvironmentError::Twice`] when both are set.
pub fn secret_variable(name: &str) -> Result<Option<String>, EnvironmentError> {
    let read = |name: &str| std::env::var(name).ok();
    secret_of(name, read(name), read(&format!("{name}__FILE")))
}

fn secret_of(
    name: &str,
    value: Option<String>,
    file: Option<String>,
) -> Result<Option<String>, EnvironmentError> {
    match (value, file) {
        (Some(_), Some(_)) => Err(EnvironmentError::Twice { name: name.to_owned() }),
        (value, None) => Ok(value),
        (None, Some(file)) => read_secret(Path::new(&file)).map(Some).map_err(|reason| {
            EnvironmentError::Secret { name: format!("{name}__FILE"), path: file.into(), reason }
        }),
    }
}

/// A secret is one line; an editor may have ended it.
fn read_secret(path: &Path) -> Result<String, String> {
    let mut text = String::new();
    let read = std::fs::File::open(path)
        .and_then(|file| file.take(SECRET_FILE_BYTES + 1).read_to_string(&mut text));
    read.map_err(|error| error.to_string())?;
    if text.len() as u64 > SECRET_FILE_BYTES {
        return Err(format!("it is longer than {SECRET_FILE_BYTES} bytes"));
    }
    let secret = text.strip_suffix('\n').unwrap_or(&text);
    let secret = secret.strip_suffix('\r').unwrap_or(secret);
    if secret.is_empty() {
        return Err("it is empty".to_owned());
    }
    if secret.contains(['\n', '\r']) {
        return Err("it has more than one line".to_owned());
    }
    Ok(secret.to_owned())
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
    /// The file of a secret cannot be used.
    #[error("{name} names {}, which cannot be used: {reason}", path.display())]
    Secret {
        /// The variable.
        name: String,
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A secret is given by itself and by its file.
    #[error("{name} and {name}__FILE are both set; keep one of them")]
    Twice {
        /// The variable of the secret itself.
        name: String,
    },
}

/// The door of the fuzz target to the variables: names and values alternate, each ends with a zero byte. Compiled for tests and for fuzzing only.
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub fn fuzz_settings(data: &[u8]) {
    let mut words = data.split(|byte| *byte == 0).map(|word| String::from_utf8_lossy(word));
    let mut variables = Vec::new();
    while let (Some(name), Some(value)) = (words.next(), words.next()) {
        variables.push((name.into_owned(), value.into_owned()));
    }
    if let Err(error) = Environment::read(variables) {
        assert!(error.to_string().contains("HOLM_"), "{error}");
    }
}

/// Seeds of [`fuzz_settings`].
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
#[must_use]
pub fn fuzz_settings_seeds() -> Vec<Vec<u8>> {
    let values = ["holm-1", "127.0.0.1:4000", "[::1]:1, 127.0.0.1:2", "3", "many", ""];
    let pair = |name: &str, value: &str| format!("{name}\0{value}\0").into_bytes();
    let all = |value: &str| KNOWN.iter().flat_map(|name| pair(name, value)).collect();
    let unknown = [pair(&format!("{}S", KNOWN[8]), "3"), pair("HOLM_DEV_DIR", "x")];
    values.into_iter().map(all).chain(unknown).collect()
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
            "HOLM_CLUSTER__LISTEN" | "HOLM_CLUSTER__ADVERTISE" => "127.0.0.1:7",
            "HOLM_CLUSTER__SEEDS" => "127.0.0.1:1, 127.0.0.1:2",
            "HOLM_JOURNAL__CORRELATION_INDEX" => "false",
            _ => "3",
        };
        // The secret itself or its file, not both.
        let known = KNOWN.iter().filter(|name| **name != SECRET_FILE);
        let all: Vec<_> = known.map(|name| (*name, values(name))).collect();
        let settings = read(&all).unwrap();
        assert_eq!(settings.seeds.map(|seeds| seeds.len()), Some(2));
        assert_eq!((settings.disk_free_percent, settings.disk_free_mib), (Some(3), Some(3)));
        assert_eq!(settings.replication, Some(3));
        assert_eq!(settings.rest_after_ms, Some(3));
        assert_eq!(settings.correlation_index, Some(false));
        assert_eq!(settings.advertise, Some(([127, 0, 0, 1], 7).into()));
        assert_eq!(settings.secret.as_deref(), Some("3"));
    }

    #[test]
    fn a_secret_may_stand_in_a_file() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("secret");
        let path = file.to_str().unwrap();
        for (text, expected) in [
            ("s3cret", Some("s3cret")),
            ("s3cret\n", Some("s3cret")),
            (" s3cret \r\n", Some(" s3cret ")),
            ("", None),
            ("\n", None),
            ("one\ntwo\n", None),
        ] {
            std::fs::write(&file, text).unwrap();
            let secret = read(&[(SECRET_FILE, path)]).map(|settings| settings.secret);
            match expected {
                Some(expected) => assert_eq!(secret, Ok(Some(expected.to_owned())), "{text:?}"),
                None => assert!(secret.unwrap_err().to_string().contains(path), "{text:?}"),
            }
        }
        std::fs::write(&file, vec![b'x'; 4_097]).unwrap();
        let error = read(&[(SECRET_FILE, path)]).unwrap_err();
        assert!(error.to_string().contains("longer than 4096"), "{error}");
    }

    #[test]
    fn a_file_of_a_secret_that_is_not_there_is_named() {
        let error = read(&[(SECRET_FILE, "/nowhere/secret")]).unwrap_err().to_string();
        assert!(error.starts_with("HOLM_CLUSTER__SECRET__FILE names /nowhere/secret,"), "{error}");
        let error = read(&[(SECRET, "a"), (SECRET_FILE, "/nowhere/secret")]).unwrap_err();
        assert_eq!(error, EnvironmentError::Twice { name: SECRET.into() });
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
    fn seeds_and_their_beginnings_pass() {
        for seed in fuzz_settings_seeds() {
            (0..=seed.len()).for_each(|end| fuzz_settings(&seed[..end]));
        }
    }

    #[test]
    fn a_malformed_value_is_named() {
        let error = read(&[("HOLM_CLUSTER__SHARDS", "many")]).unwrap_err();
        assert!(error.to_string().starts_with("HOLM_CLUSTER__SHARDS=many"), "{error}");
    }
}
