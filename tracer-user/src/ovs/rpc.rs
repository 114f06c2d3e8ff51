//! JSON-RPC over a socket, as `ovs-appctl`, `ovs-vsctl` and `ovn-sbctl` speak it (RFC 7047, and
//! Open vSwitch's `lib/unixctl.c`): one call, one answer, within a time limit.

use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;

/// How long one call may take, from connecting on.
pub const LIMIT: Duration = Duration::from_secs(2);
/// The longest answer that is taken, bytes: a table of some 100,000 logical flows.
const MAX_ANSWER: usize = 64 << 20;

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Nobody is there.
    #[error("{0} cannot be reached ({1})")]
    Unreachable(String, String),
    /// It was asked, and nothing came.
    #[error("{0} did not answer within {limit} s", limit = LIMIT.as_secs())]
    Slow(String),
    /// It answered that it will not.
    #[error("{0}")]
    Refused(String),
    /// What came is no answer.
    #[error("{0} answered something that is not understood")]
    Garbled(String),
}

/// Calls `method` at the Unix socket `path`; `whom` is what to call it in an error.
pub async fn unix(whom: &str, path: &Path, method: &str, params: Value) -> Result<Value, Error> {
    within(whom, async {
        let stream = UnixStream::connect(path).await.map_err(|e| unreachable(whom, &e))?;
        call(whom, stream, method, params).await
    })
    .await
}

/// As [`unix`], at `HOST:PORT`.
pub async fn tcp(whom: &str, at: &str, method: &str, params: Value) -> Result<Value, Error> {
    within(whom, async {
        let stream = TcpStream::connect(at).await.map_err(|e| unreachable(whom, &e))?;
        call(whom, stream, method, params).await
    })
    .await
}

async fn within(
    whom: &str,
    call: impl Future<Output = Result<Value, Error>>,
) -> Result<Value, Error> {
    timeout(LIMIT, call).await.unwrap_or_else(|_| Err(Error::Slow(whom.to_owned())))
}

fn unreachable(whom: &str, error: &std::io::Error) -> Error {
    Error::Unreachable(whom.to_owned(), error.to_string())
}

async fn call(
    whom: &str,
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    method: &str,
    params: Value,
) -> Result<Value, Error> {
    let request = json!({ "id": 0, "method": method, "params": params }).to_string();
    stream.write_all(request.as_bytes()).await.map_err(|e| unreachable(whom, &e))?;
    let mut received = Vec::new();
    loop {
        let before = received.len();
        received.reserve(1 << 14);
        let n = stream.read_buf(&mut received).await.map_err(|e| unreachable(whom, &e))?;
        if n == 0 || received.len() > MAX_ANSWER {
            return Err(Error::Garbled(whom.to_owned()));
        }
        // Only a closing brace ends an object: what comes in many pieces is not read as often.
        if received.get(before..).is_some_and(|new| new.contains(&b'}'))
            && let Some(answer) = answer(whom, &received)
        {
            return answer;
        }
    }
}

/// The answer among the objects received so far; `None` while it is not whole. A database server
/// sends calls of its own in between (`echo`).
fn answer(whom: &str, received: &[u8]) -> Option<Result<Value, Error>> {
    for object in serde_json::Deserializer::from_slice(received).into_iter::<Value>() {
        let mut object = match object {
            Ok(object) => object,
            Err(e) if e.is_eof() => return None,
            Err(_) => return Some(Err(Error::Garbled(whom.to_owned()))),
        };
        if object.get("method").is_some() {
            continue;
        }
        return Some(match object.get("error") {
            None | Some(Value::Null) => Ok(object["result"].take()),
            Some(Value::String(error)) => Err(Error::Refused(error.trim().to_owned())),
            Some(error) => Err(Error::Refused(error.to_string())),
        });
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn asked(pieces: Vec<&'static [u8]>) -> Result<Value, Error> {
        let (ours, mut theirs) = tokio::io::duplex(1 << 16);
        let server = tokio::spawn(async move {
            let mut request = [0; 4096];
            let n = theirs.read(&mut request).await.unwrap();
            for piece in pieces {
                theirs.write_all(piece).await.unwrap();
                theirs.flush().await.unwrap();
                tokio::task::yield_now().await;
            }
            (request[..n].to_vec(), theirs)
        });
        let result = call("ovs-vswitchd", ours, "version", json!(["a"])).await;
        let request: Value = serde_json::from_slice(&server.await.unwrap().0).unwrap();
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
        assert_eq!(asked(pieces).await, Ok(json!("a{}b\n")));
    }

    #[tokio::test(flavor = "current_thread")]
    async fn a_refusal_and_nonsense_are_told_apart() {
        let refusal = b"{\"id\":0,\"result\":null,\"error\":\"Cannot find the datapath\\n\"}";
        let expected = Err(Error::Refused("Cannot find the datapath".to_owned()));
        assert_eq!(asked(vec![refusal]).await, expected);
        let garbled = Err(Error::Garbled("ovs-vswitchd".to_owned()));
        assert_eq!(asked(vec![b"HTTP/1.1 400 {}"]).await, garbled);
    }

    #[tokio::test(flavor = "current_thread")]
    async fn who_does_not_answer_is_not_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.ctl");
        let gone = unix("ovs-vswitchd", &path, "version", json!([])).await;
        assert!(matches!(gone, Err(Error::Unreachable(..))), "{gone:?}");
        let _listener = tokio::net::UnixListener::bind(&path).unwrap();
        let begun = std::time::Instant::now();
        let silent = unix("ovs-vswitchd", &path, "version", json!([])).await;
        assert_eq!(silent, Err(Error::Slow("ovs-vswitchd".to_owned())));
        assert!(begun.elapsed() < 2 * LIMIT);
    }
}
