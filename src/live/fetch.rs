//! A document by its URL: the keys that tokens are verified with.

use crate::tls;
use axum::body::{Body, to_bytes};
use axum::http::{Request, StatusCode, Uri, header};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;

/// How long all of it may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Gets the document at `url`, of at most so many bytes.
///
/// # Errors
/// A sentence: why it cannot be had.
pub async fn get(url: &str, largest: usize) -> Result<Vec<u8>, String> {
    let got = tokio::time::timeout(PATIENCE, ask(url, largest)).await;
    got.unwrap_or_else(|_| Err("the server does not answer within 10 s".into()))
}

async fn ask(url: &str, largest: usize) -> Result<Vec<u8>, String> {
    let uri: Uri = url.parse().map_err(|_| "is no URL")?;
    let host = uri.host().ok_or("is no URL with a host")?;
    let is_tls = uri.scheme_str() == Some("https");
    let port = uri.port_u16().unwrap_or(if is_tls { 443 } else { 80 });
    let name = host.trim_start_matches('[').trim_end_matches(']');
    let stream = TcpStream::connect((name, port)).await;
    let stream = stream.map_err(|error| format!("the server cannot be reached: {error}"))?;
    match is_tls {
        false => exchange(stream, &uri, largest).await,
        true => {
            let server =
                ServerName::try_from(name.to_owned()).map_err(|_| "is no URL with a host")?;
            let tls = tls::client(tls::authorities());
            let tls = tls.map_err(|error| format!("no TLS: {error}"))?;
            let stream = TlsConnector::from(Arc::new(tls))
                .connect(server, stream)
                .await;
            let stream = stream.map_err(|error| format!("no TLS with the server: {error}"))?;
            exchange(stream, &uri, largest).await
        }
    }
}

async fn exchange<S>(stream: S, uri: &Uri, largest: usize) -> Result<Vec<u8>, String>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let failed = |error: hyper::Error| format!("the server does not answer: {error}");
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
        .await
        .map_err(failed)?;
    let connection = tokio::spawn(connection);
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let authority = uri.authority().map_or("", |authority| authority.as_str());
    let request = Request::get(path)
        .header(header::HOST, authority)
        .header(header::ACCEPT, "application/json")
        .header(header::CONNECTION, "close")
        .body(Body::empty())
        .map_err(|_| "is no URL")?;
    let response = sender.send_request(request).await.map_err(failed)?;
    if response.status() != StatusCode::OK {
        return Err(format!("the server answers {}", response.status()));
    }
    let body = to_bytes(Body::new(response.into_body()), largest).await;
    connection.abort();
    body.map(Vec::from)
        .map_err(|_| format!("is not read to its end, or has more than {largest} bytes"))
}
