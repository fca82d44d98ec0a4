//! Alerts: who is told what is wrong.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

use serde::{Deserialize, Serialize};
use tokio::sync::Notify;
use uuid::Uuid;

use super::{FieldError, Fleet, FleetError};
use crate::alert::message::{Kind, News};
use crate::alert::pace::{Progress, Tried};
use crate::alert::{
    self, Alert, MOST_ADDRESSES, MOST_PER_HOUR, SECRET_BYTES, Times, Topic, Way, Webhook, words,
};
use crate::batch::selector::{Selector, is_key};
use crate::clock;
use crate::courier::smtp::Smtp;
use crate::courier::{Outgoing, mail, webhook};
use crate::panel::Origin;
use crate::panel::device::line::trust::Configs;
use crate::panel::settings::Trust;
use crate::store::changes::alerts::{AlertSet, AlertSetting};

/// How alerts are sent.
#[derive(Clone)]
pub struct Sending {
    /// The mail server, where there is one.
    pub smtp: Option<Arc<Smtp>>,
    /// How often and how long.
    pub times: Times,
    /// Wakes the courier.
    pub wake: Arc<Notify>,
}

/// An alert that is wanted. Never logged: it has no `Debug`, since it may have a secret.
#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WantedAlert {
    /// Where a webhook goes; or else
    #[serde(default)]
    pub webhook: Option<String>,
    /// whom a mail goes to.
    #[serde(default)]
    pub mail: Vec<String>,
    /// The webhook's secret; one is made without.
    #[serde(default)]
    pub secret: Option<String>,
    /// The certificates that vouch for the webhook's address, PEM.
    #[serde(default)]
    pub tls_ca: Option<String>,
    /// The SHA-256 of the one certificate that it may show, in hex.
    #[serde(default)]
    pub tls_pin: Option<String>,
    /// What it is for; everything without.
    #[serde(default)]
    pub on: Vec<String>,
    /// How long a panel is offline before it is told, in seconds.
    #[serde(default)]
    pub after_s: Option<u64>,
    /// Which panels it is for; all without.
    #[serde(default)]
    pub selector: Option<String>,
    /// Messages an hour at most.
    #[serde(default)]
    pub per_hour: Option<u32>,
}

/// An alert as it is, and how it fares.
pub struct ShownAlert {
    /// Its name.
    pub name: String,
    /// What it is.
    pub alert: Alert,
    /// Where it goes, where it is a webhook.
    pub webhook: Option<Webhook>,
    /// How it fares.
    pub progress: Progress,
    /// Messages that are to go out.
    pub unsent: usize,
}

/// What came of setting an alert.
pub struct SetAlert {
    /// It.
    pub shown: ShownAlert,
    /// Whether it is new.
    pub is_new: bool,
    /// The secret that was made for it, which is told this once.
    pub secret: Option<String>,
}

/// What came of trying an alert.
pub struct Tested {
    /// Whether it went out.
    pub sent: bool,
    /// What was said to it.
    pub said: String,
    /// How long it took, in milliseconds.
    pub took_ms: u64,
}

/// The longest time that a panel may be offline before it is told, in seconds: thirty days.
const MOST_AFTER_S: u64 = 30 * 86_400;

