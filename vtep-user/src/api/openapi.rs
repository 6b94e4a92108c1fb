//! The `OpenAPI` document, made from the descriptions of the operations.

use utoipa::PartialSchema as _;
use utoipa::ToSchema as _;
use utoipa::openapi::path::{
    HttpMethod, Operation, OperationBuilder, Parameter, ParameterBuilder, ParameterIn, PathItem,
};
use utoipa::openapi::request_body::RequestBodyBuilder;
use utoipa::openapi::response::ResponseBuilder;
use utoipa::openapi::schema::{ArrayBuilder, SchemaType, Type as JsonType};
use utoipa::openapi::{Content, OpenApi, RefOr, Required, Response, Schema};

use super::{ErrorBody, answer};
use crate::model::RefusalKind;
use crate::model::endpoint::{Answers, Input, Method, Type};
use crate::model::request::{Described, operations};
use crate::model::schema;

/// Adds the operations to the document of what else is served.
pub(super) fn complete(mut document: OpenApi) -> OpenApi {
    for path in document.paths.paths.values_mut() {
        let PathItem {
            get, post, delete, ..
        } = path;
        for (operation, changes) in [(get, false), (post, true), (delete, true)] {
            let Some(operation) = operation else { continue };
            for parameter in operation.parameters.iter_mut().flatten() {
                if let RefOr::T(parameter) = parameter {
                    cannot_be_null(parameter);
                }
            }
            complete_answers(operation, changes);
        }
    }
    let mut schemas = schema::of_parameters();
    for operation in operations() {
        let endpoint = operation.endpoint();
        let method = match endpoint.method {
            Method::Get => HttpMethod::Get,
            Method::Post => HttpMethod::Post,
            Method::Put => HttpMethod::Put,
            Method::Patch => HttpMethod::Patch,
            Method::Delete => HttpMethod::Delete,
        };
        let mut described = describe(operation, &mut schemas).build();
        complete_answers(&mut described, endpoint.method != Method::Get);
        document
            .paths
            .add_path_operation(endpoint.path, vec![method], described);
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
        .summary(Some(endpoint.summary))
        .description(Some(endpoint.summary));
    for name in keys(endpoint.path) {
        let (schema, description) = schema::key(name);
        described = described.parameter(
            ParameterBuilder::new()
                .name(name)
                .parameter_in(ParameterIn::Path)
                .description(Some(description))
                .required(Required::True)
                .schema(Some(schema)),
        );
    }
    match endpoint.input {
        Input::Nothing => {}
        Input::Query(parameters) => {
            for mut parameter in parameters() {
                cannot_be_null(&mut parameter);
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
        Answers::Done => {
            let done = ResponseBuilder::new().description("It is done.");
            described.response("204", done.build())
        }
        Answers::One(object) => {
            let object = reference(object, schemas);
            described.response("200", json("What was asked for.", object))
        }
        Answers::Rows(row, _) => {
            let rows = ArrayBuilder::new().items(reference(row, schemas));
            described.response("200", json("The rows.", rows.into()))
        }
        Answers::Text => {
            let text = Content::new(Some(String::schema()));
            let text = ResponseBuilder::new()
                .description("The text.")
                .content("text/plain", text);
            described.response("200", text.build())
        }
    };
    for &kind in endpoint.refusals {
        described = described.response(status(kind), refusal(kind.meaning()));
    }
    described
}

/// What any operation can answer, and words for answers that have none.
fn complete_answers(operation: &mut Operation, changes: bool) {
    let answers = &mut operation.responses.responses;
    let failed = RefusalKind::Internal;
    let mut add = |status: String, meaning| {
        answers
            .entry(status)
            .or_insert_with(|| RefOr::T(refusal(meaning)));
    };
    add(status(failed), failed.meaning());
    if changes {
        add(
            "403".to_owned(),
            "The socket is the one that only shows (`--view-group`).",
        );
    }
    let kinds = RefusalKind::OF_CHANGES;
    for (code, answer) in answers.iter_mut() {
        if let RefOr::T(answer) = answer
            && answer.description.is_empty()
        {
            let kind = kinds.iter().find(|kind| status(**kind) == *code);
            let meaning = kind.map_or("It is done.", |kind| kind.meaning());
            meaning.clone_into(&mut answer.description);
        }
    }
}

/// What need not be given has no word for nothing: it is left out of the query.
fn cannot_be_null(parameter: &mut Parameter) {
    let nullable = |it: &SchemaType| *it == SchemaType::Type(JsonType::Null);
    match &mut parameter.schema {
        Some(RefOr::T(Schema::OneOf(either))) => {
            let value = either
                .items
                .iter()
                .find(|item| !matches!(item, RefOr::T(Schema::Object(it)) if nullable(&it.schema_type)))
                .cloned();
            parameter.schema = value;
        }
        Some(RefOr::T(Schema::Object(object))) => {
            if let SchemaType::Array(types) = &object.schema_type
                && let Some(value) = types.iter().find(|it| **it != JsonType::Null)
            {
                object.schema_type = SchemaType::Type(value.clone());
            }
        }
        _ => {}
    }
}

fn status(kind: RefusalKind) -> String {
    answer::status(kind).as_u16().to_string()
}

/// The names of the keys in a path.
fn keys(path: &'static str) -> impl Iterator<Item = &'static str> {
    let parts = path.split('/');
    parts.filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'))
}

fn refusal(meaning: &str) -> Response {
    let body = RefOr::Ref(utoipa::openapi::Ref::from_schema_name(ErrorBody::name()));
    json(meaning, body)
}

fn json(description: &str, schema: RefOr<Schema>) -> Response {
    let content = Content::new(Some(schema));
    ResponseBuilder::new()
        .description(description)
        .content("application/json", content)
        .build()
}

/// A reference to the schema of a type, which the document then has.
fn reference(of: Type, schemas: &mut Schemas) -> RefOr<Schema> {
    (of.collect)(schemas);
    (of.reference)()
}
