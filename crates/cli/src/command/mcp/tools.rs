//! The tools that the server has, as a client lists them.

use std::{any::Any, sync::Arc};

use rmcp::{
    handler::server::common::schema_for_input,
    model::{JsonObject, Tool, ToolAnnotations},
};
use schemars::JsonSchema;
use serde_json::json;

use super::{
    arguments::{Diff, Forecast, List, Load, Save, Share, Show, Undo},
    schema::Shapes,
};

/// What a tool does to the emulator and the team.
enum Touches {
    Nothing,
    /// Something new comes into being.
    Adds,
    /// What is in the emulator is replaced.
    Replaces,
}

pub(super) fn all() -> Vec<Tool> {
    let shapes = Shapes::read();
    let lists = [("pods", "Pod"), ("versions", "Version")];
    vec![
        tool::<List>(
            "list",
            "List the team's pods with their newest versions, or all versions of one pod.",
            Touches::Nothing,
            shapes.lists(&lists),
        ),
        tool::<Show>(
            "show",
            "Show a version: who made it and when, who has it, and with `contents` what is in it.",
            Touches::Nothing,
            shapes.of("Shown"),
        ),
        tool::<Diff>(
            "diff",
            "Show what differs between two versions, by resource. Both have to be on this machine.",
            Touches::Nothing,
            shapes.of("Differences"),
        ),
        tool::<Forecast>(
            "forecast",
            "Show what a load would add, change and remove in the emulator. It changes nothing. It pulls the \
             version if this machine does not have it.",
            Touches::Nothing,
            shapes.of("Forecast"),
        ),
        tool::<Save>(
            "save",
            "Save the emulator's state, or a folder or file, as a version. Only this machine has it until it is \
             shared.",
            Touches::Adds,
            shapes.of("Saved"),
        ),
        tool::<Load>(
            "load",
            "Load a version into the emulator, where it replaces what is there. podsync saves what was there \
             before; `undo` restores it.",
            Touches::Replaces,
            shapes.of("Loaded"),
        ),
        tool::<Undo>(
            "undo",
            "Restore the emulator's state from before the last load.",
            Touches::Replaces,
            shapes.of("Undone"),
        ),
        tool::<Share>(
            "share",
            "Share a saved version with the team. Teammates can have it from then on.",
            Touches::Adds,
            shapes.of("Shared"),
        ),
    ]
}

fn tool<T: JsonSchema + Any>(
    name: &'static str,
    what: &'static str,
    touches: Touches,
    answer: Arc<JsonObject>,
) -> Tool {
    let hints = ToolAnnotations::new()
        .read_only(matches!(touches, Touches::Nothing))
        .destructive(matches!(touches, Touches::Replaces))
        .open_world(false);
    let mut takes = schema_for_input::<T>().unwrap_or_default();
    // Clients look for it also where a tool takes nothing.
    let properties = Arc::make_mut(&mut takes).entry("properties");
    properties.or_insert_with(|| json!({}));
    Tool::new(name, what, takes)
        .with_raw_output_schema(answer)
        .with_annotations(hints)
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    /// Each schema contains everything that it refers to.
    #[test]
    fn every_schema_is_whole() {
        for tool in all() {
            for schema in [Some(&tool.input_schema), tool.output_schema.as_ref()] {
                let schema = Value::Object(schema.unwrap().as_ref().clone());
                assert_eq!(schema["type"], "object", "{}: {schema}", tool.name);
                assert!(schema["properties"].is_object(), "{}", tool.name);
                let text = schema.to_string();
                for mention in text.split("\"#/").skip(1) {
                    let path = mention.split('"').next().unwrap();
                    let found = schema.pointer(&format!("/{path}"));
                    assert!(found.is_some_and(Value::is_object), "{}: {path}", tool.name);
                }
            }
        }
    }
}
