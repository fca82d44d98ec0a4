use proptest::prelude::*;

use super::*;
use crate::identifier::rule::Api;
use crate::identifier::wire;
use crate::profile::rule::Family;

const WEEK: LinkId = LinkId::from_bytes([1; 16]);
const NIGHT: LinkId = LinkId::from_bytes([2; 16]);

fn profile(name: &str) -> Result<LinkId, String> {
    match name {
        "Work week" => Ok(WEEK),
        "Night" => Ok(NIGHT),
        _ => {
            let link = name.parse().ok().filter(|link| [WEEK, NIGHT].contains(link));
            link.ok_or_else(|| "no profile has this name".to_owned())
        }
    }
}

fn kyiv() -> TimeZone {
    TimeZone::get("Europe/Kyiv").expect("a zone")
}

fn read_in_kyiv(text: &str) -> Result<Vec<Entry>, Faults> {
    read(text, Some(&kyiv()), profile)
}

fn said(text: &str) -> Vec<String> {
    match read_in_kyiv(text) {
        Ok(_) => Vec::new(),
        Err(Faults::List(why)) => vec![why],
        Err(Faults::Lines(faults, all)) => {
            assert_eq!(faults.len(), all);
            faults.iter().map(ToString::to_string).collect()
        }
    }
}

/// One line of these values.
fn line_of(name: &str, kind: &str, number: &str, profiles: &str, rest: &str) -> String {
    format!("name,type,number,profiles,from,to,owner,lock,passes\n{name},{kind},{number},{profiles},{rest}\n")
}

#[test]
fn a_line_is_an_identifier_whatever_the_spreadsheet() {
    let plain = "name,type,number,profiles,from,to,owner,lock,passes\nFlat 12,card,0001234567,Work week|Night,2026-01-01,2026-12-31,guest,all,3\n";
    let other = "sep=;\r\nNumber;Type;x-phone;Name;Profiles;To;From;Passes;Lock;Owner\r\n1234567;CARD;\"1;2\";Flat 12;01010101-0101-0101-0101-010101010101 | Night;31.12.2026;1.1.2026;3;All;Guest\r\n;;;;;;;;;\r\n";
    let entries = read_in_kyiv(plain).expect("a list");
    let [Entry { line: 2, linked, made: true }] = entries.as_slice() else { panic!("{entries:?}") };
    let identifier = &linked.identifier;
    assert_eq!(identifier.name.as_str(), "Flat 12");
    assert_eq!(identifier.credential, Credential::new(Kind::Card, "1234567").expect("a card"));
    assert_eq!(identifier.profiles.as_slice(), [WEEK, NIGHT]);
    // From the first second of 1 January to the last of 31 December, as Kyiv has them.
    assert_eq!(identifier.time, ValidTime::Between { from: 1_767_218_400, to: 1_798_754_400 });
    assert_eq!((identifier.owner, identifier.lock), (OwnerKind::Guest, Lock::All));
    assert_eq!(identifier.passes, Passes::AtMost(MaxPasses::new(3).expect("a number")));
    let again = read_in_kyiv(other).expect("a list");
    assert_eq!(again[0].line, 3);
    assert_eq!(again[0].linked, *linked);
}

#[test]
fn what_is_left_out_is_as_the_table_says() {
    let list = "name,type,number,profiles,link_id,to\n\
                \"Flat 12, \"\"first\"\"\",pin,0070,always,91C615E3-1040-4815-8ecb-039a18b756b5,2026-12-31T18:00:00+02:00\n\
                Car,plate,aa 1234-bb,Night,,\n";
    let entries = read(list, None, profile).expect("no zone is needed");
    let first = &entries[0].linked;
    assert_eq!(first.link_id.to_string(), "91c615e3-1040-4815-8ecb-039a18b756b5");
    assert!(!entries[0].made && entries[1].made);
    assert_eq!(first.identifier.name.as_str(), "Flat 12, \"first\"");
    assert!(first.identifier.profiles.as_slice().is_empty());
    assert_eq!(first.identifier.time, ValidTime::Between { from: 0, to: 1_798_732_800 });
    let second = &entries[1].linked.identifier;
    assert_eq!(
        (second.owner, second.lock, second.time),
        (OwnerKind::Owner, Lock::First, ValidTime::Permanent)
    );
    assert_eq!((second.passes, second.apartment), (Passes::Permanent, None));
}

