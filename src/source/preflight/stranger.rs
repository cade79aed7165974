//! Whether what listens at an address is a MongoDB at all: a port is easily mistaken for another one, and the
//! driver only says that it heard nothing.

use bson::doc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// How long a server may take to answer a greeting before it is taken for a slow MongoDB.
const PATIENCE: Duration = Duration::from_secs(1);

/// The opcode of messages since MongoDB 3.6.
const OP_MSG: i32 = 2013;

/// Greets whoever is there. `None` for a MongoDB, and for one who says nothing.
pub(super) async fn on(mut connection: TcpStream) -> Option<&'static str> {
    let mut head = [0; 16];
    let greeted = async {
        connection.write_all(&greeting()).await?;
        connection.read_exact(&mut head).await
    };
    match tokio::time::timeout(PATIENCE, greeted).await {
        Ok(Ok(_)) => of(&head),
        // An answer that is shorter than any of MongoDB's, or none.
        Ok(Err(_)) => Some(
            "it closes the connection: it is no MongoDB, or it expects TLS (tls=true in MONGODB_URI)",
        ),
        Err(_elapsed) => None,
    }
}

/// What an answer begins with: its length, its number, which request it answers, and its kind.
fn of(head: &[u8; 16]) -> Option<&'static str> {
    if head.starts_with(b"HTTP/") {
        return Some("an HTTP server answers there, no MongoDB");
    }
    let kind = [head[12], head[13], head[14], head[15]];
    (i32::from_le_bytes(kind) != OP_MSG)
        .then_some("what answers there does not speak MongoDB's protocol")
}

/// `hello`, as a message.
fn greeting() -> Vec<u8> {
    let hello = doc! {"hello": 1, "$db": "admin"}
        .to_vec()
        .unwrap_or_default();
    let length = i32::try_from(16 + 4 + 1 + hello.len()).unwrap_or_default();
    let mut message = Vec::new();
    for number in [length, 1, 0, OP_MSG, 0] {
        message.extend_from_slice(&number.to_le_bytes());
    }
    // The only section: a document.
    message.push(0);
    message.extend_from_slice(&hello);
    message
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;
    use tokio::net::TcpListener;

    /// What is said of a server that answers a greeting with these bytes and closes the connection.
    async fn said_of(answer: &'static [u8]) -> Option<&'static str> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = tokio::spawn(async move {
            let (mut connection, _) = listener.accept().await.unwrap();
            let mut greeting = vec![0; super::greeting().len()];
            connection.read_exact(&mut greeting).await.unwrap();
            connection.write_all(answer).await.unwrap();
        });
        let said = on(TcpStream::connect(address).await.unwrap()).await;
        server.await.unwrap();
        said
    }

    #[tokio::test]
    async fn what_is_no_mongodb_is_told_by_its_first_bytes() {
        let http = said_of(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
        assert!(http.unwrap().contains("HTTP"));
        assert!(
            said_of(b"")
                .await
                .unwrap()
                .contains("closes the connection")
        );
        assert!(
            said_of(b"-ERR unknown command\r\n")
                .await
                .unwrap()
                .contains("protocol")
        );
        let mongodb = b"\x30\0\0\0\x01\0\0\0\x01\0\0\0\xdd\x07\0\0";
        assert_eq!(said_of(mongodb).await, None);
    }
}
