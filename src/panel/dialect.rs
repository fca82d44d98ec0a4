//! What a panel's `api` and `api_version` may be, and what each can: one table, from which everything follows that
//! differs between families and versions. What the profiles themselves may say differs by
//! [`crate::profile::rule::Family`] only.

use std::fmt;

use crate::batch::ItemOutcome;
use crate::profile::rule::Family;

/// A panel API version such as 2.9.0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ApiVersion {
    numbers: [u16; 3],
}

impl ApiVersion {
    /// `None` when the text is not three numbers with dots between them.
    pub fn new(text: &str) -> Option<Self> {
        let mut parts = text.split('.');
        let mut number = || -> Option<u16> {
            let part = parts.next()?;
            // parse() would also take a sign
            part.bytes().all(|b| b.is_ascii_digit()).then(|| part.parse().ok())?
        };
        let numbers = [number()?, number()?, number()?];
        parts.next().is_none().then_some(Self { numbers })
    }

    /// As a device says it, which may leave out the last number.
    pub fn said(text: &str) -> Option<Self> {
        Self::new(text).or_else(|| Self::new(&format!("{text}.0")))
    }

    /// Major, minor and patch.
    pub fn numbers(self) -> [u16; 3] {
        self.numbers
    }

    /// Whether a panel of this version also answers under `/api/v0`.
    pub fn has_v0(self) -> bool {
        self.numbers[0] < 2
    }

    const fn of(major: u16, minor: u16, patch: u16) -> Self {
        Self { numbers: [major, minor, patch] }
    }
}

impl fmt::Display for ApiVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [major, minor, patch] = self.numbers;
        write!(f, "{major}.{minor}.{patch}")
    }
}

/// With what the paths of all calls begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Prefix {
    /// `/api/v0`, of older firmware.
    V0,
    /// `/api/v1`.
    V1,
}

impl Prefix {
    /// The text.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::V0 => "/api/v0",
            Self::V1 => "/api/v1",
        }
    }

    /// The other one.
    #[must_use]
    pub fn other(self) -> Self {
        match self {
            Self::V0 => Self::V1,
            Self::V1 => Self::V0,
        }
    }
}

/// The parameters that say which page of a list is wanted, and in which order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Paging {
    /// `page_number`, `sort_field`, `sort_type`.
    SortField,
    /// `pageNumber`, `sortField`, `sortType`.
    CamelCase,
    /// `page_number`, `order_by=name desc, date_from`.
    OrderBy,
}

/// What `limit` may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// 10, 20, 30 or 50; 10 without.
    Steps,
    /// 1 to 1,000; 10 without.
    UpToThousand,
    /// Any from 1 on, and it has to be there.
    Required,
}

/// How a list says by what it was filtered and sorted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ListNotes {
    /// As it was asked for, with the fields that there are.
    Asked,
    /// Whether it was, and with the types and operators of all fields.
    Described,
    /// Not at all.
    None,
}

/// What panels of a family speak in some of their versions.
#[derive(Debug, PartialEq, Eq)]
pub struct Dialect {
    /// The family.
    pub family: Family,
    /// The first version that speaks so, up to the next row's.
    since: ApiVersion,
    /// With what a device's paths begin.
    pub prefix: Prefix,
    /// How pages are asked for.
    pub paging: Paging,
    /// How many items a page may have.
    pub limit: Limit,
    /// What lists say of filter and order.
    pub notes: ListNotes,
    /// Whether results say that another profile bears the same name.
    pub tells_taken_names: bool,
    /// Whether an identifier without link_id is read with a null there.
    pub null_link_ids: bool,
    /// Whether the calls on identifiers by uid stand at `/access/identifiers/item/…`, and say when and how often one is
    /// valid beside its other fields rather than in `valid`.
    pub older_identifiers: bool,
    /// What it has no word for: its `extended_info` is null.
    wordless: &'static [ItemOutcome],
}

const fn android(since: ApiVersion) -> Dialect {
    Dialect {
        family: Family::Android,
        since,
        prefix: Prefix::V1,
        paging: Paging::SortField,
        limit: Limit::Steps,
        notes: ListNotes::Asked,
        tells_taken_names: false,
        null_link_ids: false,
        older_identifiers: false,
        wordless: &[ItemOutcome::NeverOpens, ItemOutcome::BadPhoto, ItemOutcome::NotRecognized],
    }
}

const fn camdroid(since: ApiVersion) -> Dialect {
    Dialect {
        family: Family::Camdroid,
        paging: Paging::OrderBy,
        wordless: &[ItemOutcome::NeverOpens, ItemOutcome::Repeated],
        ..android(since)
    }
}

