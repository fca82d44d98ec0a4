//! Panels from a file: CSV as spreadsheets write it, a JSON array, or JSON lines. Where something is wrong, it is said
//! with line and column, and nothing is added.

use std::collections::HashMap;

use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::{Failure, file, words};
use crate::batch::selector::is_key;
use crate::profile::text::table;

/// The columns that are no labels, each with other words for it that people write.
const COLUMNS: [(&str, &[&str]); 13] = [
    ("id", &["panel", "panel_id", "panelid", "name"]),
    ("driver", &[]),
    ("zone", &["timezone", "time_zone", "time-zone", "time zone", "tz", "tzid"]),
    ("api", &[]),
    ("api_version", &["apiversion", "api-version", "api version"]),
    ("capacity", &["max", "maximum", "limit", "max_profiles"]),
    ("identifier_capacity", &["max_identifiers", "identifiers"]),
    ("face_capacity", &["max_faces", "faces"]),
    ("url", &["uri", "ip", "address", "addr", "host", "hostname", "ip_address"]),
    ("username", &["user", "user_name", "login", "account"]),
    ("password", &["pass", "passwd", "pwd", "secret"]),
    ("repair", &["autorepair", "auto_repair"]),
    ("tls_pin", &["pin", "fingerprint"]),
];

/// Columns whose name begins so are labels, whatever they are called.
const LABEL: &str = "label.";

/// Of other words for ours, slips are looked for in those that are longer than this.
const LONG: usize = 5;

/// Problems that are named.
const NAMED: usize = 20;

/// What a file says: JSON lines for the server, and where in the file each panel stands.
pub struct Panels {
    file: String,
    /// One JSON object a line.
    pub lines: String,
    places: Vec<usize>,
    csv: bool,
}

/// A column of a CSV file.
enum Column {
    Field(&'static str),
    Label(String),
}

impl Panels {
    /// Reads a file, or standard input for `-`.
    pub fn read(file: &str) -> Result<Self, Failure> {
        let text = file::read(file)?;
        let mut panels =
            Self { file: file::name(file).to_owned(), lines: String::new(), places: Vec::new(), csv: false };
        let read = match text.trim_start().chars().next() {
            None => Err("is empty".to_owned()),
            Some('[') => panels.array(&text),
            Some('{') => panels.objects(&text),
            Some(_) => panels.table(&text),
        };
        match read {
            Ok(()) if panels.places.is_empty() => {
                Err(Failure::usage(format!("{} has no panel in it; nothing was added", panels.file)))
            }
            Ok(()) => Ok(panels),
            Err(why) => Err(Failure::usage(format!("{} {why}; nothing was added", panels.file))),
        }
    }

    /// The server's refusal, with the places of the file.
    pub fn explain(&self, failure: Failure) -> Failure {
        let errors = failure.problem.as_ref().map(|problem| problem.errors.as_slice()).unwrap_or_default();
        let said: Vec<_> = errors
            .iter()
            .filter_map(|error| {
                let mut steps = error.path.split('/').skip(1);
                let line = self.places.get(steps.next()?.parse::<usize>().ok()?)?;
                let rest: Vec<_> = steps.collect();
                let place = match (rest.as_slice(), self.csv) {
                    ([], _) => String::new(),
                    (["labels", key, ..] | [key, ..], true) => format!(", column {key}"),
                    (rest, false) => format!(", {}", rest.join("/")),
                };
                Some(format!("line {line}{place}: {}", error.message))
            })
            .collect();
        let message = match said.as_slice() {
            [] => return failure,
            [one] => format!("{} {one}; nothing was added", self.file),
            many => {
                let more = many.len().saturating_sub(NAMED);
                let more = if more > 0 { format!("\n  and {more} more") } else { String::new() };
                let named: String = many.iter().take(NAMED).map(|line| format!("\n  {line}")).collect();
                format!("{}: {} places are wrong; nothing was added{named}{more}", self.file, many.len())
            }
        };
        Failure { message, ..failure }
    }

    fn add(&mut self, line: usize, panel: &str) {
        self.lines.push_str(panel);
        self.lines.push('\n');
        self.places.push(line);
    }

    fn array(&mut self, text: &str) -> Result<(), String> {
        let items: Vec<&RawValue> =
            serde_json::from_str(text).map_err(|error| format!("is not JSON: {error}"))?;
        for item in items {
            self.object(text, item)?;
        }
        Ok(())
    }

    /// Objects one after the other, however they are broken into lines.
    fn objects(&mut self, text: &str) -> Result<(), String> {
        for item in serde_json::Deserializer::from_str(text).into_iter::<&RawValue>() {
            let item = item.map_err(|error| format!("is not JSON: {error}"))?;
            self.object(text, item)?;
        }
        Ok(())
    }

    fn object(&mut self, text: &str, item: &RawValue) -> Result<(), String> {
        let json = item.get();
        let offset = json.as_ptr().addr().saturating_sub(text.as_ptr().addr());
        let line = text.get(..offset).unwrap_or_default().matches('\n').count() + 1;
        if !json.starts_with('{') {
            return Err(format!("line {line}: a panel is an object such as {{\"id\":\"north-01\"}}"));
        }
        // A line feed within a text of JSON is written \n, so those that stand there are between its parts.
        self.add(line, &json.replace(['\n', '\r'], " "));
        Ok(())
    }

