//! The device of a remote panel: the panel API from the client's side.
//!
//! [`ask`] says what is asked and reads what comes back; it does no I/O. [`mod@line`] is how that travels: HTTP, over
//! kept connections. Devices behind a NAT take the same requests over MQTT; such a transport would stand beside
//! `line`, with a variant of [`DeviceAddress`], and change nothing else. [`Device`] puts the two together and keeps the session.
//!
//! A call ends in one of three ways. *Done*: there is an answer. *Certainly not done*: no connection, or the
//! device said no. *Perhaps done*: nothing readable came back after the request was sent. [`Trouble`] tells the
//! last two apart.

use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::batch::item::Kind;
use crate::profile::LinkId;

pub mod ask;
pub mod gate;
mod holders;
pub mod line;
mod named;
mod trouble;
mod walk;
pub mod words;

pub use named::Named;
pub use trouble::Trouble;

use ask::{Answer, DeviceItem, Info, Outgoing, Request, Said, Speech};
use gate::{Gate, MayCall, Pace, Room};
use line::Lines;
use walk::Walk;

use super::dialect::{ApiVersion, Dialect};
use super::settings::{DeviceAddress, Remote};

/// Pages of a kind of items read of a device at most.
const MAX_PAGES: u64 = 2000;

/// A page is asked for so often, with such a pause in between.
const PAGE_TRIES: u32 = 3;
const PAGE_PAUSE: Duration = Duration::from_millis(100);

/// What is learnt of a device and outlives a session.
#[derive(Debug, Clone, Copy, Default)]
pub struct Habits {
    /// How long its calls take.
    pace: Pace,
    /// Of which kinds it deletes in the other form than the one that is tried first. A body in a `DELETE` is lost on some
    /// ways, so that profiles are deleted by `POST` first; identifiers have that form in old versions only.
    deletes_otherwise: [bool; Kind::ALL.len()],
    /// Whether its paths begin otherwise than those of its version should.
    has_other_prefix: bool,
    /// Whether it knows the older path of identifiers, and not that of today.
    older_identifiers: bool,
}

/// How much of a device is read, and for how long.
#[derive(Debug, Clone, Copy)]
pub struct ReadLimits {
    /// Bytes of all pages.
    pub bytes: usize,
    /// From the first page to the last.
    pub time: Duration,
}

impl Default for ReadLimits {
    fn default() -> Self {
        Self { bytes: 16 * 1024 * 1024, time: Duration::from_mins(5) }
    }
}

/// How devices are treated.
#[derive(Debug, Clone)]
pub struct DeviceSettings {
    /// Panels that are talked to at once.
    pub concurrency: usize,
    /// Items of one call at most.
    pub chunk: usize,
    /// How long a call may take.
    pub timeouts: line::Timeouts,
    /// Between two looks at an idle device.
    pub check_every: Duration,
    /// Between two readings of all that a device holds.
    pub read_every: Duration,
    /// How much of a device is read, and for how long.
    pub read_limits: ReadLimits,
    /// What only a person can put right counts as that once it has been said for so long.
    pub person_after: Duration,
    /// From then on, between two attempts.
    pub person_pause: Duration,
    /// Whether devices that do not tell what happens at their doors are asked.
    pub pull_events: bool,
    /// With several nodes: whether this one may begin a call now.
    pub may_call: MayCall,
}

impl Default for DeviceSettings {
    fn default() -> Self {
        Self {
            concurrency: 256,
            chunk: 50,
            timeouts: line::Timeouts::default(),
            check_every: Duration::from_mins(1),
            read_every: Duration::from_hours(6),
            read_limits: ReadLimits::default(),
            person_after: Duration::from_mins(1),
            person_pause: Duration::from_secs(30),
            pull_events: false,
            may_call: MayCall::default(),
        }
    }
}

/// All that a device holds, or of one kind.
#[derive(Debug, Default)]
pub struct Held {
    /// Its items; of those without link_id only the first ones.
    pub items: Vec<DeviceItem>,
    /// Whether its identifiers are among them.
    pub identifiers: bool,
    /// How many have no link_id.
    pub unlinked: u32,
    /// How many it said that there are of a kind of which it listed fewer, and how many these were: what is not among them
    /// is perhaps there all the same.
    pub short: Option<(u64, u64)>,
    /// The time profiles that its identifiers name, those too that are not among its items or cannot be read.
    pub named: Named,
}

/// A device, and the session on it.
pub struct Device {
    panel: String,
    dialect: &'static Dialect,
    remote: Remote,
    password_md5: String,
    lines: Rc<Lines>,
    gate: Option<Rc<Gate>>,
    /// Whether it counts as offline.
    away: bool,
    habits: Habits,
    limits: ReadLimits,
    token: Option<String>,
    request_id: Option<Arc<str>>,
}

