//! Another key: all that is sealed is sealed with it, and found by its tags.

use std::collections::BTreeMap;
use std::sync::Arc;

use redb::{ReadTransaction, ReadableTable, ReadableTableMetadata, TableHandle};

use crate::batch::item::Kind;
use crate::identifier::number::Credential;
use crate::identifier::photo::Photo;
use crate::store::bodies::{body_text, identifier_in, number_key, sealed_body, split_body, tag_of};
use crate::store::changes::batches::{is_sealed, opened_work};
use crate::store::seal::{NumberTag, Seal};
use crate::store::tables::{self, Tables};
use crate::store::{BatchSeq, PanelNo, StoreError};

/// How many values of a database are sealed beside what the key is known by. Older formats lack tables, which hold none then.
pub(in crate::store) fn count_sealed(read: &ReadTransaction) -> Result<u64, StoreError> {
    // Those of `numbers` are the bodies of identifiers.
    let whole = [
        tables::PANEL_SETTINGS.name(),
        tables::NUMBERS.name(),
        tables::FACES.name(),
        tables::ACCESS_EVENTS.name(),
        tables::ALERT_WEBHOOKS.name(),
    ];
    let mut sealed = 0;
    for table in read.list_tables()? {
        sealed += match table.name() {
            name if name == tables::SECRETS.name() => {
                let secrets = read.open_table(tables::SECRETS)?;
                secrets.len()? - u64::from(secrets.get(tables::KEY_CHECK)?.is_some())
            }
            name if name == tables::BATCH_WORK.name() => {
                let mut of_batches = 0;
                for entry in read.open_table(tables::BATCH_WORK)?.iter()? {
                    of_batches += u64::from(is_sealed(entry?.1.value()));
                }
                of_batches
            }
            name if whole.contains(&name) => read.open_untyped_table(table)?.len()?,
            _ => 0,
        };
    }
    Ok(sealed)
}

/// Whether this is the key that a database is sealed with.
pub(in crate::store) fn is_sealed_with(read: &ReadTransaction, seal: &Seal) -> Result<bool, StoreError> {
    let secrets = match read.open_table(tables::SECRETS) {
        Ok(secrets) => secrets,
        Err(redb::TableError::TableDoesNotExist(_)) => return Ok(false),
        Err(error) => return Err(error.into()),
    };
    let check = secrets.get(tables::KEY_CHECK)?;
    Ok(check.is_some_and(|check| seal.open(tables::KEY_CHECK, check.value()).is_ok()))
}

/// An identifier's body, opened.
struct SealedBody {
    number: u64,
    tag: NumberTag,
    users: u64,
    json: Box<str>,
}

