//! Batches: changes that come as lines.

use axum::Json;
use axum::body::Body;
use axum::response::IntoResponse;
use futures::StreamExt;

use super::answer::Answer;
use super::routes::Params;
use super::shared::Asker;
use super::{BatchDone, BatchLine, ErrorBody};
use crate::{
    ask::{Command, Reply},
    model::{BatchOptions, Op, Refusal, objects},
};

/// Changes of a batch that go to the core at a time: bounds memory, and lets others be served in between.
const BATCH_CHUNK: usize = 4096;

/// The same after a refusal that the batch goes on after: where one line was refused, others often are, and what stands behind
/// each is sent again.
const CHUNK_AFTER_REFUSAL: usize = 64;

/// Longest line of a batch.
const BATCH_LINE_MAX: usize = 1 << 20;

/// Refusals whose sentences are kept, of all that a batch goes on after.
const MOST_SENTENCES: usize = 1_000;

/// Makes changes in their order, up to the first that is refused, or all but the refused ones. What was made before a refusal stays.
#[utoipa::path(post, path = "/v1/batch", params(BatchOptions),
    request_body(content = Option<String>, content_type = "application/x-ndjson",
        description = "One `BatchLine` on each line."),
    responses((status = 200, body = BatchDone), (status = 400, body = ErrorBody),
        (status = 404, body = ErrorBody), (status = 409, body = ErrorBody),
        (status = 501, body = ErrorBody), (status = 507, body = ErrorBody)))]
pub(super) async fn batch(
    asker: Asker,
    Params(options): Params<BatchOptions>,
    body: Body,
) -> Answer {
    let mut body = body.into_data_stream();
    let mut batch = Batch {
        asker,
        options,
        done: BatchDone::default(),
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
    Ok(Json(batch.finish().await?).into_response())
}

/// A batch while it arrives.
struct Batch {
    asker: Asker,
    options: BatchOptions,
    done: BatchDone,
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
            self.send().await?;
            return Err(Refusal::invalid("the line is too long").at_line(self.line + 1));
        }
        Ok(())
    }

    async fn line(&mut self, text: &[u8]) -> Result<(), Refusal> {
        self.line += 1;
        if text.trim_ascii().is_empty() {
            return Ok(());
        }
        match objects::from_slice::<BatchLine>(text) {
            Ok(BatchLine { line, command }) => {
                let line = line.unwrap_or(self.line);
                // A rehearsal is of the whole. What is sent at a time has lines that ascend: each names one change of it.
                let ascends = self.ops.last().is_none_or(|(last, _)| *last < line);
                let is_full = self.ops.len() >= BATCH_CHUNK;
                if !self.options.dry_run && (is_full || !ascends) {
                    self.send().await?;
                }
                self.ops.push((line, command));
                Ok(())
            }
            Err(error) => {
                let refusal = Refusal::invalid(error.to_string()).at_line(self.line);
                if self.options.force || self.options.dry_run {
                    self.refused(&refusal, self.line);
                    return Ok(());
                }
                self.send().await?;
                Err(refusal)
            }
        }
    }

    async fn send(&mut self) -> Result<(), Refusal> {
        let ops = std::mem::take(&mut self.ops);
        if ops.is_empty() {
            return Ok(());
        }
        if self.options.dry_run {
            return self.rehearse(ops).await;
        }
        if self.options.force {
            return self.send_forced(&ops).await;
        }
        let count = ops.len() as u64;
        self.asker.ask(Command::Batch(ops)).await?;
        self.done.applied += count;
        Ok(())
    }

    /// Sends changes, and goes on behind each that is refused.
    async fn send_forced(&mut self, ops: &[(u64, Op)]) -> Result<(), Refusal> {
        let mut rest = ops;
        let mut most = BATCH_CHUNK;
        while !rest.is_empty() {
            let now = &rest[..most.min(rest.len())];
            let asked = self.asker.ask(Command::Batch(now.to_vec())).await;
            let Err(refusal) = asked else {
                self.done.applied += now.len() as u64;
                rest = &rest[now.len()..];
                continue;
            };
            let at = now.iter().position(|(line, _)| Some(*line) == refusal.line);
            // What is refused for no line of it is refused for all.
            let Some(at) = at else { return Err(refusal) };
            self.done.applied += at as u64;
            self.refused(&refusal, now[at].0);
            rest = &rest[at + 1..];
            most = CHUNK_AFTER_REFUSAL;
        }
        Ok(())
    }

    async fn rehearse(&mut self, ops: Vec<(u64, Op)>) -> Result<(), Refusal> {
        let reply = self.asker.ask(Command::Rehearse(ops)).await?;
        let Reply::Rehearsed(refusals) = reply else {
            return Err(Refusal::internal(
                "a rehearsal was answered by another reply",
            ));
        };
        for refusal in refusals {
            self.refused(&refusal, refusal.line.unwrap_or_default());
        }
        Ok(())
    }

    /// Notes a refusal that the batch goes on after.
    fn refused(&mut self, refusal: &Refusal, line: u64) {
        self.done.refused.push(line);
        if self.done.refusals.len() < MOST_SENTENCES {
            self.done.refusals.push(ErrorBody {
                error: refusal.to_string(),
                line: Some(line),
            });
        }
    }

    async fn finish(mut self) -> Result<BatchDone, Refusal> {
        let last = std::mem::take(&mut self.rest);
        if !last.is_empty() {
            self.line(&last).await?;
        }
        self.send().await?;
        Ok(self.done)
    }
}
