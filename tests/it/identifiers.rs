//! Identifiers: what the commands say of those in a file.

use serde_json::{Value, json};

use crate::support::binary::Shell;
use crate::support::identifiers::{card, kind};
use crate::support::profiles::{link, list, once, work_week};
use crate::support::server::TestServer;
use crate::support::snapshot::Transcript;

/// A shell that no server answers.
fn alone() -> Shell {
    Shell::new("127.0.0.1:9".parse().expect("an address"), None)
}

fn good() -> Value {
    let mut guest = kind(card(103, "Flat 12, guest", "", &[1, 2]), "inputCode", "482915");
    guest["identifier_owner"]["type"] = json!("guest");
    guest["lock"] = json!("all");
    // Over 2050, as Kyiv has it.
    guest["valid"] = json!({
        "time": { "is_permanent": false, "from": 2_524_600_800_i64, "to": 2_556_136_800_i64 },
        "passes": { "is_permanent": false, "max_passes": 3 },
    });
    let mut face = kind(card(104, "Olena", "", &[1]), "face_id", "");
    face["face_image"] = json!("/9j/4AAQSkZJRg==");
    json!({
        "profiles": [work_week(1, "Work week"), once(2, "Once")],
        "identifiers": [
            card(101, "Flat 12, first", "0001234567", &[1]),
            kind(card(102, "Flat 12, second", "", &[1]), "ukey", "5e:6f:70:81"),
            guest,
            face,
            kind(card(105, "Flat 13", "", &[2]), "qr", "7d0c5e0e-6c0c-4a55-8a35-1f0b6a0f2c11"),
            kind(card(106, "Flat 13, car", "", &[1, 2]), "license_plate", "aa 1234-bb"),
        ],
    })
}

/// Every kind of fault, and what is fine between.
fn bad() -> Value {
    let mut wrong = card(111, "", "0A1B2C3D", &[1]);
    wrong["link_id"] = json!("x");
    wrong["identifier_owner"]["type"] = json!("tenant");
    wrong["lock"] = json!("third");
    wrong["time_profiles"]["link_ids"] = json!([7]);
    let mut never = card(113, "Never", "301", &[1]);
    never["valid"]["time"] = json!({ "is_permanent": false, "from": 7, "to": 7 });
    let mut unbound = card(114, "Not said when", "302", &[]);
    unbound.as_object_mut().expect("an object").remove("time_profiles");
    let mut misplaced = card(115, "Meant for a day", "303", &[1]);
    misplaced["valid"] =
        json!({ "passes": { "is_permanent": true, "time": { "is_permanent": false, "from": 1, "to": 2 } } });
    let photo = |n, image: &str| {
        let mut face = kind(card(n, "A face", "", &[1]), "face_id", "");
        face["face_image"] = json!(image);
        face
    };
    json!({
        "profiles": [work_week(1, "Work week")],
        "identifiers": [
            card(110, "Fine", "1234567", &[1]),
            wrong,
            card(112, "Spelt otherwise", "0001234567", &[1]),
            never,
            unbound,
            misplaced,
            photo(116, "iVBORw0KGgo="),
            photo(117, "data:image/jpeg;base64,/9j/4AAQSkZJRg=="),
            card(110, "Again", "304", &[1]),
            kind(card(118, "A number", "", &[1]), "input_code", "1"),
            7,
        ],
    })
}

