//! What the server says of a request, in the words of the command line.

use std::collections::BTreeSet;

use crate::fleet::FieldError;

pub use crate::profile::text::near::nearest;

/// A wrong place with what is wrong there, as one line.
pub fn of(error: &FieldError) -> String {
    let FieldError { path, message } = error;
    let mut steps = path.split('/').skip(1);
    let flag = match steps.next().unwrap_or_default() {
        "" => return message.clone(),
        // It was asked for a moment ago, and the panels hold more by now.
        "confirm_deletes" => {
            return "by now more would be deleted than was confirmed, so nothing was done; run it again"
                .to_owned();
        }
        // It is said there which number is meant, in the words of the API.
        "confirm_door_hours" => {
            return match message.rsplit_once(". If that is meant, send it with \"confirm_door_hours\": ") {
                Some((said, hours)) => {
                    format!("{said}. Look at it with --dry-run; if that is meant, give --confirm {hours}")
                }
                None => format!("--confirm: {message}"),
            };
        }
        "upsert" => return format!("{}: {message}", item("profile", steps)),
        "delete" => return format!("{}: {message}", item("link_id", steps)),
        "identifiers" => {
            let what = steps.next().unwrap_or_default();
            let said = item(if what == "delete" { "link_id" } else { "identifier" }, steps);
            return format!("{said}: {message}");
        }
        "panels" => "--panel",
        "selector" => "--selector",
        "all" => "--all",
        "zone" => "--zone",
        "driver" => "--driver",
        "labels" => "--label",
        "api" => "--api",
        "api_version" => "--api-version",
        "capacity" => "--capacity",
        "identifier_capacity" => "--identifier-capacity",
        "face_capacity" => "--face-capacity",
        "url" => "--url",
        "username" => "--username",
        "password" => "the password",
        "repair" => "--repair",
        "tls_ca" => "--ca-file",
        "tls_pin" => "--pin",
        "webhook" => "--webhook",
        "mail" => "--mail",
        "secret" => "the secret",
        "on" => "--on",
        "after_s" => "--after",
        "per_hour" => "--per-hour",
        "role" => "--role",
        "type" => "--type",
        "number" => "the number",
        "at" => "--at",
        "id" => "the id",
        "name" => "the name",
        _ => return format!("{path}: {message}"),
    };
    format!("{flag}: {message}")
}

/// Such as `profile 3 at repeat_options/repeat_format`; people count from 1.
fn item<'p>(what: &str, mut steps: impl Iterator<Item = &'p str>) -> String {
    let number = steps.next().and_then(|index| index.parse::<usize>().ok());
    let mut said = number.map_or_else(|| format!("the {what}s"), |index| format!("{what} {}", index + 1));
    let rest: Vec<_> = steps.collect();
    if !rest.is_empty() {
        said.push_str(" at ");
        said.push_str(&rest.join("/"));
    }
    said
}

/// Some of a list in words: `a, b, c and 7 more`.
pub fn some_of<'w>(words: impl IntoIterator<Item = &'w str>, most: usize) -> String {
    let words: BTreeSet<_> = words.into_iter().collect();
    let mut said: Vec<_> = words.iter().take(most).map(ToString::to_string).collect();
    if words.len() > most {
        let last = said.pop().unwrap_or_default();
        said.push(format!("{last} and {} more", words.len() - most));
    }
    said.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_named_as_the_command_line_names_them() {
        for (path, said) in [
            ("/zone", "--zone: no"),
            ("/upsert/1/repeat_options/repeat_format", "profile 2 at repeat_options/repeat_format: no"),
            ("/upsert/0", "profile 1: no"),
            ("/identifiers/upsert/1/lock", "identifier 2 at lock: no"),
            ("/identifiers/delete/0", "link_id 1: no"),
            ("/identifiers", "the identifiers: no"),
            ("/panels/3", "--panel: no"),
            ("/mail/1", "--mail: no"),
            ("", "no"),
        ] {
            assert_eq!(of(&FieldError::at(path, "no")), said);
        }
    }
}
