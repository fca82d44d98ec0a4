//! The clock of a device, and the zone in which it shows the time. Both decide when a door opens.

use super::{Answer, Fields, Request, Speech, plain};
use crate::clock;

/// The longest text that is a zone, in characters.
const MAX_ZONE: usize = 64;

/// What a device says of its clock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Clock {
    /// How far it is ahead of ours, in seconds.
    pub ahead_s: i64,
    /// Its zone, as the device says it: an IANA name, or `UTC+03:00`.
    pub zone: Option<Box<str>>,
}

/// What time is it?
pub fn time(speech: Speech) -> Request {
    Request::get(speech.path("/device/time"))
}

/// The device's clock, where its time is a whole number of Unix seconds.
pub fn read_clock(answer: &Answer) -> Option<Clock> {
    let fields = Fields::read(&answer.body).ok()?;
    let ahead_s = fields.value("time_unix")?.as_i64()?.saturating_sub(clock::now_ms() / 1000);
    let zone = fields.value("timezone").filter(serde_json::Value::is_string).map(|zone| plain(&zone));
    let zone = zone.filter(|zone| !zone.is_empty() && zone.chars().count() <= MAX_ZONE);
    Some(Clock { ahead_s, zone: zone.map(Into::into) })
}
