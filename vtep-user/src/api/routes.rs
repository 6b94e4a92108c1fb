//! The routes: one for each operation, each reading what it is given, asking the core, and answering.

use axum::Router;
use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::request::Parts;
use axum::response::IntoResponse;
use axum::routing::{MethodFilter, on};
use serde::de::DeserializeOwned;

use super::answer::Answer;
use super::shared::Asker;
use crate::ask::Handle;
use crate::model::Refusal;
use crate::model::endpoint::{Input, Method};
use crate::model::given::{Call, Given};
use crate::model::request::{Described, operations};

/// Adds the routes of all operations.
pub(super) fn all<S>(router: Router<S>) -> Router<S>
where
    S: Clone + Send + Sync + 'static,
    Handle: axum::extract::FromRef<S>,
{
    operations().fold(router, with)
}

fn with<S>(router: Router<S>, operation: &'static dyn Described) -> Router<S>
where
    S: Clone + Send + Sync + 'static,
    Handle: axum::extract::FromRef<S>,
{
    let handler = move |asker: Asker, request: Request| async move {
        answer(operation, &asker, request).await
    };
    let method = match operation.endpoint().method {
        Method::Get => MethodFilter::GET,
        Method::Post => MethodFilter::POST,
        Method::Put => MethodFilter::PUT,
        Method::Patch => MethodFilter::PATCH,
        Method::Delete => MethodFilter::DELETE,
    };
    router.route(operation.endpoint().path, on(method, handler))
}

async fn answer(operation: &dyn Described, asker: &Asker, request: Request) -> Answer {
    let (mut parts, body) = request.into_parts();
    let mut keys = Vec::new();
    if operation.endpoint().path.contains('{') {
        let path = Path::<Vec<(String, String)>>::from_request_parts(&mut parts, &()).await;
        let Path(named) = path.map_err(|error| Refusal::invalid(error.body_text()))?;
        keys.extend(named.into_iter().map(|(_, key)| key));
    }
    let query = parts.uri.query().unwrap_or_default().to_owned();
    let body = match operation.endpoint().input {
        Input::Body(_) => asker
            .body(Bytes::from_request(Request::from_parts(parts, body), &()))
            .await?
            .map_err(|error| Refusal::invalid(error.body_text()))?,
        Input::Nothing | Input::Query(_) => Bytes::new(),
    };
    let mut given = Given::Call(Call {
        keys: &keys,
        query: &query,
        body: &body,
    });
    let request = operation.read(&mut given)?;
    Ok(asker.ask(request.into()).await?.into_response())
}

/// The parameters of a query.
pub(super) struct Params<T>(pub(super) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Params<T> {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Refusal> {
        Query::try_from_uri(&parts.uri)
            .map(|Query(params)| Self(params))
            .map_err(|error| Refusal::invalid(error.body_text()))
    }
}
