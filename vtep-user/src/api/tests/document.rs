//! The `OpenAPI` document says what the API takes and answers.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::{FakeDaemon, exchange};
use crate::ask::Reply;

/// The methods of a path item.
const METHODS: [&str; 5] = ["get", "post", "put", "patch", "delete"];

async fn document(daemon: &FakeDaemon) -> Value {
    let (status, text) = exchange(daemon.raw().await, "GET", "/v1/openapi.json", "").await;
    assert_eq!(status, 200, "{text}");
    serde_json::from_str(&text).unwrap()
}

/// Every operation, with its method and path.
fn operations(document: &Value) -> Vec<(&str, &str, &Value)> {
    let mut found = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for method in METHODS {
            found.extend(item.get(method).map(|it| (method, path.as_str(), it)));
        }
    }
    found
}

fn resolved<'a>(document: &'a Value, schema: &'a Value) -> &'a Value {
    match schema.get("$ref").and_then(Value::as_str) {
        Some(to) => document.pointer(to.trim_start_matches('#')).unwrap(),
        None => schema,
    }
}

/// The schemas that one of is chosen, or the schema itself.
fn choices<'a>(document: &'a Value, schema: &'a Value) -> Vec<&'a Value> {
    let schema = resolved(document, schema);
    for either in ["oneOf", "anyOf"] {
        if let Some(items) = schema.get(either).and_then(Value::as_array) {
            let all = items.iter().flat_map(|item| choices(document, item));
            return all.collect();
        }
    }
    vec![schema]
}

/// The least that a schema takes.
fn least(document: &Value, schema: &Value) -> Value {
    let schema = choices(document, schema)[0];
    if let Some(words) = schema.get("enum") {
        return words[0].clone();
    }
    let pattern = schema["pattern"].as_str().unwrap_or_default();
    match schema["type"].as_str() {
        Some("object") => {
            let required = schema["required"].as_array().cloned().unwrap_or_default();
            let fields = required.iter().map(|name| {
                let name = name.as_str().unwrap();
                (
                    name.to_owned(),
                    least(document, &schema["properties"][name]),
                )
            });
            Value::Object(fields.collect())
        }
        Some("array") => {
            let count = schema["minItems"].as_u64().unwrap_or_default();
            (0..count)
                .map(|_| least(document, &schema["items"]))
                .collect()
        }
        Some("integer") => schema.get("minimum").cloned().unwrap_or(json!(0)),
        Some("boolean") => json!(false),
        Some("string") if schema["format"] == "ipv4" => json!("192.0.2.1"),
        Some("string") if pattern.contains("{2}") => json!("02:00:00:00:00:0b"),
        Some("string") if pattern.contains('/') && pattern.contains("0-9") => json!("10.0.0.0/8"),
        Some("string") => json!("a"),
        _ => json!(null),
    }
}

/// Values of a schema that have, one after the other, every word that it or something in it can be.
fn with_every_word(document: &Value, schema: &Value) -> Vec<Value> {
    let mut found = Vec::new();
    for schema in choices(document, schema) {
        found.extend(schema["enum"].as_array().into_iter().flatten().cloned());
        let Some(properties) = schema["properties"].as_object() else {
            continue;
        };
        for (name, property) in properties {
            for word in with_every_word(document, property) {
                let mut whole = least(document, schema);
                whole[name] = word;
                found.push(whole);
            }
        }
    }
    found
}

/// The words in a value.
fn words(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::String(word) => drop(found.insert(word.clone())),
        Value::Object(fields) => fields.values().for_each(|value| words(value, found)),
        _ => {}
    }
}