#[test]
fn link_ids_are_made_of_name_and_type_and_never_of_the_number() {
    let name = |text| Name::new(text).expect("a name");
    let of = |number: &str| {
        let list = line_of("Flat 12", "card", number, "Night", ",,,,");
        read_in_kyiv(&list).expect("a list")[0].linked.link_id
    };
    assert_eq!(of("1234567"), of("7654321"));
    assert_eq!(of("1"), made_of(&name("Flat 12"), Kind::Card));
    assert_ne!(of("1"), made_of(&name("Flat 12"), Kind::Ukey));
    // Written in either form of Unicode, one person is one.
    assert_eq!(made_of(&name("Jos\u{e9}"), Kind::Card), made_of(&name("Jose\u{301}"), Kind::Card));
    let list = line_of("Jose\u{301}", "card", "1", "Night", ",,,,");
    let read = read_in_kyiv(&list).expect("a list");
    assert_eq!(read[0].linked.identifier.name.as_str(), "Jos\u{e9}");
    assert_ne!(of("1"), made_of(&name("Flat 13"), Kind::Card));
    // Lists are imported again after years: it must stay the same.
    assert_eq!(of("1").to_string(), "cb23d3db-aeb7-8220-91f2-b7636e97eab3");
}

#[test]
fn each_fault_is_told_with_its_line_and_column_and_without_what_stands_there() {
    for (text, expected) in [
        (line_of("", "card", "77001", "Night", ",,,,"), "line 2, column name: a name of 1 to 100"),
        (line_of("\"a\nb\"", "card", "77001", "Night", ",,,,"), "column name: it has a character"),
        (line_of("A", "77001", "77001", "Night", ",,,,"), "column type: one of card, ukey"),
        (line_of("A", "face_id", "", "Night", ",,,,"), "column type: a face has a photo"),
        (
            line_of("A", "card", "77001x", "Night", ",,,,"),
            "column number: no number of this type; it takes 1 to 10",
        ),
        (
            line_of("A", "card", "7.7001E+09", "Night", ",,,,"),
            "column number: the spreadsheet has shortened it",
        ),
        (line_of("A", "pin", "12345677001", "Night", ",,,,"), "it takes 1 to 10 decimal digits"),
        (
            line_of("A", "card", "1", "", ",,,,"),
            "column profiles: it is empty; name its time profiles, or write always",
        ),
        (
            line_of("A", "card", "1", "Night|77001", ",,,,"),
            "column profiles: number 2 of them: no profile has this name",
        ),
        (line_of("A", "card", "1", "Night||Night", ",,,,"), "number 2 of them: it is empty"),
        (line_of("A", "card", "1", "Night|always", ",,,,"), "number 2 of them: always stands alone"),
        (line_of("A", "card", "1", "Night", "77001,2026-01-01,,,"), "column from: a day such as"),
        (line_of("A", "card", "1", "Night", "2026-13-01,2026-01-01,,,"), "column from: a day such as"),
        (line_of("A", "card", "1", "Night", "01/02/2026,2026-12-31,,,"), "column from: a day such as"),
        (line_of("A", "card", "1", "Night", "2026-01-01,,,,"), "column to: what has a beginning has an end"),
        (
            line_of("A", "card", "1", "Night", "2026-01-02,2026-01-01,,,"),
            "column to: it ends before it begins",
        ),
        (line_of("A", "card", "1", "Night", ",2026-01-01 25:00,,,"), "column to: a day such as"),
        (line_of("A", "card", "1", "Night", ",,77001,,"), "column owner: owner or guest"),
        (line_of("A", "card", "1", "Night", ",,,77001,"), "column lock: one of first, second, all"),
        (line_of("A", "card", "1", "Night", ",,,,0"), "column passes: a whole number from 1"),
        (
            "name,type,number,profiles\nA,card,77001\n".into(),
            "line 2 has 3 columns, and the first line names 4",
        ),
        ("name,type,number,profiles\nA,card,1,Night,77001\n".into(), "line 2 has 5 columns"),
        (
            "name,type,number,profiles,link_id\nA,card,1,Night,77001\n".into(),
            "column link_id: a UUID such as",
        ),
    ] {
        let said = said(&text);
        let [said] = said.as_slice() else { panic!("{text}: {said:?}") };
        assert!(said.contains(expected), "{text}: {said}");
        assert!(!said.contains("77001"), "{said}");
    }
}

#[test]
fn what_stands_there_twice_is_told_with_both_lines() {
    let number =
        "name,type,number,profiles\nA,card,77001,Night\n\nB,card,0077001,Night\nC,ukey,77001,Night\n";
    assert_eq!(said(number), ["line 4, column number: the same card stands in line 2"]);
    let named = "name,type,number,profiles\nA,card,1,Night\nA,card,2,Night\nA,ukey,2,Night\n";
    assert!(
        matches!(said(named).as_slice(), [one] if one.starts_with("line 3, column name: the same name and type stand in line 2"))
    );
    let id = "5d0c5e0e-6c0c-4a55-8a35-1f0b6a0f2c11";
    let linked = format!(
        "name,type,number,profiles,link_id\nA,card,1,Night,{id}\nB,card,2,Night,{}\n",
        id.to_uppercase()
    );
    assert_eq!(said(&linked), ["line 3, column link_id: the same link_id stands in line 2"]);
}

