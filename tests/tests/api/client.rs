//! A client made of the document alone: its calls are the operations by name, and what they take and give is what the document says.

use std::collections::BTreeMap;

use serde_json::{Map, Value};
use vtep_tests::lab::wire::Wire;

use super::document::{Document, Operation, Request, encoded, plain};

/// The client.
pub(crate) struct Client<'a> {
    wire: &'a Wire,
    document: Document,
    calls: BTreeMap<String, Operation>,
}

/// Why a call came to nothing.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// The document has no such call, or it does not take that; nothing was asked.
    Unknown(String),
    /// The daemon refused it: the status, and why.
    Refused(u16, String),
}

impl<'a> Client<'a> {
    /// Makes it.
    pub(crate) fn new(wire: &'a Wire) -> Self {
        let document = super::document(wire);
        let named = |operation: Operation| {
            let name = operation.described["operationId"].as_str();
            (name.expect("a name").to_owned(), operation)
        };
        let operations = document.operations();
        let count = operations.len();
        let calls: BTreeMap<_, _> = operations.into_iter().map(named).collect();
        assert_eq!(calls.len(), count, "two operations of one name");
        Self {
            wire,
            document,
            calls,
        }
    }

    /// Calls an operation with arguments, each by its name; returns what it answered, `null` where that is nothing.
    ///
    /// # Panics
    ///
    /// If the answer is not as the document has it.
    pub(crate) fn call(&mut self, name: &str, given: &Value) -> Result<Value, Failure> {
        let unknown = |what: String| Err(Failure::Unknown(what));
        let Some(operation) = self.calls.get(name) else {
            return unknown(name.to_owned());
        };
        let operation = operation.clone();
        let mut left = given.as_object().cloned().unwrap_or_default();
        let (mut target, mut query) = (operation.path.clone(), Vec::new());
        let parameters = operation.described["parameters"].as_array();
        for parameter in parameters.into_iter().flatten() {
            let key = parameter["name"].as_str().expect("a name");
            match left.remove(key) {
                None if parameter["required"] == true => return unknown(format!("no {key}")),
                None => {}
                Some(value) if parameter["in"] == "path" => {
                    target = target.replace(&format!("{{{key}}}"), &encoded(&plain(&value)));
                }
                Some(value) => query.push(format!("{key}={}", encoded(&plain(&value)))),
            }
        }
        if !query.is_empty() {
            target = format!("{target}?{}", query.join("&"));
        }
        let schema = &operation.described["requestBody"]["content"]["application/json"]["schema"];
        let body = if schema.is_null() {
            String::new()
        } else {
            let body = Value::Object(std::mem::take(&mut left));
            if !self.document.is_valid(schema, &body) {
                return unknown(body.to_string());
            }
            body.to_string()
        };
        if !left.is_empty() {
            return unknown(Value::Object(left).to_string());
        }
        let valid = true;
        let request = Request {
            target,
            body,
            valid,
        };
        let (status, answer) = super::ask(self.wire, &operation.method, &request);
        if let Err(wrong) = self.document.check(&operation, status, &answer) {
            panic!("{wrong}: {name}: {status} {answer}");
        }
        let answer: Value = serde_json::from_str(&answer).unwrap_or_default();
        if status < 300 {
            return Ok(answer);
        }
        let error = answer.get("error").map(plain);
        Err(Failure::Refused(status, error.unwrap_or_default()))
    }

    /// The rows that a call answers with.
    pub(crate) fn rows(&mut self, name: &str, given: &Value) -> Vec<Map<String, Value>> {
        let answer = self.call(name, given).expect("rows");
        serde_json::from_value(answer).expect("an array of objects")
    }
}
