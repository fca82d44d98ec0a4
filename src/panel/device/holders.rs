//! Who holds a number that a device says is taken.

use serde_json::value::RawValue;

use super::ask::{self, DeviceItem, Outgoing, Said};
use super::{Device, words};
use crate::batch::ItemOutcome;
use crate::identifier::number::Credential;
use crate::panel::delivery::call::says;
use crate::store::identifier_in;

/// Holders are asked for of so many refusals of one call, and no more.
const MOST_HOLDERS: usize = 16;

impl Device {
    /// Adds to what it says of numbers that are taken who holds them: a courtesy, so nothing depends on it.
    pub(super) async fn name_holders(&mut self, items: &[Outgoing], said: &mut [Option<Said>]) {
        let mut taken = items.iter().zip(said).filter_map(|(item, said)| {
            let said = said.as_mut().filter(|said| !said.success)?;
            says(&said.word, ItemOutcome::NumberTaken.extended_info()).then_some((item, said))
        });
        for (item, said) in taken.by_ref().take(MOST_HOLDERS) {
            let Ok(list) = self.ask(ask::with_number(self.speech(), &item.secret)).await else { return };
            let Ok(page) = ask::read_page(&list) else { return };
            let holder =
                page.items.into_iter().take(ask::PAGE as usize).find_map(|json| item.number_held_by(json));
            let held_by = match holder {
                Some(DeviceItem { link_id: Some(link), .. }) => format!("held by {link}"),
                Some(DeviceItem { name, .. }) => {
                    let name = words::without_numbers(&name, std::slice::from_ref(&item.secret));
                    format!("held by one without link_id: \"{name}\"")
                }
                None => continue,
            };
            said.word = format!("{} ({held_by})", said.word).into();
        }
    }
}

impl Outgoing {
    /// An item of a device's list that has this identifier's type and number, and is another one.
    fn number_held_by(&self, listed: &RawValue) -> Option<DeviceItem> {
        let listed = ask::read_identifier(listed);
        let own = ask::read_identifier(&RawValue::from_string(self.json.to_string()).ok()?);
        let is_other = listed.link_id != Some(self.link_id);
        (is_other && opens_with(&listed).is_some() && opens_with(&listed) == opens_with(&own))
            .then_some(listed)
    }
}

/// What opens with an identifier, where it can be read.
fn opens_with(item: &DeviceItem) -> Option<Credential> {
    Some(identifier_in(item.body.as_ref()?.json().as_bytes()).ok()?.credential)
}
