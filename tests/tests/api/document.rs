//! Requests made from the API's own document: what it says that a daemon takes, and what it says that it does not.

use std::collections::HashMap;

use jsonschema::Validator;
use serde_json::{Map, Value, json};

/// A sequence of numbers that looks random, the same for one seed.
#[derive(Debug)]
pub(crate) struct Dice(u64);

impl Dice {
    /// The sequence of a seed.
    #[must_use]
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A number below `end`, which is not 0.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        // splitmix64
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % end
    }

    fn often(&mut self, of: u64) -> bool {
        self.below(of) != 0
    }

    /// One of these.
    pub(crate) fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        let at = self.below(from.len() as u64);
        &from[usize::try_from(at).expect("an index")]
    }
}

/// The document.
#[derive(Debug)]
pub(crate) struct Document {
    whole: Value,
    /// Names of interfaces, some of which exist.
    devices: Vec<&'static str>,
    validators: HashMap<String, Validator>,
}

/// An operation.
#[derive(Clone, Debug)]
pub(crate) struct Operation {
    /// The method, in capitals.
    pub(crate) method: String,
    /// The path, with `{NAME}` for a key.
    pub(crate) path: String,
    /// What the document says of it.
    pub(crate) described: Value,
}

/// A request.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    /// The path, with the keys and the query.
    pub(crate) target: String,
    /// The body; empty where there is none.
    pub(crate) body: String,
    /// Whether all of it is as the document has it.
    pub(crate) valid: bool,
}

impl Document {
    /// Reads it. Requests name these interfaces.
    #[must_use]
    pub(crate) fn new(whole: Value, devices: Vec<&'static str>) -> Self {
        Self {
            whole,
            devices,
            validators: HashMap::new(),
        }
    }

    /// The operations.
    #[must_use]
    pub(crate) fn operations(&self) -> Vec<Operation> {
        let paths = self.whole["paths"].as_object().expect("paths");
        let all = paths.iter().flat_map(|(path, item)| {
            ["get", "post", "put", "patch", "delete"]
                .into_iter()
                .filter_map(|method| {
                    Some(Operation {
                        method: method.to_uppercase(),
                        path: path.clone(),
                        described: item.get(method)?.clone(),
                    })
                })
        });
        all.collect()
    }

    /// A request for an operation: as the document has it, or with one thing wrong.
    pub(crate) fn request(
        &mut self,
        operation: &Operation,
        dice: &mut Dice,
        valid: bool,
    ) -> Request {
        let Operation {
            path, described, ..
        } = operation;
        let parameters = described["parameters"].as_array();
        let parameters: Vec<Value> = parameters.cloned().unwrap_or_default();
        let contents = described["requestBody"]["content"].as_object();
        let bodies = usize::from(contents.is_some());
        // What is to be wrong: a parameter, or the body.
        let wrong = (!valid && parameters.len() + bodies > 0).then(|| {
            let among = (parameters.len() + bodies) as u64;
            usize::try_from(dice.below(among)).expect("an index")
        });
        let (mut target, mut query) = (path.clone(), Vec::new());
        let mut all_valid = true;
        for (nth, parameter) in parameters.iter().enumerate() {
            let name = parameter["name"].as_str().expect("a name");
            let schema = &parameter["schema"];
            let wanted = parameter["required"] == true || wrong == Some(nth) || !dice.often(2);
            if !wanted {
                continue;
            }
            let value = self.value(schema, dice);
            let mut text = plain(&value);
            if wrong == Some(nth) {
                let other = *dice.pick(&["", "x y", "-1", "99999999999999999999", "[]", "%00"]);
                other.clone_into(&mut text);
                all_valid &= self.accepts_text(schema, &text);
            }
            let encoded = encoded(&text);
            if parameter["in"] == "path" {
                target = target.replace(&format!("{{{name}}}"), &encoded);
            } else {
                query.push(format!("{name}={encoded}"));
            }
        }
        if !query.is_empty() {
            target.push('?');
            target.push_str(&query.join("&"));
        }
        let body = contents.map(|contents| {
            let (kind, content) = contents.iter().next().expect("a content");
            let schema = if kind == "application/json" {
                content["schema"].clone()
            } else {
                // Lines, which the description names.
                let said = described["requestBody"]["description"].as_str();
                let name = said
                    .and_then(|said| said.split('`').nth(1))
                    .expect("a type");
                json!({"$ref": format!("#/components/schemas/{name}")})
            };
            let mut value = self.value(&schema, dice);
            assert!(self.is_valid(&schema, &value), "{schema}: {value}");
            if wrong == Some(parameters.len()) {
                Self::spoil(&mut value, dice);
                all_valid &= self.is_valid(&schema, &value);
            }
            value.to_string()
        });
        Request {
            target,
            body: body.unwrap_or_default(),
            valid: all_valid,
        }
    }