impl WantedAlert {
    /// The alert, or all that is wrong with what is wanted. A webhook has a secret where one is given.
    fn read(self, name: &str, actor: &str) -> Result<(Alert, Option<Webhook>), FleetError> {
        let Self { webhook, mail, secret, tls_ca, tls_pin, on, after_s, selector, per_hour } = self;
        let mut errors = Vec::new();
        let mut wrong = |path: &str, message: String| errors.push(FieldError::at(path, message));
        if !is_key(name) || matches!(name, "." | "..") || name.contains('/') {
            wrong("/name", "a name is 1 to 63 letters, digits and -_.".to_owned());
        }
        match (&webhook, mail.len()) {
            (Some(_), 1..) => wrong("", "an alert is a webhook or a mail; make two".to_owned()),
            (None, 0) => wrong("", "give a webhook, a URL, or mail, a list of addresses".to_owned()),
            _ => {}
        }
        if mail.len() > MOST_ADDRESSES {
            wrong("/mail", format!("at most {MOST_ADDRESSES} addresses"));
        }
        for (i, address) in mail.iter().enumerate().take(MOST_ADDRESSES) {
            if !mail::is_address(address) {
                wrong(&format!("/mail/{i}"), "an address such as ops@example.org".to_owned());
            }
        }
        if let Some(Err(takes)) = webhook.as_deref().map(webhook::check_url) {
            wrong("/webhook", format!("it takes {takes}"));
        }
        for (path, given) in [("/secret", &secret), ("/tls_ca", &tls_ca), ("/tls_pin", &tls_pin)] {
            if given.is_some() && webhook.is_none() {
                wrong(path, "it is for a webhook".to_owned());
            }
        }
        if secret.as_deref().is_some_and(|secret| alert::key_of(secret).is_none()) {
            wrong(
                "/secret",
                "whsec_ and 24 to 64 random bytes in base64; without one it is made here".to_owned(),
            );
        }
        if tls_ca.is_some() && tls_pin.is_some() {
            wrong("/tls_pin", "not beside tls_ca".to_owned());
        }
        let is_secure = webhook.as_deref().is_none_or(|url| url.starts_with("https://"));
        if (tls_ca.is_some() || tls_pin.is_some()) && !is_secure {
            wrong("/webhook", "tls_ca and tls_pin are for https://".to_owned());
        }
        if tls_ca.as_deref().is_some_and(|pem| Trust::from_pem(pem).is_none()) {
            wrong("/tls_ca", "one or more certificates in PEM".to_owned());
        }
        if tls_pin.as_deref().is_some_and(|pin| Trust::from_pin(pin).is_none()) {
            wrong("/tls_pin", "the SHA-256 of a certificate, 64 hex digits".to_owned());
        }
        let mut topics = BTreeSet::new();
        for (i, word) in on.iter().enumerate().take(100) {
            match Topic::parse(word) {
                Some(topic) => _ = topics.insert(topic),
                None => {
                    wrong(
                        &format!("/on/{i}"),
                        format!("one of {}", Topic::ALL.map(Topic::as_str).join(", ")),
                    );
                }
            }
        }
        if topics.is_empty() {
            topics.extend(Topic::ALL);
        }
        let after_s = after_s.unwrap_or(alert::AFTER.as_secs());
        if !(1..=MOST_AFTER_S).contains(&after_s) {
            wrong("/after_s", "one second to thirty days".to_owned());
        }
        let per_hour = per_hour.unwrap_or(alert::PER_HOUR);
        if !(1..=MOST_PER_HOUR).contains(&per_hour) {
            wrong("/per_hour", format!("1 to {MOST_PER_HOUR}"));
        }
        if let Some(Err(error)) = selector.as_deref().map(Selector::parse) {
            wrong("/selector", error.to_string());
        }
        if !errors.is_empty() {
            return Err(FleetError::Invalid(errors));
        }
        let alert = Alert {
            mail,
            on: topics,
            after_ms: after_s * 1000,
            selector,
            per_hour,
            created_at_ms: clock::now_ms(),
            created_by: actor.to_owned(),
            revision: Uuid::new_v4(),
        };
        let webhook = webhook.map(|url| Webhook { url, secret: secret.unwrap_or_default(), tls_ca, tls_pin });
        Ok((alert, webhook))
    }
}

impl Fleet {
    /// The alerts, by name.
    pub async fn alerts(&self) -> Result<Vec<ShownAlert>, FleetError> {
        self.read(|snapshot| {
            let names = snapshot.alerts()?.into_iter();
            names
                .map(|(name, alert)| {
                    Ok(ShownAlert {
                        webhook: snapshot.alert_webhook(&name)?,
                        progress: snapshot.alert_progress(&name)?,
                        unsent: snapshot.unsent(&name)?,
                        name,
                        alert,
                    })
                })
                .collect::<Result<Vec<_>, crate::store::StoreError>>()
        })
        .await
    }

    async fn alert(&self, name: &str) -> Result<ShownAlert, FleetError> {
        let alerts = self.alerts().await?;
        alerts.into_iter().find(|alert| alert.name == name).ok_or_else(|| no_alert(name))
    }