impl Tables<'_> {
    /// Whether anything is sealed beside what the key is known by: [`count_sealed`] of a transaction that writes.
    pub(in crate::store) fn seals_something(&self) -> Result<bool, StoreError> {
        Ok(self.secrets.len()? > 1
            || !self.panel_settings.is_empty()?
            || !self.numbers.is_empty()?
            || !self.faces.is_empty()?
            || !self.access_events.is_empty()?
            || !self.alert_webhooks.is_empty()?
            || self.batch_work_is_sealed()?)
    }

    fn batch_work_is_sealed(&self) -> Result<bool, StoreError> {
        for entry in self.batch_work.iter()? {
            if is_sealed(entry?.1.value()) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Seals all anew with this key; says how many passwords there are.
    pub fn seal_anew(&mut self, seal: &Arc<Seal>) -> Result<usize, StoreError> {
        let before = Arc::clone(&self.memory.seal);
        let mut texts = Vec::new();
        for entry in self.secrets.iter()? {
            let (panel, sealed) = entry?;
            texts.push((panel.value(), before.open(panel.value(), sealed.value())?));
        }
        let mut settings = Vec::new();
        for entry in self.panel_settings.iter()? {
            let (key, sealed) = entry?;
            let (panel, name) = key.value();
            settings.push((panel, name.to_owned(), before.open(panel, sealed.value())?));
        }
        self.memory.seal = Arc::clone(seal);
        for (panel, text) in &texts {
            self.set_credential(*panel, text)?;
        }
        for (panel, name, text) in &settings {
            let sealed = seal.seal(*panel, text)?;
            self.panel_settings.insert((*panel, name.as_str()), sealed.as_slice())?;
        }
        let mut tags = BTreeMap::new();
        self.seal_bodies_anew(&before, seal, &mut tags)?;
        self.tag_passes_anew(&tags)?;
        self.seal_faces_anew(&before, seal, &mut tags)?;
        self.seal_work_anew(&before, seal)?;
        self.seal_events_anew(&before, seal)?;
        self.seal_webhooks_anew(&before)?;
        self.forget_all_held_before()?;
        Ok(texts.len() - 1) // the first one is for the check of the key
    }

    /// One by one: there may be more than memory has room for.
    fn seal_bodies_anew(
        &mut self,
        before: &Seal,
        seal: &Seal,
        tags: &mut BTreeMap<NumberTag, NumberTag>,
    ) -> Result<(), StoreError> {
        self.numbers.clear()?;
        let mut next = 0;
        loop {
            let Some(SealedBody { number, tag: had_tag, users, json }) =
                self.next_sealed_body(before, next)?
            else {
                return Ok(());
            };
            let credential = identifier_in(json.as_bytes())?.credential;
            let tag = seal.tag(&credential);
            tags.insert(had_tag, tag);
            let value = sealed_body(seal, number, users, &tag, json.as_bytes())?;
            self.bodies.insert(number, value.as_slice())?;
            self.numbers.insert(&number_key(&tag, number), ())?;
            next = number + 1;
        }
    }

    /// What passes are counted of has another tag under another key; what is gone by now has none.
    fn tag_passes_anew(&mut self, tags: &BTreeMap<NumberTag, NumberTag>) -> Result<(), StoreError> {
        let mut counted = Vec::new();
        for entry in self.passes.extract_all::<(PanelNo, u32)>(..)? {
            let (key, of) = entry?;
            let (had_tag, began_with, used) = of.value();
            counted.extend(tags.get(had_tag).map(|tag| (key.value(), *tag, began_with, used)));
        }
        for (key, tag, began_with, used) in counted {
            self.passes.insert(key, (&tag, began_with, used))?;
        }
        Ok(())
    }

    fn next_sealed_body(&self, seal: &Seal, from: u64) -> Result<Option<SealedBody>, StoreError> {
        for entry in self.bodies.range(from..)? {
            let (number, value) = entry?;
            let (number, value) = (number.value(), value.value());
            if let Some(tag) = tag_of(value) {
                let (users, _) = split_body(value)?;
                let json = body_text(seal, number, value)?;
                return Ok(Some(SealedBody { number, tag, users, json }));
            }
        }
        Ok(None)
    }

    fn seal_faces_anew(
        &mut self,
        before: &Seal,
        seal: &Seal,
        tags: &mut BTreeMap<NumberTag, NumberTag>,
    ) -> Result<(), StoreError> {
        let corrupt = || StoreError::Corrupt("photo");
        let mut faces = Vec::new();
        for entry in self.faces.iter()? {
            faces.push(*entry?.0.value());
        }
        for had in faces {
            let Some(jpeg) =
                self.faces.remove(&had)?.map(|sealed| before.open_in("faces", &had, sealed.value()))
            else {
                continue;
            };
            let photo = Photo::from_jpeg(jpeg?).map_err(|_| corrupt())?;
            let tag = seal.tag(&Credential::Face(photo.digest()));
            tags.insert(had, tag);
            self.faces.insert(&tag, seal.seal_in("faces", &tag, photo.jpeg())?.as_slice())?;
        }
        let now = |had: &NumberTag| tags.get(had).copied().ok_or_else(corrupt);
        let mut users = Vec::new();
        for entry in self.face_users.extract_all::<&NumberTag>(..)? {
            let (had, users_of) = entry?;
            users.push((now(had.value())?, users_of.value()));
        }
        for (tag, of) in users {
            self.face_users.insert(&tag, of)?;
        }
        let mut batches = Vec::new();
        for entry in self.batch_faces.extract_all::<(BatchSeq, &NumberTag)>(..)? {
            let key = entry?.0;
            let (seq, had) = key.value();
            batches.push((seq, now(had)?));
        }
        for (seq, tag) in batches {
            self.batch_faces.insert((seq, &tag), ())?;
        }
        Ok(())
    }

    fn seal_work_anew(&mut self, before: &Seal, seal: &Seal) -> Result<(), StoreError> {
        let mut batches = Vec::new();
        for entry in self.batch_work.iter()? {
            let (seq, work) = entry?;
            if is_sealed(work.value()) {
                batches.push(seq.value());
            }
        }
        for seq in batches {
            let work = match self.batch_work.get(seq)? {
                Some(work) => opened_work(before, seq, work.value())?.into_owned(),
                None => continue,
            };
            let sealed = seal.seal_in("batch_work", &seq.to_be_bytes(), &work)?;
            self.batch_work.insert(seq, sealed.as_slice())?;
        }
        Ok(())
    }

    /// Drops all identifiers, since the key to them is lost, and what is known of them on devices, which keep theirs. Says
    /// how many there were over all panels.
    pub(in crate::store) fn forget_identifiers(&mut self) -> Result<u64, StoreError> {
        let mut panels = Vec::new();
        for entry in self.panels.iter()? {
            panels.push(entry?.0.value());
        }
        let mut forgotten = 0;
        for panel in panels {
            let mut rows = self.panel(panel);
            for (name, row) in rows.all()?.into_iter().filter(|(name, _)| name.kind() == Kind::Identifier) {
                rows.remove(name, row)?;
                forgotten += 1;
            }
            for (item, _) in rows.all_reported()? {
                if item.kind == Kind::Identifier {
                    rows.set_reported(item, None)?;
                }
            }
            rows.finish()?;
        }
        self.forget_identifiers_before()?;
        let now_ms = self.at_ms();
        self.changes_are_kept_since(now_ms)?;
        let mut secret = Vec::new();
        for entry in self.batch_work.iter()? {
            let (seq, work) = entry?;
            if is_sealed(work.value()) {
                secret.push(seq.value());
            }
        }
        for seq in secret {
            // What such a batch asked for is lost; what came of it is not.
            self.batch_work.insert(seq, &br#"{"upsert":[],"delete":[],"prune":false}"#[..])?;
            self.forget_faces_of_batch(seq)?;
        }
        self.finish()?;
        self.faces.clear()?;
        self.face_users.clear()?;
        self.passes.clear()?;
        Ok(forgotten)
    }
}