    /// What is wrong with an answer.
    ///
    /// # Errors
    ///
    /// A sentence: the status is not one of the operation's, or the body is not as the document has it.
    pub(crate) fn check(
        &mut self,
        operation: &Operation,
        status: u16,
        body: &str,
    ) -> Result<(), String> {
        let answers = &operation.described["responses"];
        let Some(answer) = answers.get(status.to_string()) else {
            return Err(format!("{status} is none of its answers"));
        };
        let Some(contents) = answer["content"].as_object().filter(|it| !it.is_empty()) else {
            return if body.is_empty() {
                Ok(())
            } else {
                Err("there is a body, and the document has none".to_owned())
            };
        };
        let (kind, content) = contents.iter().next().expect("a content");
        if kind != "application/json" {
            return Ok(());
        }
        let value: Value = serde_json::from_str(body).map_err(|error| error.to_string())?;
        let schema = content["schema"].clone();
        let validator = self.validator(&schema);
        let wrong: Vec<_> = validator
            .iter_errors(&value)
            .map(|it| it.to_string())
            .collect();
        if wrong.is_empty() {
            Ok(())
        } else {
            Err(wrong.join("; "))
        }
    }

    fn validator(&mut self, schema: &Value) -> &Validator {
        let components = &self.whole["components"];
        self.validators
            .entry(schema.to_string())
            .or_insert_with(|| {
                let whole = json!({"allOf": [schema], "components": components});
                jsonschema::options()
                    .should_validate_formats(true)
                    .should_ignore_unknown_formats(true)
                    .build(&whole)
                    .expect("a schema")
            })
    }

    /// Whether a value is as a schema of the document has it.
    pub(crate) fn is_valid(&mut self, schema: &Value, value: &Value) -> bool {
        self.validator(schema).is_valid(value)
    }

    /// Whether a parameter takes a text, as what it looks like.
    fn accepts_text(&mut self, schema: &Value, text: &str) -> bool {
        let read = serde_json::from_str(text);
        let read = read.ok().filter(|value: &Value| !value.is_array());
        self.is_valid(schema, &json!(text)) || read.is_some_and(|it| self.is_valid(schema, &it))
    }

    fn resolved(&self, schema: &Value) -> Value {
        match schema.get("$ref").and_then(Value::as_str) {
            Some(to) => {
                let found = self.whole.pointer(to.trim_start_matches('#'));
                self.resolved(found.expect("what is referred to"))
            }
            None => schema.clone(),
        }
    }

    /// A value that a schema takes.
    fn value(&self, schema: &Value, dice: &mut Dice) -> Value {
        let schema = self.resolved(schema);
        for either in ["oneOf", "anyOf"] {
            if let Some(items) = schema.get(either).and_then(Value::as_array) {
                return self.value(dice.pick(items), dice);
            }
        }
        if let Some(items) = schema.get("allOf").and_then(Value::as_array) {
            let parts = items.iter().map(|item| self.value(item, dice));
            let fields = parts.filter_map(|part| part.as_object().cloned()).flatten();
            return Value::Object(fields.collect());
        }
        if let Some(words) = schema.get("enum").and_then(Value::as_array) {
            return dice.pick(words).clone();
        }
        let kind = match &schema["type"] {
            Value::Array(kinds) => dice.pick(kinds).clone(),
            kind => kind.clone(),
        };
        match kind.as_str().unwrap_or("null") {
            "object" => self.object(&schema, dice),
            "array" => {
                let least = schema["minItems"].as_u64().unwrap_or(0);
                let most = schema["maxItems"].as_u64().unwrap_or(least + 2);
                let count = least + dice.below(most - least + 1);
                (0..count)
                    .map(|_| self.value(&schema["items"], dice))
                    .collect()
            }
            "integer" => integer(&schema, dice),
            "boolean" => json!(dice.often(2)),
            "string" => json!(self.text(&schema, dice)),
            "number" => json!(1.5),
            _ => Value::Null,
        }
    }

