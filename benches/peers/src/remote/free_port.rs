//! A port for libraries that do not tell which one the system picked.

/// One that was free a moment ago.
pub(super) fn free_port() -> std::io::Result<u16> {
    Ok(std::net::TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}