#[test]
fn identifiers_are_checked_without_a_server() {
    let shell = alone();
    let mut log = Transcript::new("cli", "identifier_check");
    shell.file("good.json", &good().to_string());
    shell.file("bad.json", &bad().to_string());
    let yaml = format!(
        "profiles:\n- link_id: {}\n  name: Work week\nidentifiers:\n- link_id: {}\n  identifier_owner: {{ name: Flat 12, type: owner }}\n  identifier_type: card\n  identifier_number: 0012345678\n  lock: first\n  time_profiles: {{ link_ids: [{}] }}\n",
        link(1),
        link(101),
        link(1)
    );
    shell.file("unquoted.yaml", &yaml);
    shell.file("quoted.yaml", &yaml.replace("0012345678", "\"0012345678\""));
    shell.file("cut.yaml", &yaml.replace("lock: first", "lock: [first"));
    let mut lint = json!({ "identifiers": [
        kind(card(101, "A long code", "", &[]), "inputCode", "123456789"),
        card(102, "Bound elsewhere", "77001", &[1, 2]),
        card(103, "Bound elsewhere too", "77002", &[2]),
        card(104, "Over", "77003", &[1]),
        card(105, "A guest for ever", "77004", &[]),
        card(106, "Used up", "77005", &[1]),
    ] });
    lint["identifiers"][3]["valid"]["time"] = json!({ "is_permanent": false, "from": 1, "to": 86_400 });
    lint["identifiers"][4]["identifier_owner"]["type"] = json!("guest");
    lint["identifiers"][5]["valid"]["passes"] = json!({ "is_permanent": false, "max_passes": 3 });
    lint["identifiers"][5]["additional"] = json!({ "passes_left": 0 });
    shell.file("lint.json", &lint.to_string());
    for (args, exit) in [
        ("identifier check -f good.json --zone Europe/Kyiv", 0),
        ("identifier check -f good.json --output json", 0),
        ("identifier check -f good.json --api camdroid", 2),
        ("identifier check -f good.json --api ingenic-mips", 2),
        ("identifier check -f good.json --api door-controller", 2),
        ("identifier check -f good.json --api symbian", 2),
        ("identifier check -f good.json --zone Mars/Olympus", 2),
        ("identifier check -f bad.json", 2),
        ("identifier check -f bad.json --output json", 2),
        ("identifier check -f lint.json", 0),
        ("identifier check -f unquoted.yaml", 2),
        ("identifier check -f quoted.yaml", 0),
        ("identifier check -f cut.yaml", 2),
        ("identifier check -f missing.json", 2),
    ] {
        let ran = shell.run(&args.split(' ').collect::<Vec<_>>());
        assert_eq!(ran.exit, Some(exit), "{ran}");
        log.step(args, &ran);
    }
    log.check();
}

#[test]
fn no_command_tells_a_number_whole() {
    let shell = alone();
    shell.file("good.json", &good().to_string());
    shell.file("bad.json", &bad().to_string());
    for args in [
        "good.json",
        "good.json --output json",
        "good.json --api camdroid",
        "bad.json",
        "bad.json --output json",
    ] {
        let ran =
            shell.run(&format!("identifier check -f {args} -vv").split(' ').collect::<Vec<_>>()).to_string();
        for secret in
            ["1234567", "482915", "7d0c5e0e", "6F-70", "6f:70", "0A1B2C3D", "AA1234", "1234-bb", "/9j/4AA"]
        {
            assert!(!ran.contains(secret), "{secret} in {ran}");
        }
    }
}

#[test]
fn of_many_problems_a_hundred_are_named() {
    let shell = alone();
    let faulty = vec![json!({}); 60];
    shell.file("many.json", &json!({ "identifiers": faulty }).to_string());
    let ran = shell.run(&["identifier", "check", "-f", "many.json"]);
    assert_eq!((ran.exit, ran.stdout.matches("problem /identifiers/").count()), (Some(2), 100), "{ran}");
    assert!(ran.stdout.contains("… and 260 more problems"), "{ran}");
    assert!(
        ran.stdout.contains("no well-formed identifiers for android, 360 problems, no warnings"),
        "{ran}"
    );
}

#[test]
fn a_file_says_which_of_the_two_it_holds() {
    let server = TestServer::start();
    server.add_panels(1);
    let shell = Shell::new(server.address(), Some(server.token()));
    let mut log = Transcript::new("cli", "identifier_files");
    let profiles = [work_week(1, "Work week")];
    shell.file(
        "both.json",
        &json!({ "profiles": profiles, "identifiers": [card(101, "x", "7", &[1])] }).to_string(),
    );
    shell.file("profiles.json", &json!({ "profiles": profiles }).to_string());
    shell.file("identifiers.json", &json!({ "identifiers": [card(101, "x", "7", &[1])] }).to_string());
    shell.file("old.json", &list(&profiles).to_string());
    shell.file("bare.json", &json!(profiles).to_string());
    shell.file("misspelt.yaml", "profiles: []\nidentifers: []\n");
    shell.file("schedules.json", &json!({ "profiles": profiles, "schedules": [] }).to_string());
    shell.file("forms.json", &json!({ "list_items": profiles, "identifiers": [] }).to_string());
    for (args, exit) in [
        ("apply -f both.json --all", 0),
        ("apply -f identifiers.json --all --dry-run", 0),
        ("panel ls", 0),
        ("apply -f schedules.json --all --dry-run", 0),
        ("apply -f misspelt.yaml --all", 2),
        ("apply -f forms.json --all", 2),
        ("profile check -f both.json", 0),
        ("profile check -f identifiers.json", 2),
        ("profile check -f profiles.json", 0),
        ("profile ics -f identifiers.json", 2),
        ("identifier check -f profiles.json", 2),
        ("identifier check -f old.json", 2),
        ("identifier check -f bare.json", 2),
        ("apply -f profiles.json --all --dry-run", 0),
        ("apply -f profiles.json --all", 0),
        ("apply -f old.json --all --dry-run", 0),
        ("apply -f bare.json --all --dry-run", 0),
    ] {
        let ran = shell.run(&args.split(' ').collect::<Vec<_>>());
        assert_eq!(ran.exit, Some(exit), "{ran}");
        log.step(args, &ran);
    }
    log.check();
}