    fn object(&self, schema: &Value, dice: &mut Dice) -> Value {
        let required = schema["required"].as_array().cloned().unwrap_or_default();
        let mut fields = Map::new();
        for (name, property) in schema["properties"].as_object().into_iter().flatten() {
            let needed = required.iter().any(|it| it == name);
            if needed || !dice.often(3) {
                fields.insert(name.clone(), self.value(property, dice));
            }
        }
        Value::Object(fields)
    }

    fn text(&self, schema: &Value, dice: &mut Dice) -> String {
        let pattern = schema["pattern"].as_str().unwrap_or_default();
        let host = dice.below(4) + 1;
        match schema["format"].as_str() {
            Some("ipv4") => {
                return (*dice.pick(&["198.18.0.", "10.0.0."])).to_owned() + &host.to_string();
            }
            Some("ipv6") => return format!("2001:db8::{host}"),
            _ => {}
        }
        if pattern.contains("{2}") {
            let first = dice.pick(&["02", "00", "01", "FE"]);
            return format!("{first}:00:00:00:00:{host:02x}");
        }
        if pattern.contains("0-9a-fA-F:.") {
            return (*dice.pick(&["10.0.0.7", "10.0.0.0/8", "2001:db8::/32", "0.0.0.0/0"]))
                .to_owned();
        }
        if pattern.is_empty() {
            return (*dice.pick(&["", "x", "--iface", "\u{e9}\u{1f980}"])).to_owned();
        }
        (*dice.pick(&self.devices)).to_owned()
    }

    /// Makes one thing of a value wrong, about.
    fn spoil(value: &mut Value, dice: &mut Dice) {
        let odd = [
            json!(null),
            json!([]),
            json!([1, "x"]),
            json!({}),
            json!(-1),
            json!(1e300),
            json!(4_294_967_296_u64),
            json!("\u{0}"),
            json!("none of the words"),
            json!(true),
        ];
        match value {
            Value::Object(fields) if dice.often(5) => match dice.below(4) {
                0 => {
                    fields.insert("no_such_field".to_owned(), dice.pick(&odd).clone());
                }
                1 if !fields.is_empty() => {
                    let names: Vec<_> = fields.keys().cloned().collect();
                    fields.remove(dice.pick(&names));
                }
                _ => {
                    let names: Vec<_> = fields.keys().cloned().collect();
                    if names.is_empty() {
                        *value = dice.pick(&odd).clone();
                    } else {
                        let name = dice.pick(&names);
                        Self::spoil(&mut fields[name], dice);
                    }
                }
            },
            _ => *value = dice.pick(&odd).clone(),
        }
    }
}

fn integer(schema: &Value, dice: &mut Dice) -> Value {
    let least = schema["minimum"].as_u64().unwrap_or(0);
    let most = schema["maximum"].as_u64().unwrap_or(1 << 20).max(least);
    let number = match dice.below(4) {
        0 => most,
        1 => least,
        2 => least + dice.below(3),
        _ => (least + dice.below(1 << 24)).min(most),
    };
    json!(number.min(most))
}

/// A value as a parameter has it.
pub(crate) fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// The same within a path or a query.
pub(crate) fn encoded(text: &str) -> String {
    let bytes = text.bytes().map(|byte| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' => {
            char::from(byte).to_string()
        }
        _ => format!("%{byte:02X}"),
    });
    bytes.collect()
}
