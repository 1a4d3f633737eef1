//! What the `HOLM_HTTP__*` and `HOLM_VIEWS__*` variables say. All others are read, and misspelt ones refused, by [`holm::Builder::from_env`].

use std::net::SocketAddr;
use std::path::PathBuf;

use super::error::NodeError;
use crate::management::HttpOptions;

const BIND: &str = "HOLM_HTTP__BIND";
const TOKEN: &str = "HOLM_HTTP__TOKEN";
const VIEWS: &str = "HOLM_VIEWS__DIR";

/// Where the views of the demo domains go; none when there shall be none.
pub(super) fn views_from_env() -> Option<PathBuf> {
    std::env::var_os(VIEWS).filter(|dir| !dir.is_empty()).map(PathBuf::from)
}

/// Options of the management HTTP from the variables of the process.
pub(super) fn http_from_env() -> Result<HttpOptions, NodeError> {
    let token = holm::secret_variable(TOKEN).map_err(NodeError::Secret)?;
    read(std::env::var(BIND).ok(), token)
}

fn read(bind: Option<String>, token: Option<String>) -> Result<HttpOptions, NodeError> {
    let mut options = HttpOptions { token, ..HttpOptions::default() };
    if let Some(text) = bind {
        options.bind = text.trim().parse::<SocketAddr>().map_err(|error| NodeError::Setting {
            name: BIND,
            reason: format!("`{text}` is no address with a port: {error}"),
        })?;
    }
    Ok(options)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_cannot_be_read_is_named() {
        let error = read(Some("localhost".into()), None).unwrap_err();
        assert_eq!(error.to_string(), "HOLM_HTTP__BIND cannot be read");
        let options = read(Some("127.0.0.1:0".into()), None).unwrap();
        assert_eq!(options.bind.port(), 0);
    }
}
