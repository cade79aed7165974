//! A service that workers call: it remembers what it was sent, and answers as a test says.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

use crate::support::{PATIENCE, eventually};

/// One request.
#[derive(Debug, Clone)]
pub struct Call {
    pub method: String,
    pub path: String,
    /// Names in lower case.
    pub headers: BTreeMap<String, String>,
    pub body: Arc<[u8]>,
    /// Which attempt at this job it is, as the receiver has counted.
    pub nth: usize,
    /// Which one of its connection it is.
    pub of_connection: usize,
}

impl Call {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }

    pub fn id(&self) -> &str {
        self.header("webhook-id")
    }
}

/// What is answered.
#[derive(Debug, Clone)]
pub enum Answer {
    Status(u16),
    /// These bytes, and then the connection is closed.
    Raw(&'static str),
    /// These bytes, and the connection stays.
    Also(&'static str),
    /// 200 with a body that does not end.
    Endless,
    /// 200, after a while.
    Late(Duration),
    /// Nothing, with the connection open.
    Never,
    /// This status, once the test wants it.
    When(Arc<Notify>, u16),
    /// Nothing, and the connection is closed.
    Close,
}

type Behaviour = dyn Fn(&Call) -> Answer + Send + Sync;

#[derive(Default)]
struct Seen {
    calls: Vec<Call>,
    /// How many of them had this id.
    of: BTreeMap<String, usize>,
    /// Of those, the ones that were answered with 200, by their place.
    done: Vec<usize>,
    running: usize,
    most: usize,
}

pub struct Receiver {
    pub addr: SocketAddr,
    seen: Arc<Mutex<Seen>>,
    task: tokio::task::JoinHandle<()>,
}

impl Receiver {
    pub async fn start(behaviour: impl Fn(&Call) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let (seen, behaviour) = (Arc::<Mutex<Seen>>::default(), Arc::new(behaviour));
        let ours = Arc::clone(&seen);
        let task = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (seen, behaviour) = (Arc::clone(&ours), Arc::clone(&behaviour));
                tokio::spawn(async move {
                    // A worker that is killed leaves its connections.
                    let _ = answer(stream, &seen, &*behaviour).await;
                });
            }
        });
        Self { addr, seen, task }
    }

    pub fn url(&self) -> String {
        format!("http://{}/hooks", self.addr)
    }

    pub fn calls(&self) -> Vec<Call> {
        self.seen.lock().unwrap().calls.clone()
    }

    /// The calls that were answered with 200, in the order of that.
    pub fn done(&self) -> Vec<Call> {
        let seen = self.seen.lock().unwrap();
        seen.done.iter().map(|at| seen.calls[*at].clone()).collect()
    }

    /// How many ran at once, at most.
    pub fn most(&self) -> usize {
        self.seen.lock().unwrap().most
    }

    /// Waits until so many different jobs are done.
    pub async fn wait_for(&self, count: usize) -> Vec<Call> {
        let what = format!("{count} jobs are done");
        eventually(PATIENCE, &what, async || {
            let is_done = {
                let seen = self.seen.lock().unwrap();
                let ids: BTreeSet<_> = seen.done.iter().map(|at| seen.calls[*at].id()).collect();
                ids.len() >= count
            };
            is_done.then(|| self.done())
        })
        .await
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn answer(
    stream: TcpStream,
    seen: &Mutex<Seen>,
    behaviour: &Behaviour,
) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    for of_connection in 1.. {
        let Some(mut call) = read(&mut stream).await? else {
            return Ok(());
        };
        let place = {
            let mut seen = seen.lock().unwrap();
            call.of_connection = of_connection;
            let of = seen.of.entry(call.id().to_owned()).or_default();
            *of += 1;
            call.nth = *of;
            seen.calls.push(call.clone());
            seen.running += 1;
            seen.most = seen.most.max(seen.running);
            seen.calls.len() - 1
        };
        let answer = behaviour(&call);
        if let Answer::Late(late) = answer {
            tokio::time::sleep(late).await;
        }
        {
            let mut seen = seen.lock().unwrap();
            seen.running -= 1;
            if matches!(answer, Answer::Status(200) | Answer::Late(_)) {
                seen.done.push(place);
            }
        }
        let answer = match answer {
            Answer::When(wanted, status) => {
                wanted.notified().await;
                Answer::Status(status)
            }
            answer => answer,
        };
        match answer {
            Answer::When(..) => unreachable!("it has its status"),
            Answer::Status(status) => {
                let head = format!("HTTP/1.1 {status} x\r\ncontent-length: 2\r\n\r\nok");
                stream.write_all(head.as_bytes()).await?;
            }
            Answer::Late(_) => {
                stream
                    .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
                    .await?;
            }
            Answer::Raw(text) => {
                stream.write_all(text.as_bytes()).await?;
                return Ok(());
            }
            Answer::Also(text) => stream.write_all(text.as_bytes()).await?,
            Answer::Endless => {
                let head = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
                stream.write_all(head).await?;
                // Until the worker closes the connection.
                loop {
                    stream.write_all(b"1\r\nx\r\n").await?;
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            }
            Answer::Never => std::future::pending().await,
            Answer::Close => return Ok(()),
        }
    }
    Ok(())
}

/// None where nothing more comes.
async fn read(stream: &mut BufReader<TcpStream>) -> std::io::Result<Option<Call>> {
    let mut line = String::new();
    if stream.read_line(&mut line).await? == 0 {
        return Ok(None);
    }
    let mut words = line.split(' ').map(str::to_owned);
    let (method, path) = (words.next().unwrap(), words.next().unwrap());
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).await?;
        match line.trim_end().split_once(':') {
            Some((name, value)) => {
                headers.insert(name.to_ascii_lowercase(), value.trim().to_owned())
            }
            None => break,
        };
    }
    let length = headers.get("content-length").map_or("0", String::as_str);
    let mut body = vec![0; length.parse().unwrap()];
    stream.read_exact(&mut body).await?;
    Ok(Some(Call {
        method,
        path,
        headers,
        body: body.into(),
        nth: 0,
        of_connection: 0,
    }))
}
