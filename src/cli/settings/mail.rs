//! The mail server of alerts, from what was given.

use std::path::PathBuf;

use clap::ValueEnum;
use lettre::message::Mailbox;
use serde::Deserialize;

use super::ConfigError;
use crate::config::Secret;
use crate::courier::mail::is_address;
use crate::courier::smtp::{Place, Smtp, Tls};
use crate::panel::settings::Trust;

/// Whether mail is encrypted on its way to the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SmtpTls {
    /// Always
    Required,
    /// Where the server can
    Offered,
    /// Never: passwords and mails travel in clear
    Off,
}

/// What was given of it.
pub(super) struct Given {
    pub(super) url: Option<String>,
    pub(super) password_file: Option<PathBuf>,
    pub(super) from: Option<String>,
    pub(super) tls: Option<SmtpTls>,
    pub(super) ca_file: Option<PathBuf>,
}

impl Given {
    /// The server, where one was given.
    pub(super) fn settings(self) -> Result<Option<Smtp>, ConfigError> {
        let Self { url, password_file, from, tls, ca_file } = self;
        let Some(url) = url else {
            if password_file.is_some() || from.is_some() || tls.is_some() || ca_file.is_some() {
                return Err(ConfigError::Range("what begins with smtp_", "an smtp with it: the mail server"));
            }
            return Ok(None);
        };
        let place =
            Place::parse(&url).map_err(|takes| ConfigError::Mail("smtp", format!("it takes {takes}")))?;
        let tls = match (place.from_start, tls) {
            (true, None) => Tls::FromStart,
            (true, Some(_)) => {
                return Err(ConfigError::Range("smtp_tls", "smtp:// with it; smtps:// is encrypted always"));
            }
            (false, Some(SmtpTls::Offered)) => Tls::Offered,
            (false, Some(SmtpTls::Off)) => Tls::Off,
            (false, None) if place.is_loopback() => Tls::Offered,
            (false, Some(SmtpTls::Required) | None) => Tls::Required,
        };
        let password = password(password_file)?;
        if password.is_some() != place.user.is_some() {
            let takes = if password.is_some() {
                "a user beside the password, as in smtp://alerts@mail.example"
            } else {
                "a password for its user, in PANELSYNC_SMTP_PASSWORD or --smtp-password-file"
            };
            return Err(ConfigError::Range("smtp", takes));
        }
        let from = from.or_else(|| place.user.clone().filter(|user| is_address(user)));
        let from: Mailbox = from
            .ok_or(ConfigError::Range("smtp", "an smtp_from with it: whom mails are from"))?
            .parse()
            .map_err(|_| ConfigError::Range("smtp_from", "an address such as alerts@example.org"))?;
        let trust = match ca_file {
            Some(file) => Trust::from_file(&file).map_err(|why| ConfigError::Mail("smtp_ca_file", why))?,
            None => Trust::System,
        };
        let Place { host, port, user, .. } = place;
        Ok(Some(Smtp { host, port, tls, user, password, from, trust }))
    }
}

/// From the environment or a file, since the process list shows every flag.
fn password(file: Option<PathBuf>) -> Result<Option<Secret>, ConfigError> {
    let password = match (std::env::var("PANELSYNC_SMTP_PASSWORD").ok(), file) {
        (Some(password), _) => password,
        (None, Some(path)) => match std::fs::read_to_string(&path) {
            Ok(text) => text.trim_end_matches(['\r', '\n']).to_owned(),
            Err(error) => {
                return Err(ConfigError::Mail("smtp_password_file", format!("{}: {error}", path.display())));
            }
        },
        (None, None) => return Ok(None),
    };
    if password.is_empty() {
        return Err(ConfigError::Range("the password of the mail server", "at least one character"));
    }
    Ok(Some(Secret(password)))
}