#[test]
fn a_list_with_a_wrong_line_is_not_sent_and_a_number_that_stands_twice_is_told_with_both() {
    let server = TestServer::start();
    server.add_panels(1);
    let batch = json!({ "all": true, "upsert": [work_week(1, "Work week"), work_week(2, "Twice"), work_week(3, "Twice")] });
    server.fleet("POST", "/batches").json(&batch).send();
    let shell = Shell::new(server.address(), Some(server.token()));
    let mut log = Transcript::new("cli", "identifier_import_wrong");
    let head = "name,type,number,profiles,from,to";
    shell.file(
        "wrong.csv",
        &format!(
            "{head}\n\
             Flat 12,card,77001234,Work week,,\n\
             Flat 13,card,0A77001234,Work week,,\n\
             Flat 14,card,77.001E+09,Work week,,\n\
             Flat 15,77001234,1,Work week,,\n\
             Flat 16,pin,4821,Work wek,,\n\
             Flat 17,pin,4822,77001234,,\n\
             Flat 18,pin,4823,Twice,,\n\
             Flat 19,pin,4824,,,\n\
             \"Flat 20,\n 2nd\",pin,4825,always,,\n\
             Flat 21,card,0077001234,Work week,2026-01-01,2025-12-31\n\
             Flat 12,card,77001235,Work week,,\n"
        ),
    );
    shell.file("zoneless.csv", &format!("{head}\nFlat 12,card,77001234,work week,,2026-12-31\n"));
    shell.file(
        "misspelt.csv",
        "name;type;number;profiles;until\nFlat 12;card;77001234;Work week;2026-12-31\n",
    );
    shell.file("empty.csv", "");
    shell.file("both.json", &json!({ "profiles": [], "identifiers": [] }).to_string());
    for args in [
        "identifier import wrong.csv --all --zone Europe/Kyiv",
        "identifier import zoneless.csv --all",
        "identifier import misspelt.csv --all",
        "identifier import empty.csv --all",
        "identifier import zoneless.csv --all --zone Mars/Olympus",
        "identifier import zoneless.csv --zone Europe/Kyiv -l site=nowhere",
        "identifier import zoneless.csv -f both.json --all",
        "identifier import zoneless.csv",
    ] {
        let ran = shell.run(&args.split(' ').collect::<Vec<_>>());
        assert_eq!(ran.exit, Some(2), "{ran}");
        assert!(!["7700", "482"].iter().any(|secret| ran.to_string().contains(secret)), "{ran}");
        log.step(args, &ran);
    }
    log.check();
    let twice = [
        card(101, "Flat 12", "77001234", &[1]),
        card(102, "Flat 13", "0077001234", &[1]),
        card(101, "Flat 12", "77001234", &[1]),
    ];
    shell.file("twice.json", &json!({ "identifiers": twice }).to_string());
    let ran = shell.run(&["apply", "-f", "twice.json", "--all", "--dry-run"]);
    let said = format!(
        "twice.json /identifiers/1/identifier_number of identifier {}: the same card stands at /identifiers/0, of {}; nothing was sent",
        link(102),
        link(101)
    );
    assert_eq!((ran.exit, ran.stderr.trim_end()), (Some(2), &*format!("panelsync: {said}")), "{ran}");
    shell.file("wrong.json", &json!({ "identifiers": [card(101, "Flat 12", "0A1B2C3D", &[])] }).to_string());
    let ran = shell.run(&["apply", "-f", "wrong.json", "--all"]);
    let said = format!(
        "wrong.json /identifiers/0/identifier_number of identifier {}: Wrong identifier_number; nothing was done",
        link(101)
    );
    assert_eq!((ran.exit, ran.stderr.trim_end()), (Some(2), &*format!("panelsync: {said}")), "{ran}");
}
