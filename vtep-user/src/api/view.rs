//! What the socket that only shows lets through: nothing that changes anything, one request at a time, and after each as long a pause as
//! the core took for it. Those who may only look keep nobody waiting who may do more, nor learning.

use std::{sync::Arc, time::Instant};

use axum::{
    Json, Router,
    extract::Request,
    http::StatusCode,
    middleware::{self, Next},
    response::{IntoResponse as _, Response},
};
use tokio::{
    sync::{Mutex, MutexGuard},
    time::sleep_until,
};

use super::{ErrorBody, connections::Standing};

/// Until when the core is left to others.
type Pause = Arc<Mutex<Option<Instant>>>;

/// Routes that only show.
pub(super) fn only(router: Router) -> Router {
    let pause = Pause::default();
    let looks = move |request, next| look(Arc::clone(&pause), request, next);
    router.layer(middleware::from_fn(looks))
}

async fn look(pause: Pause, request: Request, next: Next) -> Response {
    if !request.method().is_safe() {
        return refusal();
    }
    // It waits for its turn, not we for it.
    let standing = request.extensions().get::<Arc<Standing>>().cloned();
    let _owed = standing.as_ref().map(Standing::owe);
    let pause = pause.lock().await;
    if let Some(end) = *pause {
        sleep_until(end.into()).await;
    }
    let _turn = Turn {
        pause,
        start: Instant::now(),
    };
    next.run(request).await
}

fn refusal() -> Response {
    let error = "by this socket the daemon only shows; to change something, run vtep as root or as a member of the group that the daemon's --socket-group names".to_owned();
    let error = Json(ErrorBody { error, line: None });
    (StatusCode::FORBIDDEN, error).into_response()
}

/// A request whose turn it is. The pause begins when it ends, also where its client goes before it has the answer.
struct Turn<'a> {
    pause: MutexGuard<'a, Option<Instant>>,
    start: Instant,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        *self.pause = Some(Instant::now() + self.start.elapsed());
    }
}
