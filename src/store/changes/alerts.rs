//! Changes to alerts: what they are, what they have told, and what is to go out.

use redb::{ReadableTable, ReadableTableMetadata};
use uuid::Uuid;

use crate::alert::message::{Kind, News, Unsent};
use crate::alert::pace::{Measure, Progress};
use crate::alert::{Alert, MOST, Webhook};
use crate::batch::{BatchRecord, BatchState};
use crate::store::json::{decode, encode};
use crate::store::records::AuditRecord;
use crate::store::seal::Seal;
use crate::store::tables::Tables;
use crate::store::{BatchSeq, PanelNo, StoreError};

/// What came of setting an alert.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AlertSet {
    /// It is new.
    Made,
    /// It took the place of one of the same name.
    Replaced,
    /// There is one of this name, and none was to be replaced.
    Taken,
    /// There are as many as there may be.
    TooMany,
    /// It is to keep the secret of the one that it replaces, which is another one by now, or gone.
    Overtaken,
}

/// An alert to be set.
pub struct AlertSetting {
    /// Its name.
    pub name: String,
    /// What it is.
    pub alert: Alert,
    /// Where it goes, where it is a webhook.
    pub webhook: Option<Webhook>,
    /// Only where there is none of this name.
    pub only_new: bool,
    /// The revision whose secret it keeps.
    pub keeps: Option<Uuid>,
}

/// The number of a topic, and a panel.
pub type ToldKey = (u8, PanelNo);

/// What an alert tells, and what it has told then.
#[derive(Clone)]
pub struct Telling {
    /// The alert's name.
    pub alert: String,
    /// As it was when it was looked at.
    pub revision: Uuid,
    /// What is told of panels from now on; nothing where it is forgotten.
    pub told: Vec<(ToldKey, Option<Vec<u8>>)>,
    /// What is new.
    pub news: Vec<News>,
    /// Up to which batch it was looked, and which of those have not ended.
    pub batches: Option<(BatchSeq, Vec<BatchSeq>)>,
}

/// What came of telling.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ToldNow {
    /// Whether the alert is as it was looked at. If not, nothing was done.
    pub done: bool,
    /// Messages that are to go out.
    pub made: u64,
    /// Messages that were held back.
    pub held_back: u64,
    /// Whether a digest is owed.
    pub owes_digest: bool,
}

/// What came of trying to send a message.
#[derive(Debug, Clone)]
pub struct Attempt {
    /// The alert's name.
    pub alert: String,
    /// Its revision.
    pub revision: Uuid,
    /// The message's number.
    pub number: u64,
    /// Of what it is.
    pub kind: Kind,
    /// When it was tried, in Unix milliseconds.
    pub at_ms: i64,
    /// What was said to it.
    pub said: String,
    /// What becomes of it.
    pub fate: Fate,
}

/// What becomes of a message after a try.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It went out.
    Sent,
    /// It is tried again.
    Again,
    /// It is given up.
    GivenUp,
}

/// What was sealed of a webhook.
pub(in crate::store) fn opened_webhook(
    seal: &Seal,
    name: &str,
    sealed: &[u8],
) -> Result<Webhook, StoreError> {
    decode(&seal.open_in("alert_webhooks", name.as_bytes(), sealed)?, "webhook")
}