    /// Makes an alert, or changes the one of this name, which keeps its secret as long as it goes to the same URL.
    pub async fn set_alert(
        &self,
        name: &str,
        wanted: WantedAlert,
        only_new: bool,
        origin: &Origin,
    ) -> Result<SetAlert, FleetError> {
        let given = wanted.secret.is_some();
        let (alert, mut webhook) = wanted.read(name, &origin.actor)?;
        let before = self.alert(name).await.ok();
        if only_new && before.is_some() {
            return Err(taken(name));
        }
        if alert.way() == Way::Mail && self.alert_sending.smtp.is_none() {
            let why = "this server has no mail server: start it with --smtp and --smtp-from";
            return Err(FleetError::invalid("/mail", why));
        }
        let (mut made, mut keeps) = (None, None);
        if let Some(webhook) = webhook.as_mut().filter(|_| !given) {
            let kept =
                before.as_ref().and_then(|before| Some((before.webhook.as_ref()?, before.alert.revision)));
            if let Some((kept, revision)) = kept.filter(|(kept, _)| kept.url == webhook.url) {
                webhook.secret.clone_from(&kept.secret);
                keeps = Some(revision);
            } else {
                let mut key = [0; SECRET_BYTES];
                getrandom::fill(&mut key).map_err(|error| FleetError::Internal(Box::new(error)))?;
                webhook.secret = alert::secret_of(&key);
                made = Some(webhook.secret.clone());
            }
        }
        let place = match &webhook {
            Some(webhook) => webhook.place(),
            None => alert.mail.join(", "),
        };
        let audit = origin.audit("alert.set", format!("{name} {place}"));
        let setting = AlertSetting { name: name.to_owned(), alert, webhook, only_new, keeps };
        let set = self.store.change(move |tables| tables.set_alert(&setting, &audit)).await?;
        self.alert_sending.wake.notify_one();
        let is_new = match set {
            AlertSet::Made => true,
            AlertSet::Replaced => false,
            AlertSet::Taken => return Err(taken(name)),
            AlertSet::TooMany => {
                return Err(FleetError::Conflict(format!("there are {} alerts already", alert::MOST)));
            }
            AlertSet::Overtaken => {
                return Err(FleetError::Conflict(
                    "somebody else has changed this alert meanwhile; try again".into(),
                ));
            }
        };
        let shown = super::read_after_change(async || self.alert(name).await).await?;
        Ok(SetAlert { shown, is_new, secret: made })
    }

    /// Removes an alert with what waits to go out.
    pub async fn remove_alert(&self, name: &str, origin: &Origin) -> Result<(), FleetError> {
        let (audit, removed) = (origin.audit("alert.remove", name), name.to_owned());
        let removed = self.store.change(move |tables| tables.remove_alert(&removed, &audit)).await?;
        self.alert_sending.wake.notify_one();
        if removed { Ok(()) } else { Err(no_alert(name)) }
    }

    /// Sends a message of an alert now, once, and says what came of it.
    pub async fn test_alert(&self, name: &str, origin: &Origin) -> Result<Tested, FleetError> {
        let ShownAlert { alert, webhook, .. } = self.alert(name).await?;
        let made_ms = clock::now_ms();
        let news = News { kind: Kind::Test, count: 0, about: Vec::new(), sentences: Vec::new() };
        let message = words::message(&news, name, Uuid::new_v4(), made_ms);
        let out = Outgoing { alert: &alert, webhook: webhook.as_ref(), message: &message, made_ms };
        let began = Instant::now();
        let Sending { smtp, times, .. } = &self.alert_sending;
        let sent = out.send(smtp.as_deref(), &mut BTreeSet::new(), &Configs::default(), times.patience).await;
        let took_ms = began.elapsed().as_millis() as u64;
        let (sent, said) = match sent {
            Ok(said) => (true, said),
            Err(error) => (false, error.why),
        };
        let tried = Tried { at_ms: clock::now_ms(), kind: Kind::Test, sent, said: said.clone() };
        let (audit, tested) = (origin.audit("alert.test", name), name.to_owned());
        self.store.change(move |tables| tables.alert_was_tested(&tested, &tried, &audit)).await?;
        Ok(Tested { sent, said, took_ms })
    }
}

fn no_alert(name: &str) -> FleetError {
    FleetError::NotFound(format!("alert {}", words::said(name)))
}

fn taken(name: &str) -> FleetError {
    FleetError::Conflict(format!(
        "there is an alert {name} already; remove it first, or give this one another name"
    ))
}
