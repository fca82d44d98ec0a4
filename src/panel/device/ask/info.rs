//! What a device says that it is.

use serde_json::Value;

use super::{Answer, Fields, in_brackets, said_error};
use crate::panel::device::Trouble;
use crate::panel::device::words::words;
use crate::store::tables::DeviceRecord;

/// What a device says that it is. What it does not say is empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Info {
    /// The API that it speaks.
    pub api_version: String,
    /// Its serial number.
    pub device_serial_number: String,
    /// Its model.
    pub device_model: String,
    /// Its firmware.
    pub firmware_version: String,
}

impl Info {
    /// Brings what is kept of a device up to date.
    pub fn put_into(&self, record: &mut DeviceRecord) {
        record.serial.clone_from(&self.device_serial_number);
        record.model.clone_from(&self.device_model);
        record.firmware.clone_from(&self.firmware_version);
        record.api_version.clone_from(&self.api_version);
    }
}

/// By these `/api/info` is known as a panel's.
const INFO: [&str; 11] = [
    "api_version",
    "device_serial_number",
    "device_model",
    "firmware_version",
    "device_name",
    "device_type",
    "framework_version",
    "frontend_version",
    "hybrid_enable",
    "hybrid_version",
    "commit",
];

/// Reads `/api/info`; anything that is not a panel's is named as what it is.
pub fn read_info(answer: &Answer) -> Result<Info, Trouble> {
    match answer.status {
        200 => {
            let fields = Fields::read(&answer.body)
                .map_err(|_| Trouble::NotAPanel(format!("/api/info gives {}", looks_like(&answer.body))))?;
            if !INFO.iter().any(|name| fields.get(name).is_some()) {
                return Err(said_error(&answer.body).map_or_else(
                    || {
                        let why = "/api/info gives JSON without api_version and every other field of a panel";
                        Trouble::NotAPanel(why.into())
                    },
                    Trouble::Said,
                ));
            }
            let version = match fields.value("api_version") {
                Some(Value::Number(number)) => words(&number.to_string()),
                _ => fields.words("api_version"),
            };
            Ok(Info {
                api_version: version,
                device_serial_number: fields.words("device_serial_number"),
                device_model: fields.words("device_model"),
                firmware_version: fields.words("firmware_version"),
            })
        }
        300..=399 => {
            let to = answer.location.as_deref().map_or("elsewhere".to_owned(), words);
            Err(Trouble::NotAPanel(format!("/api/info redirects to {to}")))
        }
        408 | 425 | 429 | 500.. => Err(Trouble::Failing(answer.status, in_brackets(&answer.body))),
        status => Err(Trouble::NotAPanel(format!("/api/info gives HTTP {status}"))),
    }
}

pub(super) fn looks_like(body: &[u8]) -> &'static str {
    match body.trim_ascii_start() {
        [] => "nothing",
        [b'<', ..] => "a web page",
        [b'{', ..] => "something that begins as JSON and is none",
        _ => "something else than JSON",
    }
}