    fn table(&mut self, text: &str) -> Result<(), String> {
        self.csv = true;
        let mut columns: Option<Vec<Column>> = None;
        let mut ids = HashMap::new();
        table::rows(text, |line, row| {
            let Some(columns) = &columns else {
                columns = Some(header(row).map_err(|why| format!("line {line}{why}"))?);
                return Ok(());
            };
            table::fits(row, columns.len()).map_err(|why| format!("line {line} {why}"))?;
            let panel = panel(columns, row).map_err(|why| format!("line {line}, {why}"))?;
            let id = panel["id"].as_str().unwrap_or_default().to_owned();
            if let Some(first) = ids.insert(id.clone(), line) {
                return Err(format!("line {line}, column id: the panel {id} stands in line {first} already"));
            }
            self.add(line, &panel.to_string());
            Ok(())
        })
    }
}

/// The columns that a first line names; the error goes on behind the line's number.
fn header(row: &csv::StringRecord) -> Result<Vec<Column>, String> {
    let names = table::names(row);
    let mut columns = Vec::with_capacity(names.len());
    let mut seen: HashMap<String, usize> = HashMap::new();
    for (i, name) in names.into_iter().enumerate() {
        let at = i + 1;
        if name.is_empty() {
            return Err(format!(", column {at} has no name"));
        }
        let column = column(name).map_err(|why| format!(", column {at}: {why}"))?;
        let key = match &column {
            Column::Field(field) => (*field).to_owned(),
            Column::Label(key) => format!("{LABEL}{key}"),
        };
        if let Some(first) = seen.insert(key, at) {
            return Err(format!(", column {at}: {name} stands in column {first} already"));
        }
        columns.push(column);
    }
    if !seen.contains_key("id") {
        return Err(" has no column id; the first line names the columns".to_owned());
    }
    Ok(columns)
}

fn column(name: &str) -> Result<Column, String> {
    let small = name.to_lowercase();
    if let Some(key) = name.get(LABEL.len()..).filter(|_| small.starts_with(LABEL)) {
        return label(key.trim());
    }
    if let Some((field, _)) = COLUMNS.iter().find(|(field, _)| *field == small) {
        return Ok(Column::Field(field));
    }
    if matches!(small.as_str(), "label" | "labels") {
        return Err(format!(
            "{name}: each label has a column of its own, named as the label or {LABEL}NAME, such as site"
        ));
    }
    let meant = COLUMNS.iter().find(|(field, others)| {
        let long = others.iter().copied().filter(|other| other.len() > LONG);
        others.contains(&small.as_str())
            || words::nearest(&small, std::iter::once(*field).chain(long)).is_some()
    });
    match meant {
        Some((field, _)) => Err(format!(
            "{name}: did you mean `{field}`? Columns that are none of {} are labels; a label of this name is written {LABEL}{name}",
            COLUMNS.map(|(field, _)| field).join(", ")
        )),
        None => label(name),
    }
}

fn label(key: &str) -> Result<Column, String> {
    if is_key(key) {
        return Ok(Column::Label(key.to_owned()));
    }
    Err(format!("{key:?} can be no label, whose name is 1 to 63 letters, digits and -_./"))
}

fn panel(columns: &[Column], record: &csv::StringRecord) -> Result<Value, String> {
    let mut panel = Map::new();
    let mut labels = Map::new();
    for (column, value) in columns.iter().zip(record) {
        // Only a password may begin and end as it likes.
        let value = if matches!(column, Column::Field("password")) { value } else { value.trim() };
        if value.is_empty() {
            continue;
        }
        match column {
            Column::Field(field @ ("capacity" | "identifier_capacity" | "face_capacity")) => {
                let number = value.parse::<u32>();
                let number = number.map_err(|_| format!("column {field}: {value:?} is no whole number"))?;
                panel.insert((*field).into(), number.into());
            }
            Column::Field(field) => {
                panel.insert((*field).into(), value.into());
            }
            Column::Label(key) => {
                labels.insert(key.clone(), value.into());
            }
        }
    }
    if !panel.contains_key("id") {
        return Err("column id: it is empty".to_owned());
    }
    panel.insert("labels".into(), labels.into());
    Ok(panel.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_kept_as_it_stands_and_nothing_else_is() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("panels.csv");
        let text = "id, driver ,url,username,password\nd1, http , http://10.0.0.1 , admin ,\" in \"\"quotes\"\" \"\nd2,http,http://10.0.0.2,admin,  bare \n";
        std::fs::write(&file, text).expect("written");
        let panels = Panels::read(file.to_str().expect("a text")).expect("read");
        let read: Vec<Value> =
            panels.lines.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
        assert_eq!(read[0]["password"], " in \"quotes\" ");
        assert_eq!(read[1]["password"], "  bare ");
        assert_eq!((&read[0]["driver"], &read[0]["url"]), (&"http".into(), &"http://10.0.0.1".into()));
    }

    #[test]
    fn a_name_close_to_one_of_ours_is_asked_about_and_no_other() {
        for name in [
            "timezone",
            "Time Zone",
            "tz",
            "zoen",
            "zon",
            "user",
            "usrname",
            "ip",
            "Address",
            "pasword",
            "capcity",
            "urls",
        ] {
            assert!(column(name).is_err_and(|why| why.contains("did you mean")), "{name}");
        }
        for name in [
            "site",
            "floor",
            "side",
            "role",
            "wing",
            "room",
            "building",
            "label.timezone",
            "Label.ip",
            "city",
        ] {
            assert!(matches!(column(name), Ok(Column::Label(_))), "{name}");
        }
        for name in ["ID", "Zone", "API_VERSION"] {
            assert!(matches!(column(name), Ok(Column::Field(_))), "{name}");
        }
    }
}
