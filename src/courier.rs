//! The courier: looks for what alerts are for ([`lookout`]), and sends it ([`webhook`], [`mail`]).
//!
//! It lives as long as what answers requests does, so of several nodes it is the leader's. It has a thread of its own, and
//! nobody waits for it. What is told and the message that tells it are put into the store in one commit, and a message goes
//! out from there: killed in between, it goes out at the next start, or from the node that leads then; at most twice, and
//! then with the same id. Each alert is sent for by itself, so that a receiver that is away keeps nothing from another.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::{Notify, oneshot};
use tokio::task::{AbortHandle, LocalSet};
use uuid::Uuid;

use crate::alert::message::{Message, Unsent};
use crate::alert::{Alert, Times, Way, Webhook};
use crate::clock;
use crate::coordinator::RegisterReader;
use crate::panel::device::gate::MayCall;
use crate::panel::device::line::trust::Configs;
use crate::parts;
use crate::store::changes::alerts::{Attempt, Fate};
use crate::store::{StoreError, StoreHandle};
use crate::telemetry::AlertMetrics;

mod batches;
pub mod lookout;
pub mod mail;
pub mod smtp;
pub mod webhook;

use lookout::Lookout;
use smtp::Smtp;

/// Between two tries to put something into a store that fails.
const STORE_AGAIN: Duration = Duration::from_millis(500);

/// A message is not given up before it was tried so often, whatever the clock says.
const LEAST_TRIES: u32 = 5;

/// How long its end waits for a look that is under way.
const LAST_LOOK: Duration = Duration::from_secs(2);

/// What it takes to look and send.
#[derive(Clone)]
pub struct Courier {
    /// What is looked at, and where messages are kept.
    pub store: StoreHandle,
    /// How panels are.
    pub register: RegisterReader,
    /// The mail server, where there is one.
    pub smtp: Option<Arc<Smtp>>,
    /// How often and how long.
    pub times: Times,
    /// Numbers.
    pub metrics: AlertMetrics,
    /// Woken when an alert is another one.
    pub wake: Arc<Notify>,
    /// With several nodes: whether this one leads.
    pub may_send: MayCall,
}

/// The courier at work. It ends when this is dropped.
pub struct AtWork {
    stop: Option<oneshot::Sender<()>>,
    asked: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl AtWork {
    fn ask_to_stop(&mut self) {
        self.asked.store(true, Ordering::Release);
        self.stop.take(); // the other end sees it
    }

    /// Ends it, and waits for its end.
    pub fn stop(mut self) {
        self.ask_to_stop();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join(); // a panic there ends the process
        }
    }
}

impl Drop for AtWork {
    fn drop(&mut self) {
        self.ask_to_stop();
    }
}