impl Device {
    /// The device of the panel with this id. `password_md5` is the MD5 hex of the account's password.
    pub fn new(
        panel: impl Into<String>,
        dialect: &'static Dialect,
        remote: Remote,
        password_md5: String,
        lines: Rc<Lines>,
    ) -> Self {
        Self {
            panel: panel.into(),
            dialect,
            remote,
            password_md5,
            lines,
            gate: None,
            away: false,
            habits: Habits::default(),
            limits: ReadLimits::default(),
            token: None,
            request_id: None,
        }
    }

    /// Its calls pass this gate, and what it holds is read within these limits.
    #[must_use]
    pub fn behind(self, gate: Rc<Gate>, limits: ReadLimits, habits: Habits) -> Self {
        Self { gate: Some(gate), limits, habits, ..self }
    }

    /// From now on the device is asked because of this request, whose id goes with every call, and counts as
    /// offline or not.
    pub fn on_behalf_of(&mut self, request_id: Option<Arc<str>>, away: bool) {
        self.request_id = request_id;
        self.away = away;
    }

    /// What was learnt of it.
    pub fn habits(&self) -> Habits {
        self.habits
    }

    async fn send(&mut self, request: &Request) -> Result<Answer, Trouble> {
        let call = match &self.remote.address {
            DeviceAddress::Http(address) => self.lines.send(address, request, self.request_id.as_deref()),
        };
        let answer = match &self.gate {
            Some(gate) => gate.pass(self.away, &mut self.habits.pace, call).await,
            None => call.await,
        };
        let answer = answer.map_err(Trouble::in_clean_words);
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

    /// Asks the device what it is; needs no session. From then on it is spoken to as the version that it says: firmware
    /// changes that, and people are wrong.
    pub async fn info(&mut self) -> Result<Info, Trouble> {
        let answer = self.send(&ask::info()).await?;
        let info = ask::read_info(&answer)?;
        let version = ApiVersion::said(&info.api_version);
        if let Some(said) = version.and_then(|version| Dialect::of(self.dialect.family, version)) {
            self.dialect = said;
        }
        Ok(info)
    }

    /// Begins a session.
    pub async fn log_in(&mut self) -> Result<(), Trouble> {
        self.token = None;
        let mut answer = self.ask_for_token().await?;
        if answer.status == 404 {
            // Firmware decides on the prefix, and versions only mostly tell which.
            self.habits.has_other_prefix = !self.habits.has_other_prefix;
            match self.ask_for_token().await {
                Ok(other) if other.status != 404 => answer = other,
                Ok(_) | Err(_) => self.habits.has_other_prefix = !self.habits.has_other_prefix,
            }
        }
        self.token = Some(ask::read_login(&answer, &self.panel, self.speech())?);
        Ok(())
    }

    async fn ask_for_token(&mut self) -> Result<Answer, Trouble> {
        let request = ask::login(self.speech(), &self.remote.username, &self.password_md5);
        self.send(&request).await
    }

    fn speech(&self) -> Speech {
        let usual = self.dialect.prefix;
        let prefix = if self.habits.has_other_prefix { usual.other() } else { usual };
        Speech { dialect: self.dialect, prefix, older_identifiers: self.habits.older_identifiers }
    }

    /// Ends the session, so that its token is dead. What comes of it changes nothing.
    pub async fn log_out(&mut self) {
        if let Some(token) = self.token.take() {
            let _ = self.send(&ask::logout(self.speech()).with_token(&token)).await; // it expires anyway
        }
    }

    /// Creates or updates these items of a kind; what it says of each, in their order, where it says anything.
    pub async fn upsert(&mut self, kind: Kind, items: &[Outgoing]) -> Result<Vec<Option<Said>>, Trouble> {
        let secrets: Vec<_> =
            items.iter().map(|item| item.secret.clone()).filter(|s| !s.is_empty()).collect();
        let blot = |words: &str| words::without_numbers(words, &secrets);
        let answer = self.ask_of_kind(kind, |speech| ask::upsert(speech, kind, items)).await;
        let answer = self.or_log_in_anew(answer).map_err(|trouble| trouble.with_words(blot))?;
        let said = ask::read_said(&answer, items.iter().map(|item| item.link_id));
        let mut said = said.map_err(|trouble| trouble.with_words(blot))?;
        if !secrets.is_empty() {
            for said in said.iter_mut().flatten() {
                said.word = blot(&said.word).into();
            }
        }
        self.name_holders(items, &mut said).await;
        Ok(said)
    }

    /// Deletes these items of a kind; what it says of each, in their order, where it says anything. A device that does not
    /// know the one form of the call is asked in the other from then on.
    pub async fn delete(&mut self, kind: Kind, links: &[LinkId]) -> Result<Vec<Option<Said>>, Trouble> {
        let otherwise = self.habits.deletes_otherwise[kind as usize];
        let by_delete = (kind == Kind::Identifier) != otherwise;
        let answer = match self.ask(ask::delete(self.speech(), kind, links, by_delete)).await {
            Err(Trouble::UnknownCall(..)) => {
                let answer = self.ask(ask::delete(self.speech(), kind, links, !by_delete)).await?;
                self.habits.deletes_otherwise[kind as usize] = !otherwise;
                answer
            }
            answer => answer?,
        };
        ask::read_said(&answer, links.iter().copied())
    }

    /// Whether it holds no item of a kind with a link_id. A device that cannot be asked that is taken to hold some; only
    /// one that `may_lack` identifiers is without these then.
    pub async fn is_empty(&mut self, kind: Kind, may_lack: bool) -> Result<bool, Trouble> {
        match self.ask_of_kind(kind, |speech| ask::linked_page(speech, kind)).await {
            Ok(answer) => {
                let page = ask::read_page(&answer)?;
                Ok(page.is_told && page.items.is_empty() && page.total.unwrap_or(0) == 0)
            }
            Err(Trouble::UnknownCall(..)) => Ok(kind == Kind::Identifier && may_lack),
            Err(trouble) => Err(trouble),
        }
    }

    /// All that it holds of these kinds, page by page. Whoever edits the device meanwhile can shift its pages, so a list of
    /// another length than the device had said is read again, unless it comes out the same. A device that `may_lack`
    /// identifiers need not know the call that lists them.
    pub async fn held(&mut self, kinds: &[Kind], may_lack: bool) -> Result<Held, Trouble> {
        let gate = self.gate.clone();
        let _reading = match &gate {
            Some(gate) => gate.reading().await,
            None => None,
        };
        let mut room = gate.as_ref().map(|gate| gate.room());
        let until = Instant::now() + self.limits.time;
        let mut all = Held::default();
        for kind in kinds {
            let held = match self.held_of_kind(*kind, room.as_mut(), until).await {
                // It knows no identifiers, and holds none then.
                Err(Trouble::UnknownCall(..)) if *kind == Kind::Identifier && may_lack => continue,
                held => held?,
            };
            all.items.extend(held.items);
            all.unlinked += held.unlinked;
            all.short = all.short.or(held.short);
            all.named.add(held.named);
            all.identifiers |= *kind == Kind::Identifier;
        }
        Ok(all)
    }

    async fn held_of_kind(
        &mut self,
        kind: Kind,
        mut room: Option<&mut Room<'_>>,
        until: Instant,
    ) -> Result<Held, Trouble> {
        let mut before = None;
        let mut walks = 0;
        while walks < 3 {
            let mut walk = Walk::default();
            let Some(said) = self.walk(kind, &mut walk, room.as_deref_mut(), until).await? else {
                drop(walk);
                if let Some(room) = &mut room {
                    room.whole(self.limits.bytes).await;
                }
                continue; // with room for all of it, so not again
            };
            if said.is_none_or(|said| said == walk.seen.len() as u64) || before.as_ref() == Some(&walk.seen) {
                let short = said.map(|said| (said, walk.listed)).filter(|(said, listed)| said > listed);
                return Ok(Held { short, ..walk.held });
            }
            before = Some(walk.seen);
            walks += 1;
        }
        Err(Trouble::Garbled("its list changes while it is read".into()))
    }

    /// A page of its list. One in the middle is asked for again where that may help, so that a long list can be read of a
    /// device that fails now and then.
    async fn page(&mut self, kind: Kind, number: u64) -> Result<Answer, Trouble> {
        let mut left = if number > 1 { PAGE_TRIES } else { 1 };
        loop {
            left -= 1;
            let answer = self.ask_of_kind(kind, |speech| ask::page(speech, kind, number)).await;
            let is_final = left == 0
                || match &answer {
                    Ok(answer) => ask::read_page(answer).is_ok(),
                    Err(Trouble::LoggedOut | Trouble::UnknownCall(..) | Trouble::TooMuch(_)) => true,
                    Err(trouble) => trouble.needs_a_person(),
                };
            if is_final {
                return answer;
            }
            tokio::time::sleep(PAGE_PAUSE).await;
        }
    }

    /// Reads pages until there is nothing more; gives how many items the device says that there are, if it says
    /// so. Nothing where there is no room for them.
    async fn walk(
        &mut self,
        kind: Kind,
        walk: &mut Walk,
        mut room: Option<&mut Room<'_>>,
        until: Instant,
    ) -> Result<Option<Option<u64>>, Trouble> {
        let mut said = None;
        for number in 1..=MAX_PAGES {
            let answer = self.page(kind, number).await;
            let answer = match kind {
                Kind::Profile => self.or_log_in_anew(answer)?,
                Kind::Identifier => answer?,
            };
            walk.bytes += answer.body.len();
            if walk.bytes > self.limits.bytes {
                let limit = self.limits.bytes;
                return Err(Trouble::TooMuch(format!("its items take more than {limit} bytes")));
            }
            if room.as_mut().is_some_and(|room| !room.grow(walk.bytes)) {
                return Ok(None);
            }
            let page = ask::read_page(&answer)?;
            if number == 1 {
                // Without a list there is at least what it does not tell.
                said = if page.is_told { page.total } else { page.total.or(Some(0)).max(Some(1)) };
            }
            let new = walk.take_page(&page, kind, self.dialect.family)?;
            let missing = page.total.is_some_and(|total| total > walk.seen.len() as u64);
            if number > 1 && new == 0 && missing && !page.items.is_empty() {
                self.token = None; // perhaps it has other firmware now, and says so when it is asked what it is
                let why = format!(
                    "page {number} of its list is one that it gave already; check its api and api_version"
                );
                return Err(Trouble::Garbled(why));
            }
            // Pages say how many there are, and how long they are; a device may be wrong in either, so it has to be
            // right in both to be believed that there are no more.
            let short = page.limit.is_some_and(|limit| (page.items.len() as u64) < limit);
            let all = page.total == Some(walk.seen.len() as u64);
            let last = page.pages.is_none_or(|pages| number >= pages);
            if new == 0 || (all && short && last) {
                return Ok(Some(said));
            }
            if Instant::now() >= until {
                let time = self.limits.time;
                return Err(Trouble::TooMuch(format!("its items take longer than {time:?}")));
            }
        }
        Err(Trouble::TooMuch(format!("its items fill more than {MAX_PAGES} pages")))
    }

    /// A page of its log, from a moment on, in Unix milliseconds.
    pub async fn log_page(&mut self, from_ms: i64, number: u64) -> Result<Vec<serde_json::Value>, Trouble> {
        let answer = self.ask(ask::log_page(self.speech(), from_ms, number)).await?;
        ask::read_log(&answer)
    }

    /// Its clock, where it has one that can be read: a courtesy, so nothing depends on it.
    pub async fn clock(&mut self) -> Result<Option<ask::Clock>, Trouble> {
        match self.ask(ask::time(self.speech())).await {
            Ok(answer) => Ok(ask::read_clock(&answer)),
            Err(
                trouble @ (Trouble::LoggedOut
                | Trouble::Unreachable(_)
                | Trouble::Certificate(_)
                | Trouble::NoTls(_)),
            ) => Err(trouble),
            Err(_) => Ok(None),
        }
    }

    /// An answer to what every panel knows: one that does not has perhaps other firmware now, so it is logged in anew.
    fn or_log_in_anew(&mut self, answer: Result<Answer, Trouble>) -> Result<Answer, Trouble> {
        answer.inspect_err(|trouble| {
            if matches!(trouble, Trouble::UnknownCall(..)) {
                self.token = None;
            }
        })
    }

    /// Asks on items of a kind. A device that does not know the one path of identifiers is asked at the other one, and at
    /// that from then on.
    async fn ask_of_kind(
        &mut self,
        kind: Kind,
        request: impl Fn(Speech) -> Request,
    ) -> Result<Answer, Trouble> {
        let usual = self.speech();
        match self.ask(request(usual)).await {
            Err(unknown @ Trouble::UnknownCall(..)) if kind == Kind::Identifier => {
                let other = Speech { older_identifiers: !usual.older_identifiers, ..usual };
                match self.ask(request(other)).await {
                    Err(Trouble::UnknownCall(..)) => Err(unknown),
                    Ok(answer) => {
                        self.habits.older_identifiers = other.older_identifiers;
                        Ok(answer)
                    }
                    trouble => trouble,
                }
            }
            answer => answer,
        }
    }

    async fn ask(&mut self, request: Request) -> Result<Answer, Trouble> {
        let token = self.token.as_deref().ok_or(Trouble::LoggedOut)?;
        let request = request.with_token(token);
        let token = token.to_owned();
        let answer = self.send(&request).await?.without(&token);
        ask::good(answer, &request, self.dialect.family, &self.panel).inspect_err(|trouble| {
            if matches!(trouble, Trouble::LoggedOut) {
                self.token = None;
            }
        })
    }
}
