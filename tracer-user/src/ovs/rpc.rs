//! JSON-RPC over a socket, as `ovs-appctl`, `ovs-vsctl` and `ovn-sbctl` speak it (RFC 7047, and
//! Open vSwitch's `lib/unixctl.c`): one call, one answer, within a time limit, of somebody who may give it.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::net::{TcpStream, UnixStream};
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use super::answer::{self, Bounds, Fault, Row, Rows, TABLE};
use super::columns::Complaint;
use super::trust::{Trust, Who};
use crate::beneath::Socket;

/// How long one call may take, from connecting on.
pub const LIMIT: Duration = Duration::from_secs(2);
/// How much of another's words goes into an error, characters.
const QUOTED: usize = 200;

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Nobody is there.
    #[error("{0} cannot be reached ({1})")]
    Unreachable(String, String),
    /// Somebody is there who may not speak for it.
    #[error("{0} is not asked: {1}")]
    Distrusted(String, String),
    /// It was asked, and nothing came.
    #[error("{0} did not answer within {limit} s", limit = LIMIT.as_secs())]
    Slow(String),
    /// It answered that it will not.
    #[error("{0}")]
    Refused(String),
    /// What came is no answer: to which question, and why.
    #[error("the answer of {0} to {1} is not understood ({2})")]
    Garbled(String, String, String),
}

impl Error {
    /// It is better not asked again: it would take as long, or come to the same.
    pub const fn is_lasting(&self) -> bool {
        matches!(self, Self::Slow(_) | Self::Distrusted(..) | Self::Garbled(..))
    }

    /// Its answer was read, and not taken.
    pub fn garbled(whom: &str, question: &str, why: &str) -> Self {
        Self::Garbled(whom.to_owned(), question.to_owned(), short(why))
    }
}

/// The beginning of what another said.
fn short(words: &str) -> String {
    match words.char_indices().nth(QUOTED) {
        Some((end, _)) => format!("{}…", words.get(..end).unwrap_or_default()),
        None => words.to_owned(),
    }
}

/// Who is asked.
#[derive(Clone, Debug)]
pub struct Server {
    /// What to call it in an error.
    pub name: &'static str,
    /// Where it is.
    pub at: Address,
}

/// Where somebody listens.
#[derive(Clone, Debug)]
pub enum Address {
    /// A Unix socket, and who may listen there.
    Unix(Arc<Socket>, Trust),
    /// `HOST:PORT`, as it was configured.
    Tcp(String),
}

impl Server {
    /// Connects, and looks at who is there: the other end, or `None` for one on the network.
    pub async fn connect(&self) -> Result<(OwnedFd, Option<Who>), Error> {
        let connect = async {
            let unreachable =
                |e: io::Error| Error::Unreachable(self.name.to_owned(), e.to_string());
            match &self.at {
                Address::Tcp(at) => {
                    let stream = TcpStream::connect(at).await.map_err(unreachable)?;
                    Ok((stream.into_std().map_err(unreachable)?.into(), None))
                }
                Address::Unix(socket, trust) => {
                    // A queue that is full refuses at once: it is not waited for.
                    let stream = UnixStream::connect(socket.path()).await.map_err(unreachable)?;
                    let who = Who::listens(&stream.peer_cred().map_err(unreachable)?);
                    let distrusted = |why| Error::Distrusted(self.name.to_owned(), why);
                    trust.check(&who).map_err(distrusted)?;
                    Ok((stream.into_std().map_err(unreachable)?.into(), Some(who)))
                }
            }
        };
        timeout(LIMIT, connect).await.unwrap_or_else(|_| Err(Error::Slow(self.name.to_owned())))
    }

    /// Calls `method`; `question` is what to call that in an error.
    pub async fn call<T: DeserializeOwned + Send + 'static>(
        &self,
        question: &str,
        method: &str,
        params: Value,
        bounds: Bounds,
    ) -> Result<T, Error> {
        let end = Instant::now() + LIMIT;
        let (socket, _) = self.connect().await?;
        let request = json!({ "id": 0, "method": method, "params": params }).to_string();
        let talk = spawn_blocking(move || {
            let mut talk = Talk { socket: socket.into(), end };
            talk.write_all(request.as_bytes()).map_err(Failure::Broken)?;
            answer::read(talk, bounds).map_err(Failure::Fault)
        });
        let name = || self.name.to_owned();
        talk.await.unwrap_or_else(|e| Err(Failure::Broken(e.into()))).map_err(|failure| {
            match failure {
                Failure::Broken(e) if e.kind() == io::ErrorKind::TimedOut => Error::Slow(name()),
                Failure::Broken(e) => Error::Unreachable(name(), e.to_string()),
                Failure::Fault(Fault::Slow) => Error::Slow(name()),
                Failure::Fault(Fault::Refused(words)) => Error::Refused(short(&words)),
                Failure::Fault(Fault::Garbled(why)) => Error::garbled(self.name, question, &why),
            }
        })
    }

    /// The rows that one `select` finds; `operation` has it without its name.
    pub async fn select<R: Row + Send + 'static>(
        &self,
        database: &str,
        table: &str,
        mut operation: Value,
        bounds: Bounds,
    ) -> Result<Vec<R>, Error> {
        if let Value::Object(operation) = &mut operation {
            operation.insert("op".to_owned(), json!("select"));
            operation.insert("table".to_owned(), json!(table));
        }
        let question = format!("a question about its table {table}");
        let rows = self.call(&question, "transact", json!([database, operation]), bounds).await?;
        let Rows(rows) = rows;
        rows.map_err(|Complaint(words)| Error::Refused(short(&words)))
    }

    /// Some columns of all rows of a table.
    pub async fn table<R: Row + Send + 'static>(
        &self,
        database: &str,
        table: &str,
        columns: &[&str],
    ) -> Result<Vec<R>, Error> {
        self.select(database, table, json!({"where": [], "columns": columns}), TABLE).await
    }
}

