//! Whether a peer speaks TLS: asked once, where the user did not say and clear HTTP is allowed.
//!
//! One connection, one greeting that a TLS server answers in TLS and an HTTP server at once with an error: nobody is
//! left waiting for the rest of it. Sends no name of what is asked for, and nothing secret.

use super::unchecked::Unchecked;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use url::Url;

/// The ends of lines that make a server of lines take the greeting for a whole request.
const END_OF_LINES: &[u8] = b"\r\n\r\n";
/// The first bytes of TLS records that can answer: alert, handshake.
const RECORDS: [u8; 2] = [0x15, 0x16];

/// What a peer showed itself to speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Speaks {
    Tls,
    /// Something else, and it said so.
    Clear,
    /// It hung up: most likely something else.
    Closed,
    /// Nothing within the limit, or it was not reached.
    Unknown,
}

/// What the host and port of `url` speak.
pub(super) async fn greet(url: &Url, limit: Duration) -> Speaks {
    tokio::time::timeout(limit, first_byte(url)).await.ok().flatten().unwrap_or(Speaks::Unknown)
}

async fn first_byte(url: &Url) -> Option<Speaks> {
    let host = url.host_str()?.trim_start_matches('[').trim_end_matches(']');
    let stream = TcpStream::connect((host, url.port_or_known_default()?)).await.ok()?;
    let mut greeting = hello(host)?;
    greeting.extend_from_slice(END_OF_LINES);
    let mut rest = greeting.as_slice();
    let would_block = |error: &std::io::Error| error.kind() == std::io::ErrorKind::WouldBlock;
    while !rest.is_empty() {
        stream.writable().await.ok()?;
        match stream.try_write(rest) {
            Ok(written) => rest = &rest[written..],
            Err(error) if would_block(&error) => {}
            Err(_) => return Some(Speaks::Closed),
        }
    }
    let mut byte = [0];
    loop {
        stream.readable().await.ok()?;
        match stream.try_read(&mut byte) {
            Ok(0) => return Some(Speaks::Closed),
            Ok(_) if RECORDS.contains(&byte[0]) => return Some(Speaks::Tls),
            Ok(_) => return Some(Speaks::Clear),
            Err(error) if would_block(&error) => {}
            Err(_) => return Some(Speaks::Closed),
        }
    }
}

/// The first message of a handshake that is never finished.
fn hello(host: &str) -> Option<Vec<u8>> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let unchecked = Unchecked(provider.signature_verification_algorithms);
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .ok()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(unchecked))
        .with_no_client_auth();
    let name = ServerName::try_from(host.to_owned()).ok()?;
    let mut bytes = Vec::new();
    ClientConnection::new(Arc::new(config), name).ok()?.write_tls(&mut bytes).ok()?;
    Some(bytes)
}
