//! The door of the fuzz target to the body of a command. See [`crate::fuzzing`].

use std::sync::LazyLock;

use holm::{ErrorKind, Registry};
use holm_domains::{bank::Account, flights::Airport, seats::Show};

use super::body;

/// Commands with and without fields, of every demo domain.
const COMMANDS: [(&str, &str, &str); 8] = [
    ("account", "open", r#"{"owner":"ada"}"#),
    ("account", "deposit", r#"{"amount":100}"#),
    ("account", "balance", "{}"),
    ("show", "choose", r#"{"seat":"A1","holder":"ada"}"#),
    ("show", "map", ""),
    ("airport", "depart", r#"{"at":"2001/01/01 00:47","delay":-6,"distance":1750,"to":"LAS"}"#),
    ("airport", "totals", "{}"),
    ("account", "no-such-command", "{}"),
];

static REGISTRY: LazyLock<Registry> =
    LazyLock::new(|| Registry::new().entity::<Account>().entity::<Show>().entity::<Airport>());

/// The body of a command; the first byte says of which.
pub fn http_body(data: &[u8]) {
    let Some((&which, bytes)) = data.split_first() else { return };
    let (entity_type, command, _) = COMMANDS[usize::from(which) % COMMANDS.len()];
    let Ok(body) = body::parse(bytes) else { return };
    match REGISTRY.command_from_json(entity_type, command, &body) {
        Ok(payload) => assert!(payload.len() <= bytes.len() + 64, "a body does not swell"),
        Err(error) => assert_eq!(error.kind(), ErrorKind::FixRequest, "{error}"),
    }
}

/// Seeds of [`http_body`].
#[must_use]
pub fn http_body_seeds() -> Vec<Vec<u8>> {
    let bodies = COMMANDS.iter().zip(0u8..);
    let mut seeds: Vec<_> =
        bodies.map(|((_, _, body), which)| [&[which], body.as_bytes()].concat()).collect();
    for odd in [r#"{"amount":1e400}"#, r#"{"amount":-1}"#, "[[[[[[[[", "null", "\"\\ud800\""] {
        seeds.push([&[1], odd.as_bytes()].concat());
    }
    seeds
}
