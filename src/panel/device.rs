//! The device of a remote panel: the panel API from the client's side.
//!
//! [`ask`] says what is asked and reads what comes back; it does no I/O. [`mod@line`] is how that travels: HTTP, over
//! kept connections. Devices behind a NAT take the same requests over MQTT; such a transport would stand beside
//! `line` and change nothing else. [`Device`] puts the two together and keeps the session.
//!
//! A call ends in one of three ways. *Done*: there is an answer. *Certainly not done*: no connection, or the
//! device said no. *Perhaps done*: nothing readable came back after the request was sent. [`Trouble`] tells the
//! last two apart.

use std::rc::Rc;
use std::sync::Arc;

use crate::profile::LinkId;
use crate::profile::rule::Family;

pub mod ask;
pub mod line;

use ask::{Answer, DevicePage, DeviceProfile, Info, PAGE, Request, Said};
use line::Lines;

use super::settings::Remote;

/// Pages read of a device at most: 100,000 profiles.
const MAX_PAGES: u64 = 2000;

/// Why a call to a device came to nothing. Its text says what to do about it, and holds no secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Trouble {
    /// No connection: certainly not done.
    #[error("it cannot be reached: {0}; check that it is switched on, and its url")]
    Unreachable(String),
    /// Its certificate is not one to trust: certainly not done.
    #[error("its certificate cannot be trusted: {0}")]
    Certificate(String),
    /// Nothing came back after the request was sent: perhaps done.
    #[error("it did not answer: {0}")]
    NoAnswer(String),
    /// What came back cannot be read: perhaps done.
    #[error("its answer cannot be read: {0}")]
    Garbled(String),
    /// It says that it cannot just now: perhaps done.
    #[error("it answers with HTTP {0}{1}")]
    Failing(u16, String),
    /// What answers there is no panel.
    #[error("what answers there is no panel: {0}; check its url")]
    NotAPanel(String),
    /// It does not know the call.
    #[error("it does not know the call {0}; check its api, which is {1} here")]
    UnknownCall(String, &'static str),
    /// It does not know the token (any more): certainly not done. One new login is worth a try.
    #[error("it does not know its own token any more")]
    LoggedOut,
    /// Wrong user name or password.
    #[error(
        "it refuses the user name or the password; set them with `panelsync panel set {0} --username NAME --password-stdin`"
    )]
    WrongPassword(String),
    /// The account may not change profiles.
    #[error(
        "the account may not change profiles; set an administrator's with `panelsync panel set {0} --username NAME --password-stdin`"
    )]
    NotAdministrator(String),
    /// It refuses the call as a whole, in these words: certainly not done.
    #[error("it refuses: {1} (HTTP {0})")]
    Refused(u16, String),
    /// An encrypted connection to it does not come about: certainly not done.
    #[error("no encrypted connection to it comes about: {0}")]
    NoTls(String),
}

impl Trouble {
    /// Whether only a person can put it right, so that trying again soon is of no use.
    pub fn needs_a_person(&self) -> bool {
        matches!(self, Self::WrongPassword(_) | Self::NotAdministrator(_) | Self::UnknownCall(..))
    }
}

/// A device, and the session on it.
pub struct Device {
    panel: String,
    family: Family,
    remote: Remote,
    password_md5: String,
    lines: Rc<Lines>,
    token: Option<String>,
    request_id: Option<Arc<str>>,
}

impl Device {
    /// The device of the panel with this id. `password_md5` is the MD5 hex of the account's password.
    pub fn new(
        panel: impl Into<String>,
        family: Family,
        remote: Remote,
        password_md5: String,
        lines: Rc<Lines>,
    ) -> Self {
        Self { panel: panel.into(), family, remote, password_md5, lines, token: None, request_id: None }
    }

    /// From now on the device is asked because of this request; its id goes with every call.
    pub fn on_behalf_of(&mut self, request_id: Option<Arc<str>>) {
        self.request_id = request_id;
    }

