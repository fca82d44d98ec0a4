//! Profiles as people keep them in files: JSON, or YAML of the same.

use serde_json::Value;

/// A text that is no list of profiles. It says `it`; whoever read the text knows its name.
#[derive(Debug, thiserror::Error)]
pub enum TextError {
    /// It begins as JSON does.
    #[error("it is not JSON: {0}")]
    Json(#[source] serde_json::Error),
    /// It is neither.
    #[error("it is neither JSON nor YAML: {0}")]
    Yaml(String),
    /// An object without a list.
    #[error("it has no list of profiles under list_items")]
    NoList,
    /// Something else.
    #[error("it is neither a list of profiles nor an object with list_items")]
    Neither,
}

/// What a text says.
pub fn value(text: &str) -> Result<Value, TextError> {
    match serde_json::from_str(text) {
        Ok(value) => Ok(value),
        // Nearly all JSON is YAML too, but its own parser says better where it is wrong.
        Err(error) if text.trim_start().starts_with(['{', '[']) => Err(TextError::Json(error)),
        Err(_) => serde_saphyr::from_str(text).map_err(|error| TextError::Yaml(error.to_string())),
    }
}

/// The profiles of a text that is a list of them, or an object with `list_items`. What they say is not checked.
pub fn profiles(text: &str) -> Result<Vec<Value>, TextError> {
    match value(text)? {
        Value::Array(list) => Ok(list),
        Value::Object(mut object) => match object.remove("list_items") {
            Some(Value::Array(list)) => Ok(list),
            _ => Err(TextError::NoList),
        },
        _ => Err(TextError::Neither),
    }
}
