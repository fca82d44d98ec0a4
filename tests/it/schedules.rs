//! Opening hours in files, on the command line.

use std::net::SocketAddr;

use serde_json::json;

use crate::support::binary::Shell;
use crate::support::server::TestServer;
use crate::support::snapshot::Transcript;

const OFFICE: &str = "
schedules:
- link_id: 3f0c1b52-8f0e-4a53-9a3b-6f3c5d1f2a10
  name: Office hours
  hours: { mon-fri: '09:00-12:30, 13:30-18:00' }
  instead: { 12-31 on mon-fri: '09:00-12:00' }
  except: [ calendar holidays ]
  from: 2040-01-01
- link_id: 3f0c1b52-8f0e-4a53-9a3b-6f3c5d1f2a11
  name: Night watch in Kyiv
  hours: { daily: 22:00-06:00 }
  from: 2040-01-01
  zone: Europe/Kyiv
";

/// As calendar programs write it: folded lines, an alarm with a time of its own, an event with a time of day.
const HOLIDAYS: &str = "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//x//EN\r\nBEGIN:VEVENT\r\nUID:1\r\nDTSTART;VALUE=DATE:20200101\r\n\
RRULE:FREQ=YEARLY\r\nSUMMARY:New \r\n Year\r\nBEGIN:VALARM\r\nTRIGGER:-PT15M\r\nEND:VALARM\r\nEND:VEVENT\r\nBEGIN:VEVENT\r\n\
UID:2\r\nDTSTART;VALUE=DATE:20400330\r\nDTEND;VALUE=DATE:20400403\r\nSUMMARY:Easter\\, four days\r\nEND:VEVENT\r\nBEGIN:VEVENT\r\n\
UID:3\r\nDTSTART;TZID=Europe/Kyiv:20400501T090000\r\nSUMMARY:A meeting\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n";

fn alone() -> Shell {
    Shell::new(SocketAddr::from(([127, 0, 0, 1], 9)), None)
}

#[test]
fn opening_hours_are_checked_shown_and_compiled() {
    let shell = alone();
    let mut log = Transcript::new("cli", "schedules");
    shell.file("hours.yaml", OFFICE);
    shell.file("holidays.ics", HOLIDAYS);
    shell.file(
        "bad.yaml",
        "schedules:\n- link_id: 7\n  name: A\n  hours: {mon: '09:00-25:00'}\n- name: B\n  except: [31.12.]\ncalendars:\n- name: a b\n",
    );
    shell.file("rule.ics", &HOLIDAYS.replace("FREQ=YEARLY", "FREQ=WEEKLY"));
    shell.file("cut.ics", &HOLIDAYS[..150]);
    shell.file(
        "over.yaml",
        &OFFICE.replace("from: 2040-01-01\n- ", "from: 2020-01-01\n  until: 2020-12-31\n- "),
    );
    for (args, exit) in [
        ("schedule check -f hours.yaml", 2),
        ("schedule check -f hours.yaml --calendar holidays=holidays.ics --zone Europe/Kyiv", 0),
        ("schedule check -f hours.yaml --calendar holidays=holidays.ics --output json", 0),
        ("schedule check -f over.yaml --calendar holidays=holidays.ics", 0),
        ("schedule check -f bad.yaml", 2),
        ("schedule check -f bad.yaml --output json", 2),
        ("schedule check -f hours.yaml --calendar holidays=rule.ics", 2),
        ("schedule check -f hours.yaml --calendar holidays=cut.ics", 2),
        ("schedule check -f hours.yaml --calendar holidays=hours.yaml", 2),
        ("schedule check -f hours.yaml --calendar holidays", 2),
        ("schedule check -f hours.yaml --zone Mars/Olympus", 2),
        ("schedule check -f holidays.ics", 2),
        ("schedule windows -f hours.yaml --link-id 3f0c1b52-8f0e-4a53-9a3b-6f3c5d1f2a11", 2),
        (
            "schedule windows -f hours.yaml --calendar holidays=holidays.ics --zone Asia/Tokyo \
             --from 2040-03-28T00:00:00Z --to 2040-04-04T00:00:00Z",
            0,
        ),
        (
            "schedule windows -f hours.yaml --calendar holidays=holidays.ics --zone Asia/Tokyo \
             --from 2040-03-28T00:00:00Z --to 2040-04-04T00:00:00Z --output json",
            0,
        ),
        (
            "schedule compile -f hours.yaml --calendar holidays=holidays.ics --zone Europe/Kyiv --from 2040-01-01 --days 200",
            0,
        ),
        ("schedule compile -f bad.yaml", 2),
    ] {
        let ran = shell.run(&args.split_whitespace().collect::<Vec<_>>());
        assert_eq!(ran.exit, Some(exit), "{ran}");
        log.step(args, &ran);
    }
    log.check();
}

#[test]
fn what_was_compiled_is_applied_and_compiling_further_ahead_changes_only_what_says_something_else() {
    let server = TestServer::start();
    server.add_panels(2);
    let shell = Shell::new(server.address(), Some(server.token()));
    let hours = |except: &[&str]| {
        json!({ "schedules": [{
            "link_id": "3f0c1b52-8f0e-4a53-9a3b-6f3c5d1f2a10", "name": "Office hours",
            "hours": { "mon-fri": "09:00-18:00" }, "except": except,
        }] })
    };
    let push = |except: &[&str]| {
        shell.file("hours.json", &hours(except).to_string());
        let compile = ["schedule", "compile", "-f", "hours.json", "--from", "2040-01-01"];
        let compiled = shell.run(&compile).stdout;
        let ran =
            shell.run_with(&["apply", "-f", "-", "--all", "--prune", "--yes", "--output", "json"], &compiled);
        assert_eq!(ran.exit, Some(0), "{ran}");
        let batch: serde_json::Value = serde_json::from_str(&ran.stdout).expect("JSON");
        ["created", "updated", "deleted", "unchanged"]
            .map(|what| batch["items"][what].as_u64().expect("a count"))
    };
    assert_eq!(push(&["2040-06-05"]), [4, 0, 0, 0], "two profiles on two panels");
    assert_eq!(push(&["2040-06-05"]), [0, 0, 0, 4]);
    // A holiday more: what stood up to the first one stays, the one behind it ends earlier, and one begins behind the new one.
    assert_eq!(push(&["2040-06-05", "2040-10-02"]), [2, 2, 0, 2]);
    assert_eq!(push(&["2040-06-05"]), [0, 2, 2, 2]);
}
