//! Applying a configuration file: its lines come one after the other, and are done together.

use std::sync::Arc;

use axum::body::Body;
use axum::response::IntoResponse;
use futures::StreamExt;

use super::answer::Answer;
use super::routes::Params;
use super::shared::Asker;
use super::{ApplyLine, ErrorBody};
use crate::{
    ask::{Command, FileToApply},
    model::{ApplyOptions, PlanRow, Refusal, objects},
};

/// Longest line.
const LINE_MAX: usize = 1 << 20;

/// Makes what the configuration has set what a file says, all or nothing.
#[utoipa::path(post, path = "/v1/apply", params(ApplyOptions),
    request_body(content = String, content_type = "application/x-ndjson",
        description = "One `ApplyLine` on each line."),
    responses((status = 200, body = Vec<PlanRow>), (status = 400, body = ErrorBody),
        (status = 404, body = ErrorBody), (status = 409, body = ErrorBody),
        (status = 501, body = ErrorBody), (status = 507, body = ErrorBody)))]
pub(super) async fn apply(
    asker: Asker,
    Params(options): Params<ApplyOptions>,
    body: Body,
) -> Answer {
    let mut file = FileToApply {
        options,
        ..FileToApply::default()
    };
    let mut body = body.into_data_stream();
    let mut rest: Vec<u8> = Vec::new();
    let mut number = 0;
    let mut taken = Ok(());
    while let Some(piece) = body.next().await {
        let Ok(piece) = piece else {
            return Err(Refusal::invalid("the file ended early"));
        };
        // After a refusal what is left is read and thrown away, so that the client gets to read the answer.
        if taken.is_err() {
            continue;
        }
        rest.extend_from_slice(&piece);
        let end = rest.iter().rposition(|&byte| byte == b'\n');
        let whole = rest.drain(..end.map_or(0, |end| end + 1));
        taken = take(whole.as_slice(), &mut number, &mut file);
        drop(whole);
        if rest.len() > LINE_MAX {
            taken = Err(Refusal::invalid("the line is too long").at_line(number + 1));
        }
    }
    taken?;
    take(&rest, &mut number, &mut file)?;
    let reply = asker.ask(Command::Apply(Box::new(file))).await?;
    Ok(reply.into_response())
}

fn take(text: &[u8], number: &mut u64, file: &mut FileToApply) -> Result<(), Refusal> {
    for line in text.split(|&byte| byte == b'\n') {
        if line.trim_ascii().is_empty() {
            continue;
        }
        *number += 1;
        let line = objects::from_slice(line);
        match line.map_err(|error| Refusal::invalid(error.to_string()).at_line(*number))? {
            ApplyLine::Run(run) => file.run = Some(run),
            ApplyLine::Line(mut line) => {
                // Lines of one file share its name.
                if let Some(last) = file.lines.last().filter(|last| last.file == line.file) {
                    line.file = Arc::clone(&last.file);
                }
                file.lines.push(line);
            }
        }
    }
    Ok(())
}