impl Tables<'_> {
    /// Sets an alert. What ended before it was made it does not tell; what one of the same name has told stays told.
    pub fn set_alert(&mut self, setting: &AlertSetting, audit: &AuditRecord) -> Result<AlertSet, StoreError> {
        let AlertSetting { name, alert, webhook, only_new, keeps } = setting;
        let before = self.alert(name)?;
        if before.is_some() && *only_new {
            return Ok(AlertSet::Taken);
        }
        if keeps.is_some() && before.as_ref().map(|before| before.revision) != *keeps {
            return Ok(AlertSet::Overtaken);
        }
        if before.is_none() && self.alerts.len()? >= MOST as u64 {
            return Ok(AlertSet::TooMany);
        }
        self.alerts.insert(name.as_str(), encode(alert).as_slice())?;
        match webhook {
            Some(webhook) => self.seal_webhook(name, webhook)?,
            None => self.alert_webhooks.remove(name.as_str())?.map_or((), |_| ()),
        }
        if before.is_none() {
            let (batch, open) = self.batches_so_far()?;
            let progress = Progress { batch, open, ..Progress::default() };
            self.set_alert_progress(name, &progress)?;
        }
        self.audit(audit)?;
        Ok(if before.is_some() { AlertSet::Replaced } else { AlertSet::Made })
    }

    /// Removes an alert with what waits to go out. Says whether there was one.
    pub fn remove_alert(&mut self, name: &str, audit: &AuditRecord) -> Result<bool, StoreError> {
        if self.alerts.remove(name)?.is_none() {
            return Ok(false);
        }
        self.forget_alert(name)?;
        self.audit(audit)?;
        Ok(true)
    }

    fn forget_alert(&mut self, name: &str) -> Result<(), StoreError> {
        self.alert_webhooks.remove(name)?;
        self.alert_progress.remove(name)?;
        self.alert_told.retain_in((name, 0, 0)..=(name, u8::MAX, PanelNo::MAX), |_, _| false)?;
        self.alert_unsent.retain_in((name, 0)..=(name, u64::MAX), |_, _| false)?;
        Ok(())
    }

    /// Makes messages of what is new, as many as there may be, in the same breath with what is told by then.
    pub fn tell_alert(
        &mut self,
        telling: &Telling,
        hour_ms: i64,
        now_ms: i64,
    ) -> Result<ToldNow, StoreError> {
        let Telling { alert: name, revision, told, news, batches } = telling;
        let Some(alert) = self.alert(name)?.filter(|alert| alert.revision == *revision) else {
            return Ok(ToldNow::default());
        };
        for ((topic, panel), told) in told {
            let key = (name.as_str(), *topic, *panel);
            match told {
                // A panel that was removed in between takes nothing with it that comes later.
                Some(told) if self.panels.get(*panel)?.is_some() => {
                    self.alert_told.insert(key, told.as_slice())?;
                }
                Some(_) | None => {
                    self.alert_told.remove(key)?;
                }
            }
        }
        let mut progress = self.alert_progress(name)?;
        let held_before = progress.held_back;
        let mut unsent = Vec::new();
        for entry in self.alert_unsent.range((name.as_str(), 0)..=(name.as_str(), u64::MAX))? {
            unsent.push(entry?.0.value().1);
        }
        let measure = Measure { alert: name, per_hour: alert.per_hour, hour_ms, now_ms };
        let messages = progress.admit(news.clone(), unsent.len(), measure);
        if let Some((batch, open)) = batches {
            progress.batch = *batch;
            progress.open.clone_from(open);
        }
        let first = unsent.last().map_or(1, |last| last + 1);
        let made = messages.len() as u64;
        for (number, message) in (first..).zip(messages) {
            let unsent = Unsent { message, made_ms: now_ms, tries: 0 };
            self.alert_unsent.insert((name.as_str(), number), encode(&unsent).as_slice())?;
        }
        let owes_digest = progress.owes_digest();
        self.set_alert_progress(name, &progress)?;
        Ok(ToldNow { done: true, made, held_back: progress.held_back - held_before, owes_digest })
    }

    /// Keeps what came of trying to send a message. Nothing where the alert is another one by now.
    pub fn alert_was_tried(&mut self, attempt: &Attempt) -> Result<(), StoreError> {
        let Attempt { alert: name, revision, number, kind, at_ms, said, fate } = attempt;
        if self.alert(name)?.is_none_or(|alert| alert.revision != *revision) {
            return Ok(());
        }
        let key = (name.as_str(), *number);
        let unsent = self.alert_unsent.get(key)?.map(|unsent| decode::<Unsent>(unsent.value(), "message"));
        let Some(unsent) = unsent.transpose()? else { return Ok(()) };
        let mut progress = self.alert_progress(name)?;
        match fate {
            Fate::Sent => progress.sent(*kind, said.clone(), *at_ms),
            Fate::Again | Fate::GivenUp => {
                progress.not_sent(*kind, said.clone(), *fate == Fate::GivenUp, *at_ms);
            }
        }
        if *fate == Fate::Again {
            let unsent = Unsent { tries: unsent.tries.saturating_add(1), ..unsent };
            self.alert_unsent.insert(key, encode(&unsent).as_slice())?;
        } else {
            self.alert_unsent.remove(key)?;
        }
        self.set_alert_progress(name, &progress)
    }

    /// Keeps that somebody tried an alert, and what came of it.
    pub fn alert_was_tested(
        &mut self,
        name: &str,
        tried: &crate::alert::pace::Tried,
        audit: &AuditRecord,
    ) -> Result<(), StoreError> {
        if self.alerts.get(name)?.is_some() {
            let progress = Progress { last: Some(tried.clone()), ..self.alert_progress(name)? };
            self.set_alert_progress(name, &progress)?;
        }
        self.audit(audit)
    }

    fn alert(&self, name: &str) -> Result<Option<Alert>, StoreError> {
        self.alerts.get(name)?.map(|alert| decode(alert.value(), "alert")).transpose()
    }

    fn alert_progress(&self, name: &str) -> Result<Progress, StoreError> {
        let progress = self.alert_progress.get(name)?;
        let progress =
            progress.map(|progress| decode(progress.value(), "progress of an alert")).transpose()?;
        Ok(progress.unwrap_or_default())
    }

    fn set_alert_progress(&mut self, name: &str, progress: &Progress) -> Result<(), StoreError> {
        self.alert_progress.insert(name, encode(progress).as_slice())?;
        Ok(())
    }

    /// The last batch, and those that have not ended.
    fn batches_so_far(&self) -> Result<(BatchSeq, Vec<BatchSeq>), StoreError> {
        let (mut last, mut open) = (0, Vec::new());
        for entry in self.batches.iter()? {
            let (seq, record) = entry?;
            last = seq.value();
            if decode::<BatchRecord>(record.value(), "batch")
                .is_ok_and(|batch| batch.state == BatchState::Running)
            {
                open.push(last);
            }
        }
        Ok((last, open))
    }

    fn seal_webhook(&mut self, name: &str, webhook: &Webhook) -> Result<(), StoreError> {
        let sealed = self.memory.seal.seal_in("alert_webhooks", name.as_bytes(), &encode(webhook))?;
        self.alert_webhooks.insert(name, sealed.as_slice())?;
        Ok(())
    }

    /// What was told of a panel that goes is forgotten.
    pub(in crate::store) fn forget_told(&mut self, panel: PanelNo) -> Result<(), StoreError> {
        if self.alert_told.is_empty()? {
            return Ok(());
        }
        let mut names = Vec::new();
        for entry in self.alerts.iter()? {
            names.push(entry?.0.value().to_owned());
        }
        for name in names {
            for topic in crate::alert::Topic::ALL {
                self.alert_told.remove((name.as_str(), topic as u8, panel))?;
            }
        }
        Ok(())
    }

    /// Seals all webhooks anew that were sealed with the key before this one.
    pub(in crate::store) fn seal_webhooks_anew(&mut self, before: &Seal) -> Result<(), StoreError> {
        let mut webhooks = Vec::new();
        for entry in self.alert_webhooks.iter()? {
            let (name, sealed) = entry?;
            webhooks.push((name.value().to_owned(), opened_webhook(before, name.value(), sealed.value())?));
        }
        webhooks.iter().try_for_each(|(name, webhook)| self.seal_webhook(name, webhook))
    }

    /// Drops all alerts whose webhooks are sealed with a key that is lost; says how many.
    pub(in crate::store) fn forget_webhooks(&mut self) -> Result<u64, StoreError> {
        let mut names = Vec::new();
        for entry in self.alert_webhooks.iter()? {
            names.push(entry?.0.value().to_owned());
        }
        for name in &names {
            self.alerts.remove(name.as_str())?;
            self.forget_alert(name)?;
        }
        Ok(names.len() as u64)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::sync::Arc;

    use super::*;
    use crate::alert::Topic;
    use crate::store::{Store, render};
    use crate::telemetry::Metrics;

    const HOUR: i64 = 3_600_000;

    fn with<T: Send + 'static>(
        store: &Store,
        change: impl FnMut(&mut Tables<'_>) -> Result<T, StoreError> + Send + 'static,
    ) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        let result = runtime.block_on(store.handle().change(change)).expect("committed");
        let snapshot = store.handle().read().expect("a snapshot");
        assert_eq!(render::contradictions(&snapshot).expect("readable"), Vec::<String>::new());
        result
    }

    fn audit() -> AuditRecord {
        let [actor, address, action, target] = ["a", "b", "c", "d"].map(str::to_owned);
        AuditRecord { at_ms: 1, actor, address, action, target }
    }

    fn setting(name: &str, webhook: bool) -> AlertSetting {
        let mail = if webhook { Vec::new() } else { vec!["ops@example.org".to_owned()] };
        let alert = Alert {
            mail,
            on: BTreeSet::from(Topic::ALL),
            after_ms: 1,
            selector: None,
            per_hour: 2,
            created_at_ms: 1,
            created_by: "user:admin".into(),
            revision: Uuid::new_v4(),
        };
        let url = "https://hooks.example/TOKEN".to_owned();
        let hook = Webhook { url, secret: "whsec_SECRET".into(), tls_ca: None, tls_pin: None };
        AlertSetting {
            name: name.into(),
            alert,
            webhook: webhook.then_some(hook),
            only_new: false,
            keeps: None,
        }
    }

    fn set(store: &Store, setting: AlertSetting) -> AlertSet {
        with(store, move |tables| tables.set_alert(&setting, &audit()))
    }

    fn news(count: u64) -> News {
        News { kind: Kind::Offline, count, about: Vec::new(), sentences: Vec::new() }
    }

    #[test]
    fn alerts_are_set_kept_and_told_once_and_go_with_all_that_is_kept_of_them() {
        let folder = tempfile::tempdir().expect("a folder");
        let store = Store::open(folder.path(), &Metrics::default()).expect("opened");
        with(&store, |tables| tables.add_panel("p1", br#"{"driver":"http"}"#));
        let first = setting("ops", true);
        let revision = first.alert.revision;
        assert_eq!(set(&store, first), AlertSet::Made);
        assert_eq!(set(&store, AlertSetting { only_new: true, ..setting("ops", true) }), AlertSet::Taken);
        let other = AlertSetting { keeps: Some(Uuid::nil()), ..setting("ops", true) };
        assert_eq!(set(&store, other), AlertSet::Overtaken);
        let told = vec![((0, 1), Some(vec![0; 8])), ((0, 9), Some(vec![0; 8]))]; // there is no panel 9
        let telling = Telling {
            alert: "ops".into(),
            revision,
            told,
            news: vec![news(1), news(2), news(3)],
            batches: None,
        };
        let again = telling.clone();
        let now = with(&store, move |tables| tables.tell_alert(&telling, HOUR, 5));
        assert_eq!(now, ToldNow { done: true, made: 2, held_back: 1, owes_digest: true });
        let read = || store.handle().read().expect("a snapshot");
        assert_eq!(read().alert_told("ops").expect("read").keys().collect::<Vec<_>>(), [&(0, 1)]);
        let (number, unsent) = read().first_unsent("ops").expect("read").expect("a message");
        let attempt = Attempt {
            alert: "ops".into(),
            revision,
            number,
            kind: unsent.message.kind,
            at_ms: 6,
            said: "no".into(),
            fate: Fate::Again,
        };
        let failed = attempt.clone();
        with(&store, move |tables| tables.alert_was_tried(&failed));
        assert_eq!(read().first_unsent("ops").expect("read").expect("it").1.tries, 1);
        with(&store, move |tables| tables.alert_was_tried(&Attempt { fate: Fate::Sent, ..attempt.clone() }));
        assert_eq!(
            (read().unsent("ops").expect("read"), read().alert_progress("ops").expect("read").sent),
            (1, 1)
        );
        // What was looked at of another one is not told.
        assert_eq!(set(&store, setting("ops", false)), AlertSet::Replaced);
        let now = with(&store, move |tables| tables.tell_alert(&again, HOUR, 5));
        assert_eq!(now, ToldNow::default());
        assert!(read().alert_webhook("ops").expect("read").is_none());
        with(&store, |tables| tables.remove_panel(1, &audit()));
        assert!(read().alert_told("ops").expect("read").is_empty());
        assert!(with(&store, |tables| tables.remove_alert("ops", &audit())));
        assert!(!with(&store, |tables| tables.remove_alert("ops", &audit())));
        assert_eq!(read().unsent("ops").expect("read"), 0);
    }

    #[test]
    fn webhooks_are_sealed_anew_with_another_key_and_go_with_a_lost_one() {
        let folder = tempfile::tempdir().expect("a folder");
        let store = Store::open(folder.path(), &Metrics::default()).expect("opened");
        set(&store, setting("hook", true));
        set(&store, setting("mail", false));
        let other = Arc::new(Seal::new([9; 32]));
        // What is open reads with the key of before.
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        runtime.block_on(store.handle().change(move |tables| tables.seal_anew(&other))).expect("sealed");
        store.close();
        let database = std::fs::read(folder.path().join(crate::store::FILE_NAME)).expect("a file");
        for secret in [&b"whsec_SECRET"[..], b"/TOKEN"] {
            assert!(!database.windows(secret.len()).any(|bytes| bytes == secret));
        }
        let store = Store::open_with(folder.path(), Seal::new([9; 32]), &Metrics::default()).expect("opened");
        let webhook = store.handle().read().expect("a snapshot").alert_webhook("hook").expect("opens");
        assert_eq!(webhook.map(|webhook| webhook.secret).as_deref(), Some("whsec_SECRET"));
        store.close();
        let forgotten = crate::store::forget_passwords(folder.path(), Seal::new([1; 32])).expect("forgotten");
        assert_eq!(forgotten.alerts, 1);
        let store = Store::open_with(folder.path(), Seal::new([1; 32]), &Metrics::default()).expect("opened");
        let names: Vec<_> = store.handle().read().expect("a snapshot").alerts().expect("read");
        assert_eq!(names.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["mail"]);
    }
}