#[test]
fn the_first_line_names_the_columns_and_no_misspelt_one_is_passed_over() {
    for (header, expected) in [
        ("name,type,number", "line 1 has no column profiles"),
        ("name,type,number,profiles,form", "column 5: form: did you mean `from`?"),
        ("name,type,number,profiles,until", "column 5: until: did you mean `to`?"),
        ("name,type,number,profiles,phone", "column 5: phone is none of name, type"),
        ("name,type,number,profiles,name", "column 5: name stands there a second time"),
        ("name,type,,number,profiles", "column 3: it has no name"),
        ("9988776655,name,type,number,profiles", "column 1: what stands there is no name of a column"),
        ("", "has no identifier in it"),
        ("name,type,number,profiles", "has no identifier in it"),
        ("name,type;number", "has both"),
    ] {
        let said = said(&format!("{header}\n"));
        assert!(matches!(said.as_slice(), [one] if one.contains(expected)), "{header}: {said:?}");
    }
}

#[test]
fn a_day_needs_a_zone_and_counts_whole() {
    let list = line_of("A", "card", "1", "Night", "2026-03-29,2026-03-29,,,");
    let Err(Faults::Lines(faults, 1)) = read(&list, None, profile) else { panic!("a fault") };
    assert!(faults[0].message.contains("--zone"), "{faults:?}");
    // The day on which Kyiv's clocks go forward has 23 hours.
    let time = read_in_kyiv(&list).expect("a list")[0].linked.identifier.time;
    let ValidTime::Between { from, to } = time else { panic!("{time:?}") };
    assert_eq!(to - from, 23 * 3600);
}

#[test]
fn days_are_written_as_days_and_an_hour_that_comes_twice_with_its_offset() {
    for (unix, end, expected) in [
        (1_767_218_400, false, "2026-01-01"),
        (1_798_754_400, true, "2026-12-31"),
        (1_798_754_400, false, "2027-01-01"),
        (1_798_754_399, true, "2026-12-31 23:59:59"),
        // 03:30 in the night in which clocks go back, the second one.
        (1_792_891_800, false, "2026-10-25T01:30:00Z"),
    ] {
        assert_eq!(written(unix, &kyiv(), end), expected, "{unix}");
    }
}

#[test]
fn who_has_a_profile_called_always_does_not_get_a_door_that_is_always_open() {
    let list = line_of("A", "card", "1", "Always", ",,,,");
    let found = read(&list, None, |_| Ok(WEEK));
    let Err(Faults::Lines(faults, 1)) = found else { panic!("a fault") };
    assert!(faults[0].message.contains("there is a time profile called always"), "{faults:?}");
}

#[test]
fn of_many_faults_the_first_are_told_and_the_rest_counted() {
    let list = format!("name,type,number,profiles\n{}", "A,card,x,Night\n".repeat(50));
    let Err(Faults::Lines(faults, all)) = read_in_kyiv(&list) else { panic!("faults") };
    assert_eq!(faults.len(), TOLD);
    let text = Faults::Lines(faults, all).to_string();
    assert!(text.ends_with(&format!("and {} more", all - TOLD)), "{text}");
}

proptest! {
    #[test]
    fn no_list_makes_the_reader_panic(text in "[-a-z0-9,;\"\n\r |.:T+]{0,200}") {
        let _ = read_in_kyiv(&text);
        let _ = read_in_kyiv(&format!("name,type,number,profiles,from,to\n{text}"));
    }

    #[test]
    fn moments_are_read_as_they_are_written(unix in 0_i64..4_000_000_000, whole in any::<bool>(), end in any::<bool>()) {
        let unix = if whole { unix / 3600 * 3600 } else { unix };
        prop_assert_eq!(moment(&written(unix, &kyiv(), end), Some(&kyiv()), end), Ok(unix));
    }

    #[test]
    fn what_is_read_is_taken_by_the_reader_of_identifiers(
        name in "[A-Za-z ]{0,12}[A-Za-z]", number in 0_u32..2_000_000_000, to in "20[2-9][0-9]-[01][0-9]-[0-3][0-9]",
    ) {
        let list = line_of(&name, "card", &number.to_string(), "Night", &format!(",{to},,,"));
        if let Ok(entries) = read_in_kyiv(&list) {
            let api = Api::of(Family::Android, None).expect("android panels have identifiers");
            let body = format!("{{\"list_items\":[{}]}}", wire::item(&entries[0].linked, api));
            let given = crate::identifier::parse::link_body(body.as_bytes(), api).expect("a body");
            prop_assert_eq!(given, [crate::identifier::parse::Given::Identifier(entries[0].linked.clone())]);
        }
    }
}
