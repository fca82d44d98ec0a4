//! The fields of a panel as somebody gives them: those of a new one, or those that change.

use serde_json::{Map, Value};

use super::FleetError;
use crate::access::PasswordMd5;
use crate::coordinator::fleet::NewPanel;
use crate::panel::settings::{PanelRecord, Remote, Settings};
use crate::profile::text;

/// Fields of a panel's record, and what is given beside them. Never logged: it has no `Debug`.
pub struct PanelFields {
    fields: Map<String, Value>,
    /// Of a remote panel, the MD5 hex of the account's password: devices take no more, and it is never read again.
    pub password_md5: Option<String>,
    /// Whether the device is not asked, which may be offline, or that of another panel.
    pub force: bool,
}

impl PanelFields {
    /// From JSON, where `password` and `force` stand among the fields of the record.
    pub fn read(mut fields: Map<String, Value>) -> Result<Self, FleetError> {
        let force = take_force(&mut fields)?;
        let password_md5 = take_password(&mut fields)?;
        Ok(Self { fields, password_md5, force })
    }

    /// Whether a field is given.
    pub fn has(&self, name: &str) -> bool {
        self.fields.contains_key(name)
    }

    /// A new panel with these fields.
    pub fn new_panel(self) -> Result<NewPanel, FleetError> {
        let record: PanelRecord =
            serde_json::from_value(self.fields.into()).map_err(|error| FleetError::of_form(&error))?;
        let settings = Settings::parse(&record).map_err(FleetError::of_settings)?;
        // In a path these two mean something else, to every client and proxy. (Earlier versions took them.)
        if matches!(settings.id.as_str(), "." | "..") {
            return Err(FleetError::invalid(
                "/id",
                "an id is more than dots: it stands in paths, where . and .. lead elsewhere",
            ));
        }
        plain_username(&settings)?;
        if self.password_md5.is_some() && !settings.is_device() {
            return Err(FleetError::invalid("/password", "only a panel with the driver http has one"));
        }
        Ok(NewPanel { password_md5: self.password_md5, ..NewPanel::new(settings) })
    }

    /// A panel's settings with these fields on top. Labels are changed one by one (as in RFC 7396).
    pub fn on(&self, now: &Settings) -> Result<Settings, FleetError> {
        let mut record =
            serde_json::to_value(now.record()).map_err(|error| FleetError::Internal(error.into()))?;
        if let Some(fields) = record.as_object_mut() {
            for (key, value) in &self.fields {
                if key == "id" && value.as_str() != Some(now.id.as_str()) {
                    return Err(FleetError::invalid(
                        "/id",
                        "a panel's id cannot be changed; add a new panel and remove this one",
                    ));
                }
                match (key.as_str(), value) {
                    ("labels", Value::Object(changes)) => {
                        merge(fields.entry(key).or_insert_with(|| Map::new().into()), changes);
                    }
                    ("labels", Value::Null) => {
                        fields.insert(key.clone(), Map::new().into());
                    }
                    (_, value) => {
                        fields.insert(key.clone(), value.clone());
                    }
                }
            }
            // Another family has other versions.
            if self.has("api")
                && fields.get("api") != Some(&now.family().as_str().into())
                && !self.has("api_version")
            {
                fields.remove("api_version");
            }
        }
        let record: PanelRecord =
            serde_json::from_value(record).map_err(|error| FleetError::of_form(&error))?;
        let settings = Settings::parse(&record).map_err(FleetError::of_settings)?;
        if self.fields.contains_key("username") {
            plain_username(&settings)?;
        }
        if settings.driver() != now.driver() {
            return Err(FleetError::invalid(
                "/driver",
                "a panel's driver cannot be changed; add a new panel and remove this one",
            ));
        }
        if self.password_md5.is_some() && !settings.is_device() {
            return Err(FleetError::invalid("/password", "only a panel with the driver http has one"));
        }
        Ok(settings)
    }
}

/// Takes the wish out of the fields that nothing be asked.
fn take_force(fields: &mut Map<String, Value>) -> Result<bool, FleetError> {
    match fields.remove("force") {
        None | Some(Value::Null) => Ok(false),
        Some(Value::Bool(force)) => Ok(force),
        Some(_) => Err(FleetError::invalid("/force", "true or false is expected")),
    }
}

/// Takes the password out of the fields, so that the rest is a record; gives its MD5, since devices take no more.
fn take_password(fields: &mut Map<String, Value>) -> Result<Option<String>, FleetError> {
    match fields.remove("password") {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(password)) => Ok(Some(PasswordMd5::of(&password).into_hex())),
        Some(_) => Err(FleetError::invalid("/password", "a text is expected")),
    }
}

/// The problem with an account's name that steers what shows it.
fn plain_username(settings: &Settings) -> Result<(), FleetError> {
    let steers = settings.remote.as_ref().is_some_and(|remote| remote.username.contains(text::steers));
    if steers { Err(FleetError::invalid("/username", "a name without control characters")) } else { Ok(()) }
}

/// The password was given for one device, as one user, and under what vouched for it. Whoever changes one of these says
/// it again, or could have it sent to a host of theirs.
pub(super) fn keeps_its_password(now: Option<&Remote>, then: Option<&Remote>) -> Result<(), FleetError> {
    let (Some(now), Some(then)) = (now, then) else { return Ok(()) };
    let what = if now.origin() != then.origin() {
        "the address"
    } else if now.username != then.username {
        "the user name"
    } else if now.trust() != then.trust() {
        "what vouches for the device"
    } else {
        return Ok(());
    };
    Err(FleetError::invalid(
        "/password",
        format!("give the password again: it is not sent on by itself when {what} changes"),
    ))
}

/// Sets what is given and removes what is null.
fn merge(standing: &mut Value, changes: &Map<String, Value>) {
    let Value::Object(standing) = standing else { return };
    for (key, value) in changes {
        if value.is_null() {
            standing.remove(key);
        } else {
            standing.insert(key.clone(), value.clone());
        }
    }
}
