//! How long simulated panels take.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// How long an answer takes.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Latency {
    /// At once.
    #[default]
    None,
    /// Always so long.
    Fixed(Duration),
    /// Evenly spread from the one to the other.
    Between(Duration, Duration),
    /// Exponentially spread around this mean.
    Around(Duration),
}

impl std::str::FromStr for Latency {
    type Err = String;

    /// `50ms`, `20ms..200ms` or `~50ms`.
    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(mean) = text.strip_prefix('~') {
            return Ok(Self::Around(duration(mean)?));
        }
        if let Some((from, to)) = text.split_once("..") {
            let (from, to) = (duration(from)?, duration(to)?);
            return if from <= to {
                Ok(Self::Between(from, to))
            } else {
                Err(format!("{text:?} runs backwards"))
            };
        }
        Ok(match duration(text)? {
            Duration::ZERO => Self::None,
            fixed => Self::Fixed(fixed),
        })
    }
}

/// Milliseconds or seconds, such as `50ms` or `2s`.
pub fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is no time such as 50ms, 2s, 20ms..200ms or ~50ms");
    let (number, factor) = match text.strip_suffix("ms") {
        Some(number) => (number, 1),
        None => (text.strip_suffix('s').ok_or_else(wrong)?, 1000),
    };
    let number: u64 = number.trim().parse().map_err(|_| wrong())?;
    let ms = number.checked_mul(factor).filter(|ms| *ms <= 3_600_000).ok_or_else(wrong)?;
    Ok(Duration::from_millis(ms))
}

impl TryFrom<String> for Latency {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Latency> for String {
    fn from(latency: Latency) -> Self {
        match latency {
            Latency::None => "0ms".to_owned(),
            Latency::Fixed(time) => format!("{}ms", time.as_millis()),
            Latency::Between(from, to) => format!("{}ms..{}ms", from.as_millis(), to.as_millis()),
            Latency::Around(mean) => format!("~{}ms", mean.as_millis()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn latencies_read_as_they_are_written() {
        for text in ["0ms", "50ms", "20ms..200ms", "~50ms"] {
            assert_eq!(String::from(text.parse::<Latency>().expect("a latency")), text);
        }
        assert_eq!("2s".parse(), Ok(Latency::Fixed(Duration::from_secs(2))));
        for wrong in ["", "5", "ms", "-1ms", "9ms..1ms", "99999999999999999999s", "4000s", "~"] {
            assert!(wrong.parse::<Latency>().is_err(), "{wrong}");
        }
    }
}
