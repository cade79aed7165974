//! A proxy in front of a real MongoDB that answers some commands itself, with an error.
//!
//! For the codes that the server here does not give on demand: `OP_MSG` requests are read, everything
//! else flows through untouched (<https://www.mongodb.com/docs/manual/reference/mongodb-wire-protocol>).

use bson::{Document, RawDocumentBuf, doc};
use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Mutex;

/// Answers the next commands of one name with an error.
pub struct Refusals {
    addr: SocketAddr,
    code: i32,
    left: Arc<Left>,
}

/// The codes that are still to come.
type Left = std::sync::Mutex<VecDeque<i32>>;

const OP_MSG: i32 = 2013;

impl Refusals {
    /// Stands in front of `server`; lets everything through until [`refuse`](Self::refuse).
    pub async fn before(server: SocketAddr, command: &'static str, code: i32) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let addr = listener.local_addr().unwrap();
        let left = Arc::new(Left::default());
        let shared = Arc::clone(&left);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let left = Arc::clone(&shared);
                tokio::spawn(async move {
                    // A connection that breaks is the driver's to mend.
                    let _ = serve(client, server, command, &left).await;
                });
            }
        });
        Self { addr, code, left }
    }

    /// The connection string for `database` that goes through here.
    pub fn uri_of(&self, database: &str) -> String {
        // Discovery would tell the client the server's own address.
        format!("mongodb://{}/{database}?directConnection=true", self.addr)
    }

    /// The next `times` commands are refused.
    pub fn refuse(&self, times: usize) {
        self.refuse_with(&vec![self.code; times]);
    }

    /// The next commands are refused with these codes.
    pub fn refuse_with(&self, codes: &[i32]) {
        *self.left.lock().unwrap() = codes.to_vec().into();
    }

    /// How many refusals are still to come.
    pub fn left(&self) -> usize {
        self.left.lock().unwrap().len()
    }
}

async fn serve(
    client: TcpStream,
    server: SocketAddr,
    command: &str,
    left: &Left,
) -> std::io::Result<()> {
    let (mut from_client, to_client) = client.into_split();
    let (mut from_server, mut to_server) = TcpStream::connect(server).await?.into_split();
    let to_client = Arc::new(Mutex::new(to_client));
    let answers = Arc::clone(&to_client);
    tokio::spawn(async move {
        let mut buffer = vec![0; 64 * 1024];
        while let Ok(len @ 1..) = from_server.read(&mut buffer).await {
            if answers
                .lock()
                .await
                .write_all(&buffer[..len])
                .await
                .is_err()
            {
                return;
            }
        }
        let _ = answers.lock().await.shutdown().await;
    });
    loop {
        let mut message = vec![0; 16];
        from_client.read_exact(&mut message).await?;
        let number = |at: usize| i32::from_le_bytes(message[at..at + 4].try_into().unwrap());
        let (length, request, op) = (number(0) as usize, number(4), number(12));
        message.resize(length, 0);
        from_client.read_exact(&mut message[16..]).await?;
        // Flags, a section of kind 0, and a document whose first field names the command.
        let is_meant =
            op == OP_MSG && message.get(26..26 + command.len()) == Some(command.as_bytes());
        let refusal = match is_meant {
            true => left.lock().unwrap().pop_front(),
            false => None,
        };
        if let Some(code) = refusal {
            let answer = error(request, code);
            to_client.lock().await.write_all(&answer).await?;
        } else {
            to_server.write_all(&message).await?;
        }
    }
}

/// An `OP_MSG` reply to `request`.
fn error(request: i32, code: i32) -> Vec<u8> {
    let body: Document = doc! {"ok": 0.0, "errmsg": "refused by the test", "code": code};
    let body = RawDocumentBuf::try_from(&body).unwrap();
    let length = 16 + 4 + 1 + body.as_bytes().len();
    let mut message = Vec::with_capacity(length);
    for number in [length as i32, 1, request, OP_MSG, 0] {
        message.extend_from_slice(&number.to_le_bytes());
    }
    message.push(0);
    message.extend_from_slice(body.as_bytes());
    message
}