impl Courier {
    /// Begins to work on a thread of its own.
    pub fn begin(self) -> std::io::Result<AtWork> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (stop, stopped) = oneshot::channel::<()>();
        let asked = Arc::new(AtomicBool::new(false));
        let is_asked = Arc::clone(&asked);
        let working = move || {
            let _part = parts::begin("the courier of alerts", move || is_asked.load(Ordering::Acquire));
            let local = LocalSet::new();
            runtime.block_on(local.run_until(async {
                tokio::select! {
                    () = self.work() => {}
                    _ = stopped => {}
                }
            }));
            drop(local);
            runtime.shutdown_timeout(LAST_LOOK);
        };
        let thread = std::thread::Builder::new().name("courier".into()).spawn(working)?;
        Ok(AtWork { stop: Some(stop), asked, thread: Some(thread) })
    }

    async fn work(self) {
        let courier = Rc::new(self);
        let mut lookout = Some(Lookout::new(courier.times));
        let mut senders = BTreeMap::<String, Sender>::new();
        let mut said = false;
        loop {
            // One that was lost with a panic begins anew: all that counts is in the store.
            let looking = lookout.take().unwrap_or_else(|| Lookout::new(courier.times));
            let looked = courier.look(looking).await;
            if let Some((mut looking, result)) = looked {
                match result {
                    Ok(found) => {
                        said = false;
                        for found in found {
                            courier.tell(found, &mut looking).await;
                        }
                    }
                    Err(error) if !said => {
                        said = true;
                        tracing::warn!(%error, "what alerts are for cannot be looked at; it is tried again");
                    }
                    Err(_) => {}
                }
                courier.keep_senders(&looking, &mut senders);
                lookout = Some(looking);
            }
            let _ = tokio::time::timeout(courier.times.look_every, courier.wake.notified()).await;
        }
    }

    async fn look(&self, mut lookout: Lookout) -> Option<(Lookout, Result<Vec<lookout::Found>, StoreError>)> {
        let (store, register) = (self.store.clone(), self.register.clone());
        let looking = tokio::task::spawn_blocking(move || {
            let register = register.now();
            let found = store.read().and_then(|snapshot| lookout.look(&register, &snapshot));
            (lookout, found)
        });
        looking.await.ok()
    }

    /// Puts into the store what was found. Where that fails, it is found again.
    async fn tell(&self, found: lookout::Found, lookout: &mut Lookout) {
        let (hour_ms, now_ms) = (self.times.hour.as_millis() as i64, clock::now_ms());
        let telling = found.telling.clone();
        let told = self.store.change(move |tables| tables.tell_alert(&telling, hour_ms, now_ms)).await;
        match told {
            Ok(told) => {
                self.metrics.held_back(told.held_back);
                lookout.told(found, told);
            }
            Err(error) => tracing::debug!(%error, "what is to be told was not kept; it is looked for again"),
        }
    }

    /// For every alert there is one that sends.
    fn keep_senders(self: &Rc<Self>, lookout: &Lookout, senders: &mut BTreeMap<String, Sender>) {
        let mut before = std::mem::take(senders);
        for (name, alert) in lookout.alerts() {
            let sender = match before.remove(name) {
                Some(sender) if sender.revision == alert.revision => {
                    sender.wake.notify_one();
                    sender
                }
                _ => Sender::begin(self, name, alert),
            };
            senders.insert(name.clone(), sender);
        }
        // Those of alerts that are gone, or are others by now, end with this.
    }
}

/// Who sends for one alert.
struct Sender {
    revision: Uuid,
    wake: Rc<Notify>,
    task: AbortHandle,
}

impl Drop for Sender {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Sender {
    fn begin(courier: &Rc<Courier>, name: &str, alert: &Alert) -> Self {
        let (wake, revision) = (Rc::new(Notify::new()), alert.revision);
        let sending = Sending {
            courier: Rc::clone(courier),
            name: name.to_owned(),
            alert: alert.clone(),
            configs: Configs::default(),
            have: BTreeSet::new(),
        };
        let task = tokio::task::spawn_local(sending.run(Rc::clone(&wake))).abort_handle();
        Self { revision, wake, task }
    }
}

struct Sending {
    courier: Rc<Courier>,
    name: String,
    alert: Alert,
    configs: Configs,
    /// Who has the mail that is sent just now.
    have: BTreeSet<String>,
}

impl Sending {
    async fn run(mut self, wake: Rc<Notify>) {
        loop {
            let pause = match self.first().await {
                Ok(Some((number, unsent))) if self.courier.may_send.now() => {
                    self.send_one(number, unsent).await
                }
                Ok(_) => None,
                Err(error) => {
                    tracing::debug!(alert = self.name, %error, "what is to go out cannot be read yet");
                    Some(STORE_AGAIN)
                }
            };
            match pause {
                Some(pause) => tokio::time::sleep(pause).await,
                None => wake.notified().await,
            }
        }
    }

    /// What goes out next.
    async fn first(&self) -> Result<Option<(u64, Unsent)>, StoreError> {
        let (store, name) = (self.courier.store.clone(), self.name.clone());
        let reading = tokio::task::spawn_blocking(move || store.read()?.first_unsent(&name));
        reading.await.unwrap_or(Err(StoreError::Closed))
    }

