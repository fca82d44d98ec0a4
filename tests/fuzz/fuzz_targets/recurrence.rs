//! Whatever a profile's rules are: the questions of when it opens end, and their answers agree with each other.
#![no_main]

use jiff::tz::TimeZone;
use libfuzzer_sys::fuzz_target;
use panelsync::profile::ical::{self, Entry};
use panelsync::profile::rule::Family;
use panelsync::profile::windows::Openings;
use panelsync::profile::{opens, parse, sentence};

const ZONES: [&str; 6] =
    ["UTC", "Europe/Kyiv", "America/St_Johns", "Australia/Lord_Howe", "Pacific/Apia", "Africa/Casablanca"];

fuzz_target!(|input: (u8, i64, &[u8])| {
    let (zone, at, body) = input;
    let name = ZONES[usize::from(zone) % ZONES.len()];
    let zone = TimeZone::get(name).expect("a zone");
    let Ok(profiles) = parse::link_body(body, Family::DoorController) else { return };
    for linked in profiles.iter().take(4) {
        let profile = &linked.profile;
        let ever = opens::check(profile, &zone).is_ok();
        let openings = Openings::new(profile, &zone);
        let from = at.clamp(-60_000_000_000, 200_000_000_000);
        let windows = openings.windows(from, from + 40 * 86_400).expect("a range");
        assert!(ever || windows.is_empty(), "what never opens has no window");
        let mut last = from;
        for window in &windows {
            assert!(window.from < window.to, "{window:?}");
            assert!(window.from >= last, "ascending and apart");
            assert!(openings.is_open(window.from) && openings.is_open(window.to - 1), "{window:?}");
            last = window.to;
        }
        let _ = openings.next_change(at);
        let _ = sentence::sentence(profile, &zone);
        let _ = ical::calendar("fuzz", name, &zone, 0, &[Entry::linked(linked.link_id, profile)]);
    }
});
