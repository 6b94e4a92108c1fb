//! The `OpenAPI` document, made from the descriptions of the operations.

use utoipa::PartialSchema as _;
use utoipa::ToSchema as _;
use utoipa::openapi::path::{HttpMethod, OperationBuilder, ParameterBuilder, ParameterIn};
use utoipa::openapi::request_body::RequestBodyBuilder;
use utoipa::openapi::response::ResponseBuilder;
use utoipa::openapi::schema::ArrayBuilder;
use utoipa::openapi::{Content, OpenApi, RefOr, Required, Response, Schema};

use super::{ErrorBody, answer};
use crate::model::RefusalKind;
use crate::model::endpoint::{Answers, Input, Method, Type};
use crate::model::request::{Described, operations};

/// Adds the operations to the document of what else is served.
pub(super) fn complete(mut document: OpenApi) -> OpenApi {
    let mut schemas = Vec::new();
    for operation in operations() {
        let method = match operation.endpoint().method {
            Method::Get => HttpMethod::Get,
            Method::Post => HttpMethod::Post,
            Method::Put => HttpMethod::Put,
            Method::Patch => HttpMethod::Patch,
            Method::Delete => HttpMethod::Delete,
        };
        let described = describe(operation, &mut schemas);
        let path = operation.endpoint().path;
        document
            .paths
            .add_path_operation(path, vec![method], described);
    }
    let components = document.components.get_or_insert_default();
    components.schemas.extend(schemas);
    document
}

type Schemas = Vec<(String, RefOr<Schema>)>;

fn describe(operation: &dyn Described, schemas: &mut Schemas) -> OperationBuilder {
    let endpoint = operation.endpoint();
    let mut described = OperationBuilder::new()
        .operation_id(Some(operation.id()))
        .summary(Some(endpoint.summary));
    for name in keys(endpoint.path) {
        let schema = match name {
            "vni" => u32::schema(),
            _ => String::schema(),
        };
        described = described.parameter(
            ParameterBuilder::new()
                .name(name)
                .parameter_in(ParameterIn::Path)
                .required(Required::True)
                .schema(Some(schema)),
        );
    }
    match endpoint.input {
        Input::Nothing => {}
        Input::Query(parameters) => {
            for parameter in parameters() {
                described = described.parameter(parameter);
            }
        }
        Input::Body(body) => {
            let content = Content::new(Some(reference(body, schemas)));
            let body = RequestBodyBuilder::new()
                .content("application/json", content)
                .required(Some(Required::True));
            described = described.request_body(Some(body.build()));
        }
    }
    described = match endpoint.answers {
        Answers::Done => described.response("204", Response::default()),
        Answers::One(object) => {
            let object = reference(object, schemas);
            described.response("200", json(object))
        }
        Answers::Rows(row, _) => {
            let rows = ArrayBuilder::new().items(reference(row, schemas));
            described.response("200", json(rows.into()))
        }
        Answers::Text => {
            let text = Content::new(Some(String::schema()));
            let text = ResponseBuilder::new().content("text/plain", text);
            described.response("200", text.build())
        }
    };
    for &kind in endpoint.refusals {
        described = described.response(status(kind), json(ErrorBody::reference()));
    }
    described
}

fn status(kind: RefusalKind) -> String {
    answer::status(kind).as_u16().to_string()
}

/// The names of the keys in a path.
fn keys(path: &'static str) -> impl Iterator<Item = &'static str> {
    let parts = path.split('/');
    parts.filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'))
}

fn json(schema: RefOr<Schema>) -> Response {
    let content = Content::new(Some(schema));
    ResponseBuilder::new()
        .content("application/json", content)
        .build()
}

/// A reference to the schema of a type, which the document then has.
fn reference(of: Type, schemas: &mut Schemas) -> RefOr<Schema> {
    (of.collect)(schemas);
    (of.reference)()
}

impl ErrorBody {
    fn reference() -> RefOr<Schema> {
        RefOr::Ref(utoipa::openapi::Ref::from_schema_name(Self::name()))
    }
}
