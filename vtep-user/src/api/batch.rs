//! Batches: changes that come as lines.

use axum::Json;
use axum::body::Body;
use axum::response::IntoResponse;
use futures::StreamExt;

use super::answer::Answer;
use super::shared::Asker;
use super::{BatchDone, BatchLine, ErrorBody};
use crate::{
    ask::Command,
    model::{Op, Refusal},
};

/// Changes of a batch that go to the core at a time: bounds memory, and lets others be served in between.
const BATCH_CHUNK: usize = 4096;

/// Longest line of a batch.
const BATCH_LINE_MAX: usize = 1 << 20;

/// Makes changes in their order, up to the first that is refused. What was made before it stays.
#[utoipa::path(post, path = "/v1/batch",
    request_body(content = String, content_type = "application/x-ndjson",
        description = "One `BatchLine` on each line."),
    responses((status = 200, body = BatchDone), (status = 400, body = ErrorBody),
        (status = 404, body = ErrorBody), (status = 409, body = ErrorBody),
        (status = 507, body = ErrorBody)))]
pub(super) async fn batch(asker: Asker, body: Body) -> Answer {
    let mut body = body.into_data_stream();
    let mut batch = Batch {
        asker,
        applied: 0,
        line: 0,
        rest: Vec::new(),
        ops: Vec::new(),
    };
    let mut result = Ok(());
    while let Some(piece) = body.next().await {
        let Ok(piece) = piece else {
            return Err(Refusal::invalid("the batch ended early"));
        };
        // After a refusal the rest is read and thrown away, so that the client gets to read the answer.
        if result.is_ok() {
            result = batch.take(&piece).await;
        }
    }
    result?;
    let applied = batch.finish().await?;
    Ok(Json(BatchDone { applied }).into_response())
}

/// A batch while it arrives.
struct Batch {
    asker: Asker,
    applied: u64,
    /// Lines seen.
    line: u64,
    /// The start of a line whose end has not come yet.
    rest: Vec<u8>,
    /// Changes that have not gone to the core yet.
    ops: Vec<(u64, Op)>,
}

impl Batch {
    async fn take(&mut self, mut piece: &[u8]) -> Result<(), Refusal> {
        while let Some(end) = piece.iter().position(|&byte| byte == b'\n') {
            if self.rest.is_empty() {
                self.line(&piece[..end]).await?;
            } else {
                let mut line = std::mem::take(&mut self.rest);
                line.extend_from_slice(&piece[..end]);
                self.line(&line).await?;
            }
            piece = &piece[end + 1..];
        }
        self.rest.extend_from_slice(piece);
        if self.rest.len() > BATCH_LINE_MAX {
            return Err(Refusal::invalid("the line is too long").at_line(self.line + 1));
        }
        Ok(())
    }

    async fn line(&mut self, text: &[u8]) -> Result<(), Refusal> {
        self.line += 1;
        if text.trim_ascii().is_empty() {
            return Ok(());
        }
        match serde_json::from_slice::<BatchLine>(text) {
            Ok(BatchLine { line, command }) => {
                self.ops.push((line.unwrap_or(self.line), command));
                if self.ops.len() == BATCH_CHUNK {
                    self.send().await
                } else {
                    Ok(())
                }
            }
            Err(error) => {
                self.send().await?;
                Err(Refusal::invalid(error.to_string()).at_line(self.line))
            }
        }
    }

    async fn send(&mut self) -> Result<(), Refusal> {
        let ops = std::mem::take(&mut self.ops);
        if ops.is_empty() {
            return Ok(());
        }
        let count = ops.len() as u64;
        self.asker.ask(Command::Batch(ops)).await?;
        self.applied += count;
        Ok(())
    }

    async fn finish(mut self) -> Result<u64, Refusal> {
        let last = std::mem::take(&mut self.rest);
        if !last.is_empty() {
            self.line(&last).await?;
        }
        self.send().await?;
        Ok(self.applied)
    }
}