    /// Tries to send a message; gives how long to wait until the next.
    async fn send_one(&mut self, number: u64, unsent: Unsent) -> Option<Duration> {
        let Unsent { message, made_ms, tries } = unsent;
        let tried = self.try_to_send(&message, made_ms).await;
        let (times, metrics, way) = (&self.courier.times, &self.courier.metrics, self.alert.way());
        let at_ms = clock::now_ms();
        let is_old = at_ms.saturating_sub(made_ms) >= times.give_up_after.as_millis() as i64;
        let (fate, said) = match tried {
            Ok(said) => (Fate::Sent, said),
            Err(error) if error.for_good => (Fate::GivenUp, format!("given up: {}", error.why)),
            Err(error) if is_old && tries + 1 >= LEAST_TRIES => {
                (Fate::GivenUp, format!("given up: {}", error.why))
            }
            Err(error) => (Fate::Again, error.why),
        };
        match fate {
            Fate::Sent => metrics.sent(way),
            Fate::Again => metrics.tried(way),
            Fate::GivenUp => {
                metrics.given_up(way);
                tracing::warn!(
                    alert = self.name,
                    way = way.as_str(),
                    said,
                    "a message of an alert was given up"
                );
            }
        }
        if fate != Fate::Again {
            self.have.clear();
        }
        let attempt = Attempt {
            alert: self.name.clone(),
            revision: self.alert.revision,
            number,
            kind: message.kind,
            at_ms,
            said,
            fate,
        };
        self.record(attempt).await;
        if fate != Fate::Again {
            return Some(Duration::ZERO);
        }
        let pause = times.pause_after(tries + 1);
        Some(pause + pause.mul_f64(fastrand::f64() / 5.0)) // not all at the same moment
    }

    /// Keeps what came of it: as long as that is not kept, nothing else goes out, and this not again.
    async fn record(&self, attempt: Attempt) {
        loop {
            let kept = attempt.clone();
            match self.courier.store.change(move |tables| tables.alert_was_tried(&kept)).await {
                Ok(()) => return,
                Err(error) => {
                    tracing::debug!(alert = self.name, %error, "what came of a message is not kept yet");
                    tokio::time::sleep(STORE_AGAIN).await;
                }
            }
        }
    }

    async fn try_to_send(&mut self, message: &Message, made_ms: i64) -> Result<String, smtp::NoMail> {
        let webhook = if self.alert.way() == Way::Webhook { Some(self.webhook().await?) } else { None };
        let out = Outgoing { alert: &self.alert, webhook: webhook.as_ref(), message, made_ms };
        out.send(self.courier.smtp.as_deref(), &mut self.have, &self.configs, self.courier.times.patience)
            .await
    }

    async fn webhook(&self) -> Result<Webhook, smtp::NoMail> {
        let not_now = |why: String| smtp::NoMail { why, for_good: false };
        let (store, name) = (self.courier.store.clone(), self.name.clone());
        let reading = tokio::task::spawn_blocking(move || store.read()?.alert_webhook(&name));
        let read = reading.await.map_err(|error| not_now(error.to_string()))?;
        read.map_err(|error| not_now(error.to_string()))?.ok_or_else(|| not_now("its URL is not kept".into()))
    }
}

/// A message on its way.
pub struct Outgoing<'a> {
    /// Of which alert.
    pub alert: &'a Alert,
    /// Where it goes, where that is a webhook.
    pub webhook: Option<&'a Webhook>,
    /// It.
    pub message: &'a Message,
    /// When it was made, in Unix milliseconds.
    pub made_ms: i64,
}

impl Outgoing<'_> {
    /// Sends it, once. Gives what was said to it, or why it did not go out.
    pub async fn send(
        self,
        smtp: Option<&Smtp>,
        have: &mut BTreeSet<String>,
        configs: &Configs,
        patience: Duration,
    ) -> Result<String, smtp::NoMail> {
        let Self { alert, webhook, message, made_ms } = self;
        let began = Instant::now();
        let sent = match (webhook, smtp) {
            (Some(webhook), _) => {
                let second = clock::now_ms() / 1000;
                let sent = webhook::send(webhook, message, second, configs, patience).await;
                sent.map_err(|why| smtp::NoMail { why, for_good: false })
            }
            (None, Some(smtp)) => {
                mail::send(smtp, &alert.mail, message, made_ms, have, configs, patience).await
            }
            (None, None) => {
                let why = "this server has no mail server: start it with --smtp and --smtp-from".to_owned();
                Err(smtp::NoMail { why, for_good: false })
            }
        };
        tracing::debug!(
            alert = message.alert,
            way = alert.way().as_str(),
            sent = sent.is_ok(),
            duration_ms = began.elapsed().as_millis() as u64,
            "a message of an alert"
        );
        sent
    }
}
