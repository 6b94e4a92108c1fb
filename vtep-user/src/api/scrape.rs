//! `/metrics` over TCP, where anybody may ask: reading every counter takes the core some time, and it spends no more than a tenth of
//! its time on that, however many ask.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{Router, response::IntoResponse as _, routing::get};
use tokio::sync::Mutex;

use super::{answer::Answer, shared::Asker};
use crate::{
    ask::{Command, Handle, Reply},
    model::Query,
};

/// How many times as long as it took to read them the metrics are good for.
const GOOD_FOR: u32 = 9;

/// What was read last, and until when it is good.
type Last = Arc<Mutex<Option<(Instant, Reply)>>>;

/// The route of the metrics.
pub(super) fn metrics() -> Router<Handle> {
    let last = Last::default();
    let handler = move |asker: Asker| {
        let last = Arc::clone(&last);
        async move { scrape(&asker, &last).await }
    };
    Router::new().route("/metrics", get(handler))
}

async fn scrape(asker: &Asker, last: &Last) -> Answer {
    let _owed = asker.caller.owe();
    // Those who ask meanwhile get the same.
    let mut last = last.lock().await;
    let start = Instant::now();
    if let Some((good_until, reply)) = &*last
        && start < *good_until
    {
        return Ok(reply.clone().into_response());
    }
    let reply = asker.ask(Command::Show(Query::Metrics)).await?;
    let took: Duration = start.elapsed();
    *last = Some((Instant::now() + took * GOOD_FOR, reply.clone()));
    Ok(reply.into_response())
}