/// The families with their versions, oldest first. The versions' bounds are those that the vendor's pages and clients
/// name; where they only say "older", the oldest version that is known to be otherwise bounds it.
static TABLE: [Dialect; 9] = [
    Dialect { prefix: Prefix::V0, ..android(ApiVersion::of(0, 0, 0)) },
    android(ApiVersion::of(2, 0, 0)),
    Dialect { wordless: &[], ..android(ApiVersion::of(2, 5, 0)) },
    Dialect { wordless: &[], tells_taken_names: true, ..android(ApiVersion::of(2, 10, 0)) },
    Dialect {
        prefix: Prefix::V0,
        paging: Paging::CamelCase,
        null_link_ids: true,
        older_identifiers: true,
        wordless: &[
            ItemOutcome::NeverOpens,
            ItemOutcome::Repeated,
            ItemOutcome::Full,
            ItemOutcome::NoFaces,
            ItemOutcome::FacesFull,
        ],
        ..camdroid(ApiVersion::of(0, 5, 0))
    },
    camdroid(ApiVersion::of(1, 0, 0)),
    Dialect { notes: ListNotes::Described, ..camdroid(ApiVersion::of(1, 0, 6)) },
    Dialect {
        family: Family::IngenicMips,
        limit: Limit::Required,
        notes: ListNotes::Described,
        ..camdroid(ApiVersion::of(1, 0, 0))
    },
    Dialect {
        family: Family::DoorController,
        limit: Limit::UpToThousand,
        notes: ListNotes::None,
        wordless: &[],
        ..android(ApiVersion::of(1, 0, 0))
    },
];

/// Of each family, the last major version that there is, and the version of a panel that says none.
fn newest(family: Family) -> (u16, ApiVersion) {
    match family {
        Family::Android => (2, ApiVersion::of(2, 9, 0)),
        Family::Camdroid => (1, ApiVersion::of(1, 3, 5)),
        Family::IngenicMips | Family::DoorController => (1, ApiVersion::of(1, 0, 0)),
    }
}

impl Dialect {
    /// What a family speaks in a version; nothing where there is no such version.
    pub fn of(family: Family, version: ApiVersion) -> Option<&'static Self> {
        let (last, _) = newest(family);
        let [major, ..] = version.numbers;
        TABLE.iter().rfind(|row| row.family == family && row.since <= version && major <= last)
    }

    /// The version of a panel that says none.
    pub fn default_version(family: Family) -> ApiVersion {
        newest(family).1
    }

    /// Which versions of a family there are, in words.
    pub fn versions(family: Family) -> String {
        let oldest = TABLE.iter().find(|row| row.family == family);
        let [major, minor, _] = oldest.map_or([0; 3], |row| row.since.numbers);
        format!("{family} is spoken in the versions {major}.{minor}.0 to {}.x", newest(family).0)
    }

    /// Which families there are, in words.
    pub fn families() -> String {
        let names = Family::ALL.map(Family::as_str);
        let (last, others) = names.split_last().unwrap_or((&"", &[]));
        format!("{} or {last}", others.join(", "))
    }

    /// The word for what came of an item; nothing where the dialect has none.
    pub fn word(&self, outcome: ItemOutcome) -> Option<&'static str> {
        match (self.family, outcome) {
            (Family::DoorController, ItemOutcome::Full) => return Some("number_of_entities_exceeded"),
            (Family::DoorController, ItemOutcome::Repeated) => return Some("has_duplicates"),
            _ => {}
        }
        (!self.wordless.contains(&outcome)).then(|| outcome.extended_info())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(text: &str) -> ApiVersion {
        ApiVersion::new(text).expect("a version")
    }

    #[test]
    fn every_family_has_its_versions_and_no_others() {
        for (family, inside, outside) in [
            (Family::Android, ["0.0.0", "1.8.0", "2.15.0"], "3.0.0"),
            (Family::Camdroid, ["0.5.0", "1.0.5", "1.3.5"], "0.4.9"),
            (Family::IngenicMips, ["1.0.0", "1.0.1", "1.9.0"], "2.0.0"),
            (Family::DoorController, ["1.0.0", "1.0.1", "1.65535.0"], "2.9.0"),
        ] {
            for text in inside {
                assert_eq!(Dialect::of(family, version(text)).map(|row| row.family), Some(family), "{text}");
            }
            assert_eq!(Dialect::of(family, version(outside)), None, "{family} {outside}");
            assert!(Dialect::of(family, Dialect::default_version(family)).is_some(), "{family}");
        }
    }

    #[test]
    fn a_family_s_rows_ascend() {
        for (row, next) in TABLE.iter().zip(&TABLE[1..]) {
            assert!(row.family != next.family || row.since < next.since, "{next:?}");
        }
    }

    #[test]
    fn words_are_those_of_the_family() {
        let word = |family, text, outcome| Dialect::of(family, version(text)).expect("known").word(outcome);
        assert_eq!(word(Family::Camdroid, "1.3.5", ItemOutcome::NeverOpens), None);
        assert_eq!(
            word(Family::Camdroid, "1.3.5", ItemOutcome::Full),
            Some("number_of_identifiers_exceeded")
        );
        assert_eq!(word(Family::Camdroid, "0.5.0", ItemOutcome::Full), None);
        assert_eq!(word(Family::IngenicMips, "1.0.0", ItemOutcome::Repeated), None);
        assert_eq!(word(Family::Android, "2.1.0", ItemOutcome::NeverOpens), None);
        assert_eq!(
            word(Family::Android, "2.9.0", ItemOutcome::NeverOpens),
            Some("invalid_time_rules_settings")
        );
        assert_eq!(word(Family::DoorController, "1.0.0", ItemOutcome::Repeated), Some("has_duplicates"));
    }
}