#[tokio::test]
async fn every_word_that_the_document_names_is_taken() {
    let daemon = FakeDaemon::start("words", |_| Ok(Reply::Done));
    let document = document(&daemon).await;
    let mut tried = BTreeSet::new();

    for (method, path, operation) in operations(&document) {
        let method = method.to_uppercase();
        let body = &operation["requestBody"]["content"]["application/json"]["schema"];
        let path = path
            .replace("{vni}", "1")
            .replace("{dev}", "x")
            .replace("{ip}", "192.0.2.1");
        for body in with_every_word(&document, body) {
            words(&body, &mut tried);
            let text = body.to_string();
            let (status, answer) = exchange(daemon.raw().await, &method, &path, &text).await;
            assert_eq!(status, 204, "{method} {path} {body}: {answer}");
        }
        for parameter in operation["parameters"].as_array().into_iter().flatten() {
            let name = parameter["name"].as_str().unwrap();
            for word in with_every_word(&document, &parameter["schema"]) {
                let path = format!("{path}?{name}={}", word.as_str().unwrap());
                let (status, answer) = exchange(daemon.raw().await, &method, &path, "").await;
                assert_eq!(status, 204, "{method} {path}: {answer}");
                words(&word, &mut tried);
            }
        }
    }

    // Those of batches and files too, which have an object a line.
    for (path, schema, whole) in [
        (
            "/v1/batch",
            "Op",
            (|op| json!({"command": op})) as fn(Value) -> Value,
        ),
        (
            "/v1/apply",
            "Op",
            |op| json!({"line": {"file": "f", "line": 1, "command": op}}),
        ),
    ] {
        let schema = json!({"$ref": format!("#/components/schemas/{schema}")});
        for change in choices(&document, &schema) {
            for op in with_every_word(&document, change) {
                let body = whole(op).to_string();
                let (status, answer) = exchange(daemon.raw().await, "POST", path, &body).await;
                assert!([200, 204].contains(&status), "{path} {body}: {answer}");
            }
        }
    }
    for word in [
        "l2", "her", "inherit", "strict", "listed", "qdisc", "xdp", "cli",
    ] {
        assert!(tried.contains(word), "{word}: {tried:?}");
    }
}

#[tokio::test]
async fn every_word_of_the_document_is_in_lower_case_and_says_what_it_means() {
    let daemon = FakeDaemon::start("meanings", |_| Ok(Reply::Done));
    let document = document(&daemon).await;
    let mut enums = 0;
    for (name, schema) in document["components"]["schemas"].as_object().unwrap() {
        let Some(words) = schema.get("enum").and_then(Value::as_array) else {
            continue;
        };
        enums += 1;
        let description = schema["description"].as_str().unwrap();
        for word in words {
            let word = word.as_str().unwrap();
            assert_eq!(word, word.to_lowercase(), "{name}");
            assert!(description.contains(&format!("- `{word}`: ")), "{name}");
        }
    }
    assert!(enums >= 10, "{enums}");
}

#[tokio::test]
async fn every_operation_says_what_it_takes_and_all_that_it_answers() {
    let daemon = FakeDaemon::start("described", |_| Ok(Reply::Done));
    let document = document(&daemon).await;
    let mut ids = BTreeSet::new();
    for (method, path, operation) in operations(&document) {
        let at = format!("{method} {path}");
        assert!(
            ids.insert(operation["operationId"].as_str().unwrap()),
            "{at}"
        );
        let described = |it: &Value| it["description"].as_str().is_some_and(|it| !it.is_empty());
        assert!(
            described(operation) || operation["summary"].is_string(),
            "{at}"
        );
        let answers: &Map<_, _> = operation["responses"].as_object().unwrap();
        for (status, answer) in answers {
            assert!(described(answer), "{at} {status}");
            if status.starts_with(['4', '5']) {
                let body = &answer["content"]["application/json"]["schema"]["$ref"];
                assert_eq!(body, "#/components/schemas/ErrorBody", "{at} {status}");
            }
        }
        assert!(answers.contains_key("500"), "{at}");
        assert_eq!(answers.contains_key("403"), method != "get", "{at}");
        let parameters = operation["parameters"].as_array();
        let input = parameters.is_some() || operation.get("requestBody").is_some();
        assert_eq!(answers.contains_key("400"), input, "{at}");
        for parameter in parameters.into_iter().flatten() {
            let at = format!("{at} {}", parameter["name"]);
            assert!(described(parameter), "{at}");
            let schema = &parameter["schema"];
            assert!(!schema.to_string().contains("\"null\""), "{at}: {schema}");
            let bounded = ["enum", "pattern", "maximum", "anyOf"];
            let values = resolved(&document, schema);
            let is_bounded = bounded.iter().any(|it| values.get(it).is_some());
            assert!(is_bounded || values["type"] == "boolean", "{at}: {values}");
        }
    }
}

#[tokio::test]
async fn no_array_stands_for_an_object_in_any_body() {
    let daemon = FakeDaemon::start("arrays", |_| Ok(Reply::Done));
    let document = document(&daemon).await;
    for (method, path, operation) in operations(&document) {
        let Some(content) = operation["requestBody"]["content"].as_object() else {
            continue;
        };
        let path = path.replace("{vni}", "1").replace("{dev}", "x");
        let path = path.replace("{ip}", "192.0.2.1");
        let method = method.to_uppercase();
        for body in ["[]", "[1]", "[null, null]"] {
            let (status, answer) = exchange(daemon.raw().await, &method, &path, body).await;
            assert_eq!(status, 400, "{method} {path} {content:?} {body}: {answer}");
        }
    }
    assert_eq!(daemon.take_heard(), []);
}
