//! Schemas of what tools answer: the API's own, from its OpenAPI document, which a test keeps current.

use std::{collections::BTreeSet, sync::Arc};

use rmcp::model::JsonObject;
use serde_json::{Value, json};

const DOCUMENT: &str = include_str!("../../../../../docs/control-openapi.json");
/// Where the document has its shapes.
const THERE: &str = "#/components/schemas/";
/// Where a schema that stands alone has them.
const HERE: &str = "#/$defs/";

/// The document's shapes.
pub(super) struct Shapes(JsonObject);

impl Shapes {
    pub(super) fn read() -> Self {
        let mut document: Value = serde_json::from_str(DOCUMENT).unwrap_or_default();
        match document.pointer_mut("/components/schemas").map(Value::take) {
            Some(Value::Object(shapes)) => Self(shapes),
            _ => Self(JsonObject::new()),
        }
    }

    /// One shape with all that it mentions.
    pub(super) fn of(&self, name: &str) -> Arc<JsonObject> {
        let shape = self.0.get(name).cloned().unwrap_or_default();
        self.whole(shape)
    }

    /// Lists, of which a call answers one.
    pub(super) fn lists(&self, lists: &[(&str, &str)]) -> Arc<JsonObject> {
        let list =
            |shape: &str| json!({"type": "array", "items": {"$ref": format!("{THERE}{shape}")}});
        let lists = lists
            .iter()
            .map(|(name, shape)| ((*name).to_owned(), list(shape)));
        let mut properties: JsonObject = lists.collect();
        properties.insert(
            "left_out".to_owned(),
            json!({"type": "integer", "minimum": 0, "description": "How many more there are."}),
        );
        self.whole(json!({"type": "object", "properties": properties, "required": ["left_out"]}))
    }

    fn whole(&self, shape: Value) -> Arc<JsonObject> {
        let mut mentioned = BTreeSet::new();
        let Value::Object(mut root) = Self::alone(shape, &mut mentioned) else {
            return Arc::default();
        };
        let mut shapes = JsonObject::new();
        while let Some(name) = mentioned.pop_first() {
            if !shapes.contains_key(&name) {
                let shape = self.0.get(&name).cloned().unwrap_or_default();
                let shape = Self::alone(shape, &mut mentioned);
                shapes.insert(name, shape);
            }
        }
        if !shapes.is_empty() {
            root.insert("$defs".to_owned(), Value::Object(shapes));
        }
        Arc::new(root)
    }

    /// A shape whose references lead into the schema itself. The shapes that it mentions are added to the
    /// list.
    fn alone(shape: Value, mentioned: &mut BTreeSet<String>) -> Value {
        match shape {
            Value::String(text) => match text.strip_prefix(THERE) {
                Some(name) => {
                    mentioned.insert(name.to_owned());
                    Value::String(format!("{HERE}{name}"))
                }
                None => Value::String(text),
            },
            Value::Array(parts) => {
                let parts = parts.into_iter().map(|part| Self::alone(part, mentioned));
                Value::Array(parts.collect())
            }
            Value::Object(parts) => {
                let parts = parts
                    .into_iter()
                    .map(|(name, part)| (name, Self::alone(part, mentioned)));
                Value::Object(parts.collect())
            }
            plain => plain,
        }
    }
}