    async fn send(&self, request: &Request) -> Result<Answer, Trouble> {
        let answer = self.lines.send(&self.remote, request, self.request_id.as_deref()).await;
        tracing::debug!(
            panel.id = %self.panel,
            request.id = self.request_id.as_deref().unwrap_or_default(),
            device.call = %format_args!("{:?} {}", request.method, request.bare_path()),
            device.status = answer.as_ref().map_or(0, |answer| answer.status),
            "a device was asked"
        );
        answer
    }

    /// Whether there is a session, as far as is known.
    pub fn logged_in(&self) -> bool {
        self.token.is_some()
    }

    /// Asks the device what it is; needs no session.
    pub async fn info(&self) -> Result<Info, Trouble> {
        let answer = self.send(&ask::info()).await?;
        ask::read_info(&answer)
    }

    /// Begins a session.
    pub async fn log_in(&mut self) -> Result<(), Trouble> {
        self.token = None;
        let request = ask::login(&self.remote.username, &self.password_md5);
        let answer = self.send(&request).await?;
        self.token = Some(ask::read_login(&answer, &self.panel)?);
        Ok(())
    }

    /// Ends the session, so that its token is dead. What comes of it changes nothing.
    pub async fn log_out(&mut self) {
        if let Some(token) = self.token.take() {
            let _ = self.send(&ask::logout().with_token(&token)).await; // it expires anyway
        }
    }

    /// Creates or updates these profiles; one answer each, in their order.
    pub async fn upsert(&mut self, items: &[(LinkId, Box<str>)]) -> Result<Vec<Said>, Trouble> {
        let answer = self.ask(ask::upsert(self.family, items)).await?;
        ask::read_said(&answer, items.iter().map(|(link, _)| *link))
    }

    /// Deletes these profiles; one answer each, in their order.
    pub async fn delete(&mut self, links: &[LinkId]) -> Result<Vec<Said>, Trouble> {
        let answer = self.ask(ask::delete(self.family, links)).await?;
        ask::read_said(&answer, links.iter().copied())
    }

    /// How many profiles with a link_id it holds.
    pub async fn count(&mut self) -> Result<u64, Trouble> {
        let answer = self.ask(ask::linked_page(self.family)).await?;
        ask::read_page(&answer, self.family).map(|page| page.total)
    }

    /// All its profiles, page by page. Whoever edits the device meanwhile can shift them, so a list of another
    /// length than the device had said is read again.
    pub async fn profiles(&mut self) -> Result<Vec<DeviceProfile>, Trouble> {
        for _ in 0..3 {
            let first = self.page(1).await?;
            let pages = first.total.div_ceil(PAGE);
            if pages > MAX_PAGES {
                return Err(Trouble::Garbled(format!("it says that it holds {} profiles", first.total)));
            }
            let mut profiles = first.profiles;
            for number in 2..=pages {
                profiles.extend(self.page(number).await?.profiles);
            }
            if profiles.len() as u64 == first.total {
                return Ok(profiles);
            }
        }
        Err(Trouble::Garbled("its list changes while it is read".into()))
    }

    async fn page(&mut self, number: u64) -> Result<DevicePage, Trouble> {
        let answer = self.ask(ask::page(self.family, number)).await?;
        ask::read_page(&answer, self.family)
    }

    /// Its clock, in Unix seconds.
    pub async fn time(&mut self) -> Result<i64, Trouble> {
        let answer = self.ask(ask::time()).await?;
        ask::read_time(&answer)
    }

    async fn ask(&mut self, request: Request) -> Result<Answer, Trouble> {
        let token = self.token.as_deref().ok_or(Trouble::LoggedOut)?;
        let request = request.with_token(token);
        let answer = self.send(&request).await?;
        ask::good(answer, &request, self.family, &self.panel).inspect_err(|trouble| {
            if matches!(trouble, Trouble::LoggedOut) {
                self.token = None;
            }
        })
    }
}
