//! A stream of lines from the daemon, handed to a thread that writes them: a pipe or a terminal that takes nothing must not keep a signal from
//! being heard.

use std::thread;

use axum::body::Bytes;
use futures::{Stream, StreamExt as _};
use tokio::sync::{mpsc, oneshot};

use super::failure::Failure;
use crate::api::client::ClientError;

/// Pieces that may wait to be written. What does not fit waits in the daemon, which says how much it had to leave out.
const PIECES_AHEAD: usize = 16;

/// The lines, on the side of the thread that writes them.
pub(super) struct Lines {
    pieces: mpsc::Receiver<Bytes>,
    /// The start of a line whose end has not come yet.
    rest: Vec<u8>,
}

impl Lines {
    /// Waits for lines: one or more whole ones, each with its end. `None` if no more will come.
    pub(super) fn next(&mut self) -> Option<Vec<u8>> {
        loop {
            let piece = self.pieces.blocking_recv()?;
            self.rest.extend_from_slice(&piece);
            if let Some(end) = self.rest.iter().rposition(|&byte| byte == b'\n') {
                let rest = self.rest.split_off(end + 1);
                return Some(std::mem::replace(&mut self.rest, rest));
            }
        }
    }
}

/// Has `write` take what comes, on a thread of its own, until there is no more or it has ended. Returns what it returned.
///
/// A stream that breaks off ends like one that the daemon ended: the daemon was killed.
pub(super) async fn hand_on<S, T>(
    mut stream: S,
    write: impl FnOnce(Lines) -> Result<T, Failure> + Send + 'static,
) -> Result<T, Failure>
where
    S: Stream<Item = Result<Bytes, ClientError>> + Unpin,
    T: Send + 'static,
{
    let (sender, pieces) = mpsc::channel(PIECES_AHEAD);
    let (done, written) = oneshot::channel();
    thread::spawn(move || {
        let rest = Vec::new();
        // Nobody waits for it any more after a signal.
        drop(done.send(write(Lines { pieces, rest })));
    });
    loop {
        let piece = tokio::select! {
            piece = stream.next() => piece,
            () = sender.closed() => break,
        };
        let Some(Ok(piece)) = piece else { break };
        if sender.send(piece).await.is_err() {
            break;
        }
    }
    drop(sender);
    written.await.map_err(|gone| Failure::Failed(gone.into()))?
}
