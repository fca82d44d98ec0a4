//! Reads of alerts: what they are, what they have told, and what is to go out.

use std::collections::{BTreeMap, BTreeSet};

use redb::{ReadableTable, ReadableTableMetadata};

use super::Snapshot;
use crate::alert::message::Unsent;
use crate::alert::pace::Progress;
use crate::alert::told::{self, Print};
use crate::alert::{Alert, Topic, Webhook};
use crate::store::changes::alerts::opened_webhook;
use crate::store::json::decode;
use crate::store::{PanelNo, StoreError, damage, tables};

/// What an alert has told, by topic and panel.
pub type Told = BTreeMap<(u8, PanelNo), BTreeSet<Print>>;

impl Snapshot {
    /// The alerts, by name.
    pub fn alerts(&self) -> Result<Vec<(String, Alert)>, StoreError> {
        damage::read(|| {
            let table = self.transaction.open_table(tables::ALERTS)?;
            let mut alerts = Vec::new();
            for entry in table.iter()? {
                let (name, alert) = entry?;
                alerts.push((name.value().to_owned(), decode(alert.value(), "alert")?));
            }
            Ok(alerts)
        })
    }

    /// The alerts that are for this, by name, each with where it goes, where that is a webhook.
    pub fn alerts_for(&self, topic: Topic) -> Result<Vec<(String, Alert, Option<Webhook>)>, StoreError> {
        let alerts = self.alerts()?.into_iter().filter(|(_, alert)| alert.on.contains(&topic));
        alerts
            .map(|(name, alert)| {
                let webhook = self.alert_webhook(&name)?;
                Ok((name, alert, webhook))
            })
            .collect()
    }

    /// An alert.
    pub fn alert(&self, name: &str) -> Result<Option<Alert>, StoreError> {
        damage::read(|| {
            let table = self.transaction.open_table(tables::ALERTS)?;
            table.get(name)?.map(|alert| decode(alert.value(), "alert")).transpose()
        })
    }

    /// Where an alert's webhook goes, with its secret; nothing where it is no webhook.
    pub fn alert_webhook(&self, name: &str) -> Result<Option<Webhook>, StoreError> {
        damage::read(|| {
            let table = self.transaction.open_table(tables::ALERT_WEBHOOKS)?;
            table.get(name)?.map(|sealed| opened_webhook(&self.seal, name, sealed.value())).transpose()
        })
    }

    /// What an alert has told.
    pub fn alert_told(&self, name: &str) -> Result<Told, StoreError> {
        damage::read(|| {
            let table = self.transaction.open_table(tables::ALERT_TOLD)?;
            let mut all = Told::new();
            for entry in table.range((name, 0, 0)..=(name, u8::MAX, PanelNo::MAX))? {
                let (key, told) = entry?;
                let (_, topic, panel) = key.value();
                all.insert((topic, panel), told::decode(told.value()));
            }
            Ok(all)
        })
    }

    /// How an alert fares.
    pub fn alert_progress(&self, name: &str) -> Result<Progress, StoreError> {
        damage::read(|| {
            let table = self.transaction.open_table(tables::ALERT_PROGRESS)?;
            let progress = table.get(name)?;
            Ok(progress
                .map(|progress| decode(progress.value(), "progress of an alert"))
                .transpose()?
                .unwrap_or_default())
        })
    }

    /// An alert's oldest message that is to go out, and its number.
    pub fn first_unsent(&self, name: &str) -> Result<Option<(u64, Unsent)>, StoreError> {
        damage::read(|| {
            let table = self.transaction.open_table(tables::ALERT_UNSENT)?;
            let first = table.range((name, 0)..=(name, u64::MAX))?.next().transpose()?;
            first.map(|(key, unsent)| Ok((key.value().1, decode(unsent.value(), "message")?))).transpose()
        })
    }

    /// How many of an alert's messages are to go out.
    pub fn unsent(&self, name: &str) -> Result<usize, StoreError> {
        damage::read(|| {
            let table = self.transaction.open_table(tables::ALERT_UNSENT)?;
            if table.is_empty()? {
                return Ok(0);
            }
            let mut unsent = 0;
            for entry in table.range((name, 0)..=(name, u64::MAX))? {
                entry?;
                unsent += 1;
            }
            Ok(unsent)
        })
    }
}