/// Why a conversation came to nothing.
enum Failure {
    Broken(io::Error),
    Fault(Fault),
}

/// A socket that is given up in time. It does not block, so that nobody can make it wait longer.
struct Talk {
    socket: File,
    end: Instant,
}

impl Talk {
    fn wait(&self, events: PollFlags) -> io::Result<()> {
        loop {
            let rest = self.end.saturating_duration_since(Instant::now());
            // Up to the next millisecond.
            let rest = PollTimeout::try_from(rest + Duration::from_millis(1));
            let mut fds = [PollFd::new(self.socket.as_fd(), events)];
            match poll(&mut fds, rest.unwrap_or(PollTimeout::from(1000_u16))) {
                Err(nix::Error::EINTR) => {}
                Err(error) => return Err(error.into()),
                Ok(_) if Instant::now() >= self.end => return Err(io::ErrorKind::TimedOut.into()),
                Ok(0) => {}
                Ok(_) => return Ok(()),
            }
        }
    }
}

impl Read for Talk {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        loop {
            self.wait(PollFlags::POLLIN)?;
            match self.socket.read(into) {
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                done => return done,
            }
        }
    }
}

impl Write for Talk {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        loop {
            self.wait(PollFlags::POLLOUT)?;
            match self.socket.write(bytes) {
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                done => return done,
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::UnixListener;

    use super::*;
    use crate::beneath::Dir;
    use crate::ovs::answer::SHORT;

    /// A server's socket.
    fn listen() -> (tempfile::TempDir, UnixListener, Server) {
        let dir = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(dir.path().join("x.ctl")).unwrap();
        let socket = Dir::at(dir.path()).unwrap().socket("x.ctl").unwrap();
        let at = Address::Unix(Arc::new(socket), Trust::default());
        (dir, listener, Server { name: "ovs-vswitchd", at })
    }

    async fn version(server: &Server) -> Result<String, Error> {
        server.call("version", "version", json!(["a"]), SHORT).await
    }

    async fn asked(pieces: Vec<&'static [u8]>) -> Result<String, Error> {
        let (_dir, listener, server) = listen();
        let asked = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = [0; 4096];
            let n = stream.read(&mut request).await.unwrap();
            for piece in pieces {
                stream.write_all(piece).await.unwrap();
                tokio::task::yield_now().await;
            }
            request[..n].to_vec()
        });
        let result = version(&server).await;
        let request: Value = serde_json::from_slice(&asked.await.unwrap()).unwrap();
        assert_eq!(request, json!({"id": 0, "method": "version", "params": ["a"]}));
        result
    }

    #[tokio::test(flavor = "current_thread")]
    async fn an_answer_may_come_in_pieces_and_after_other_things() {
        let pieces: Vec<&[u8]> = vec![
            b"{\"id\":\"echo\",\"method\":\"echo\",\"params\":[]}{\"id\":0,\"er",
            b"ror\":null,\"result\":\"a{}b",
            b"\\n\"}",
        ];
        assert_eq!(asked(pieces).await, Ok("a{}b\n".to_owned()));
    }

    #[tokio::test(flavor = "current_thread")]
    async fn a_refusal_and_nonsense_are_told_apart() {
        let refusal = b"{\"id\":0,\"result\":null,\"error\":\"Cannot find the datapath\\n\"}";
        let expected = Err(Error::Refused("Cannot find the datapath".to_owned()));
        assert_eq!(asked(vec![refusal]).await, expected);
        for nonsense in [&b"HTTP/1.1 400 {}"[..], b"{\"id\":0,\"result\":[7]}", b""] {
            let told = asked(vec![nonsense]).await.unwrap_err().to_string();
            let expected = "the answer of ovs-vswitchd to version is not understood (";
            assert!(told.starts_with(expected) && told.len() < 400, "{told}");
        }
    }

    #[tokio::test(flavor = "current_thread")]
    async fn who_does_not_answer_is_not_waited_for() {
        let (_dir, listener, server) = listen();
        let begun = Instant::now();
        let silent = version(&server).await;
        assert_eq!(silent, Err(Error::Slow("ovs-vswitchd".to_owned())));
        assert!(begun.elapsed() < 2 * LIMIT);
        drop(listener);
        let gone = version(&server).await;
        assert!(matches!(gone, Err(Error::Unreachable(..))), "{gone:?}");
    }

    #[tokio::test(flavor = "current_thread")]
    async fn who_answers_bit_by_bit_is_not_waited_for_either() {
        let (_dir, listener, server) = listen();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            while stream.write_all(b" ").await.is_ok() {
                tokio::time::sleep(LIMIT / 20).await;
            }
        });
        let begun = Instant::now();
        assert_eq!(version(&server).await, Err(Error::Slow("ovs-vswitchd".to_owned())));
        assert!(begun.elapsed() < 2 * LIMIT);
    }
}
