//! The real binary's commands: arguments, exit code, standard output and error.

use std::net::TcpListener;

use serde_json::json;

use crate::support::binary::{Ran, Served, Shell, command};
use crate::support::profiles::{data, link, list, never, once, work_week};
use crate::support::server::TestServer;
use crate::support::snapshot::{self, Transcript};

#[test]
fn a_fleet_is_built_pushed_to_and_asked() {
    let server = TestServer::start();
    let shell = Shell::new(server.address(), Some(server.token()));
    let mut log = Transcript::new("cli", "fleet");
    let mut run = |args: &str| {
        let ran = shell.run(&args.split(' ').collect::<Vec<_>>());
        log.step(args, &ran);
        ran
    };
    run("status");
    run("panel add north-01 --zone Europe/Kyiv --label site=north --label floor=1 --capacity 3");
    run("panel add north-01");
    run("panel add south-01 --zone Nowhere/At-All");
    shell.file(
        "panels.csv",
        "id,zone,site,capacity\nnorth-02,Europe/Kyiv,north,\nsouth-01,Europe/Lisbon,south,1\n",
    );
    run("panel import panels.csv");
    shell.file("more.jsonl", "{\"id\":\"harbour-01\"}\n{\"id\":\"harbour-02\"}\n");
    run("panel import more.jsonl");
    run("panel import panels.csv");
    shell.file("bad.csv", "name,zone\nx,y\n");
    run("panel import bad.csv");
    run("panel ls");
    run("panel ls -l site=north --output json");
    shell.file("profiles.json", &list(&[work_week(1, "Work week"), once(2, "Once")]).to_string());
    run("apply -f profiles.json -l site=north --dry-run");
    run("apply -f profiles.json -l site=north");
    run("apply -f profiles.json --all");
    run("apply -f profiles.json --panel north-01 north-02 --output json");
    shell.file(
        "more.yaml",
        &format!(
            "- link_id: {}\n  name: From YAML\n  time_options: {{ is_all_day: true, date_from: 1735804800, date_to: 1735804800 }}\n  repeat_options: {{ repeat_enable: false }}\n",
            link(3)
        ),
    );
    run("apply -f more.yaml --panel north-01 --prune --dry-run --output json");
    run("apply -f more.yaml --panel north-01 --prune");
    run("apply -f more.yaml --panel north-01 --prune --yes");
    run("panel show north-01");
    run(&format!("delete {} {} --all", link(1), link(9)));
    run(&format!("delete {} {} --all --yes", link(1), link(9)));
    run(&format!("delete {} --panel north-02 --dry-run", link(2)));
    run("panel rm harbour-02");
    run("panel rm harbour-02 --yes");
    run("panel rm harbour-02 --yes");
    run("panel show harbour-02");
    run("status");
    run("status --output json");
    let batches = shell.run(&["batch", "ls", "--output", "json"]);
    let batches: serde_json::Value = serde_json::from_str(&batches.stdout).expect("JSON");
    let refused = batches[2]["id"].as_str().expect("an id");
    run("batch ls");
    run(&format!("batch show {refused}"));
    run(&format!("batch show {refused} --failed"));
    run(&format!("batch show {refused} --failed --output json"));
    run(&format!("batch watch {refused}"));
    run(&format!("batch cancel {refused}"));
    let id = batches[3]["id"].as_str().expect("an id");
    run(&format!("batch retry {id}"));
    log.check();
}

#[test]
fn wrong_input_ends_with_2_and_says_where() {
    let server = TestServer::start();
    server.add_panels(2);
    let shell = Shell::new(server.address(), Some(server.token()));
    let mut log = Transcript::new("cli", "wrong_input");
    let mut faulty = work_week(1, "x");
    faulty["repeat_options"]["repeat_format"]["repeat_type"] = json!("fortnight");
    faulty["name"] = json!(7);
    shell.file("faulty.json", &json!([once(2, "good"), faulty]).to_string());
    shell.file("cut.json", "{\"list_items\": [");
    shell.file("not.yaml", "a: [b\n");
    shell.file("other.json", "{\"items\": []}");
    shell.file("text.yaml", "just a text");
    shell.file("good.json", &list(&[once(1, "x")]).to_string());
    for args in [
        "apply -f faulty.json --all",
        "apply -f cut.json --all",
        "apply -f not.yaml --all",
        "apply -f other.json --all",
        "apply -f text.yaml --all",
        "apply -f missing.json --all",
        "apply -f good.json",
        "apply -f good.json --all -l site=north",
        "apply -f good.json -l site=nowhere",
        "apply -f good.json -l site==x=y",
        "apply -f good.json --panel p001 x",
        "apply -f good.json --all --wait soon",
        "delete not-a-uuid --all",
        "delete --all",
        "batch show x",
        "panel add a/b",
        "panel add p3 --label site",
        "user add x --role root",
        "token create x --role viewer --expires 1y",
        "--server ftp://x status",
        "nothing",
    ] {
        let ran = shell.run(&args.split(' ').collect::<Vec<_>>());
        assert_eq!(ran.exit, Some(2), "{ran}");
        log.step(args, &ran);
    }
    log.check();
}

#[test]
fn a_server_that_is_not_there_is_3_and_what_is_not_allowed_is_4() {
    let server = TestServer::start();
    server.add_user("guest", "viewer");
    let mut log = Transcript::new("cli", "exit_codes");
    let mut step = |what: &str, exit: i32, ran: Ran| {
        assert_eq!(ran.exit, Some(exit), "{ran}");
        log.step(what, &ran);
    };
    // A port on which nobody listens: it was free a moment ago.
    let nobody = TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("a port");
    step("nobody listens", 3, Shell::new(nobody, Some("x")).run(&["status"]));
    step("not logged in", 4, Shell::new(server.address(), None).run(&["status"]));
    step("a wrong token", 4, Shell::new(server.address(), Some("pst_x")).run(&["status"]));
    let guest = server.login("guest", "guest-password");
    let guest = Shell::new(server.address(), Some(&guest));
    step("a viewer adds a panel", 4, guest.run(&["panel", "add", "x"]));
    let admin = Shell::new(server.address(), Some(server.token()));
    server.add_panels(1);
    admin.file("never.json", &list(&[never(1), once(2, "x")]).to_string());
    step("a panel refuses an item", 1, admin.run(&["apply", "-f", "never.json", "--all"]));
    // Whether it has ended already when the answer comes is a matter of speed.
    let ran = admin.run(&["delete", &link(2), "--all", "--yes", "--no-wait", "--output", "json"]);
    let accepted: serde_json::Value = serde_json::from_str(&ran.stdout).expect("JSON");
    assert!(ran.exit == Some(0) && accepted["id"].is_string(), "{ran}");
    log.check();
}

#[test]
fn a_login_is_kept_for_the_user_alone() {
    let server = TestServer::start();
    let shell = Shell::new(server.address(), None);
    let mut log = Transcript::new("cli", "login");
    log.step("without a terminal", &shell.run(&["login"]));
    log.step(
        "a wrong password",
        &shell.run_with(&["login", "--username", "admin", "--password-stdin"], "wrong\n"),
    );
    log.step("login", &shell.run_with(&["login", "--username", "admin", "--password-stdin"], "123456\n"));
    log.step("what follows needs no token", &shell.run(&["panel", "ls", "--output", "json"]));
    let kept = shell.home.path().join(".config/panelsync/tokens.json");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = std::fs::metadata(&kept).expect("it is kept").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
    log.step(
        "add a user",
        &shell.run_with(&["user", "add", "olena", "--role", "operator", "--password-stdin"], "long enough\n"),
    );
    log.step(
        "a short password",
        &shell.run_with(&["user", "add", "x", "--role", "viewer", "--password-stdin"], "short\n"),
    );
    log.step("the users", &shell.run(&["user", "ls"]));
    log.step(
        "make a token",
        &shell.run(&["token", "create", "door-sync", "--role", "viewer", "--expires", "90d"]),
    );
    log.step("the tokens", &shell.run(&["token", "ls", "--output", "json"]));
    let tokens = shell.run(&["token", "ls"]);
    let line = tokens.stdout.lines().find(|line| line.contains("door-sync")).expect("it is listed");
    log.step("revoke", &shell.run(&["token", "revoke", line.split(' ').next().expect("an id")]));
    log.step("remove the user", &shell.run(&["user", "rm", "olena"]));
    log.check();
}

#[test]
fn profiles_are_checked_without_a_server() {
    let nobody = "127.0.0.1:9".parse().expect("an address");
    let shell = Shell::new(nobody, None);
    let mut log = Transcript::new("cli", "profile_check");
    let mut faulty = work_week(1, "x");
    faulty["repeat_options"]["repeat_format"]["repeat_type"] = json!("fortnight");
    faulty["repeat_options"]["repeat_format"]["repeat_custom"]["repeat_looper"] = json!(0);
    faulty["link_id"] = json!("x");
    let mut night = once(3, "Depends on the zone");
    night["time_options"] =
        json!({ "is_all_day": true, "date_from": 1_735_864_200, "date_to": 1_735_858_800 });
    shell.file("good.json", &list(&[work_week(1, "Work week"), once(2, "Once")]).to_string());
    shell.file(
        "bad.json",
        &list(&[once(1, "good"), faulty, never(2), night.clone(), once(1, "again"), json!(7)]).to_string(),
    );
    shell.file("night.json", &json!([night]).to_string());
    for args in [
        "profile check -f good.json",
        "profile check -f good.json --output json",
        "profile check -f bad.json",
        "profile check -f bad.json --output json",
        "profile check -f night.json",
        "profile check -f night.json --zone America/New_York",
        "profile check -f night.json --zone Mars/Olympus",
        "profile check -f missing.json",
    ] {
        log.step(args, &shell.run(&args.split(' ').collect::<Vec<_>>()));
    }
    log.step("from standard input", &shell.run_with(&["profile", "check", "-f", "-"], "[]"));
    log.check();
}

/// A profile with a custom rule from Monday 3 January 2050, 09:00–18:00 in Kyiv, so that it is not over soon.
fn later(
    n: u32,
    name: &str,
    from: i64,
    to: i64,
    point: &str,
    options: &serde_json::Value,
    until: Option<i64>,
) -> serde_json::Value {
    let mut profile = work_week(n, name);
    profile["time_options"] = json!({ "is_all_day": false, "date_from": from, "date_to": to });
    let format = &mut profile["repeat_options"]["repeat_format"];
    format["repeat_custom"] =
        json!({ "repeat_point_type": point, "repeat_looper": 1, "repeat_options": options });
    if let Some(until) = until {
        format["repeat_end"] = json!({ "format": "date", "date": until });
    }
    profile
}

#[test]
fn what_is_legal_and_surely_unintended_is_warned_of() {
    let nobody = "127.0.0.1:9".parse().expect("an address");
    let shell = Shell::new(nobody, None);
    let mut log = Transcript::new("cli", "profile_lint");
    let monday = 2_524_806_000; // 3 January 2050, 09:00 in Kyiv
    let (day, nine_hours) = (86_400, 32_400);
    let days = |names: &[&str]| json!(names);
    let every_day = days(&["MON", "TUE", "WED", "THU", "FRI", "SAT", "SUN"]);
    let items = [
        later(1, "Nothing to say", monday, monday + nine_hours, "week", &days(&["MON"]), None),
        later(2, "Begins off its rule", monday, monday + nine_hours, "week", &days(&["TUE"]), None),
        later(
            3,
            "Only one window",
            monday,
            monday + nine_hours,
            "week",
            &days(&["MON"]),
            Some(monday + 6 * day),
        ),
        later(4, "Day and night", monday, monday + 30 * 3600, "week", &every_day, None),
        later(
            5,
            "Over midnight on the last day",
            monday,
            monday + 20 * 3600,
            "week",
            &days(&["MON", "TUE"]),
            Some(monday + day),
        ),
        later(6, "The same times", monday, monday + nine_hours, "week", &days(&["MON"]), None),
        once(7, "Over"),
    ];
    shell.file("lint.json", &json!(items).to_string());
    let ran = shell.run(&["profile", "check", "-f", "lint.json", "--zone", "Europe/Kyiv"]);
    assert_eq!(ran.exit, Some(0), "warnings are no problems: {ran}");
    log.step("each warning once", &ran);
    log.step(
        "as JSON",
        &shell.run(&["profile", "check", "-f", "lint.json", "--zone", "Europe/Kyiv", "--output", "json"]),
    );
    log.check();
}

#[test]
fn windows_and_calendars_come_without_a_server() {
    let nobody = "127.0.0.1:9".parse().expect("an address");
    let shell = Shell::new(nobody, None);
    let mut log = Transcript::new("cli", "profile_windows");
    shell.file("kinds.json", &data("valid-kinds.json").to_string());
    shell.file("never.json", &json!([never(1)]).to_string());
    let range = "--from 2026-03-23T00:00:00Z --to 2026-04-06T00:00:00Z";
    for args in [
        format!("profile windows -f kinds.json --zone Europe/Kyiv {range}"),
        format!("profile windows -f kinds.json --zone Europe/Kyiv --output json {range}"),
        format!(
            "profile windows -f kinds.json --zone America/New_York --link-id 91c615e3-1040-4815-8ecb-039a18b7000b {range}"
        ),
        format!("profile windows -f kinds.json --link-id {} {range}", link(1)),
        "profile windows -f kinds.json --zone Mars/Olympus".into(),
        "profile windows -f kinds.json --from 2026-04-06T00:00:00Z --to 2026-03-23T00:00:00Z".into(),
        "profile windows -f kinds.json --from 1970-01-01T00:00:00Z --to 2026-01-01T00:00:00Z".into(),
        "profile windows -f kinds.json --from yesterday".into(),
        "profile windows -f never.json".into(),
    ] {
        log.step(&args, &shell.run(&args.split(' ').collect::<Vec<_>>()));
    }
    log.check();
    let ran = shell.run(&["profile", "ics", "-f", "kinds.json", "--zone", "Europe/Kyiv"]);
    assert_eq!(ran.exit, Some(0), "{ran}");
    assert!(ran.stdout.lines().count() > 100 && ran.stdout.ends_with("END:VCALENDAR\r\n"));
    let stamp =
        |line: &str| if line.starts_with("DTSTAMP:") { "DTSTAMP:[now]".to_owned() } else { line.to_owned() };
    let text: Vec<_> = ran.stdout.lines().map(stamp).collect();
    snapshot::check("cli", "profile_ics", &text.join("\n"));
}

#[test]
fn a_reader_that_leaves_early_is_no_failure() {
    let shell = Shell::new("127.0.0.1:9".parse().expect("an address"), None);
    let profiles: Vec<_> = (1..400).map(|n| work_week(n, "Work week")).collect();
    shell.file("many.json", &list(&profiles).to_string());
    for args in [
        "profile windows -f many.json --from 2026-01-01T00:00:00Z --to 2027-01-01T00:00:00Z --output json",
        "profile windows -f many.json",
        "profile check -f many.json",
        "profile ics -f many.json",
        "completions zsh",
    ] {
        let mut child = command()
            .args(args.split(' '))
            .current_dir(shell.home.path())
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::piped())
            .spawn()
            .expect("the binary starts");
        drop(child.stdout.take());
        let ended = child.wait_with_output().expect("it ends");
        let stderr = String::from_utf8(ended.stderr).expect("a text");
        assert_eq!((ended.status.code(), stderr.as_str()), (Some(0), ""), "{args}");
    }
}

#[test]
fn help_and_completions_are_as_they_were() {
    let shell = Shell::new("127.0.0.1:9".parse().expect("an address"), None);
    for (name, args) in [
        ("panelsync", "--help"),
        ("serve", "serve --help"),
        ("demo", "demo --help"),
        ("login", "login --help"),
        ("alert", "alert --help"),
        ("alert_add", "alert add --help"),
        ("panel", "panel --help"),
        ("panel_add", "panel add --help"),
        ("panel_set", "panel set --help"),
        ("panel_resync", "panel resync --help"),
        ("panel_ls", "panel ls --help"),
        ("panel_rm", "panel rm --help"),
        ("panel_import", "panel import --help"),
        ("apply", "apply --help"),
        ("delete", "delete --help"),
        ("batch", "batch --help"),
        ("batch_show", "batch show --help"),
        ("batch_watch", "batch watch --help"),
        ("batch_undo", "batch undo --help"),
        ("history", "history --help"),
        ("batch_retry", "batch retry --help"),
        ("status", "status --help"),
        ("diff", "diff --help"),
        ("reconcile", "reconcile --help"),
        ("simulate", "simulate --help"),
        ("profile_check", "profile check --help"),
        ("schedule", "schedule --help"),
        ("schedule_check", "schedule check --help"),
        ("schedule_windows", "schedule windows --help"),
        ("schedule_compile", "schedule compile --help"),
        ("identifier", "identifier --help"),
        ("identifier_check", "identifier check --help"),
        ("identifier_import", "identifier import --help"),
        ("identifier_ls", "identifier ls --help"),
        ("identifier_show", "identifier show --help"),
        ("profile_windows", "profile windows --help"),
        ("profile_ics", "profile ics --help"),
        ("access", "access --help"),
        ("access_check", "access check --help"),
        ("access_who", "access who --help"),
        ("access_where", "access where --help"),
        ("events", "events --help"),
        ("present", "present --help"),
        ("user_add", "user add --help"),
        ("token_create", "token create --help"),
        ("node_ls", "node ls --help"),
        ("node_leave", "node leave --help"),
        ("join", "join --help"),
        ("worker", "worker --help"),
    ] {
        let ran = shell.run(&args.split(' ').collect::<Vec<_>>());
        assert_eq!(ran.exit, Some(0), "{ran}");
        snapshot::check("help", name, &ran.to_string());
    }
    for shell_name in ["bash", "zsh", "fish"] {
        let ran = shell.run(&["completions", shell_name]);
        assert_eq!(ran.exit, Some(0));
        assert!(ran.stdout.contains("panelsync"), "{ran}");
    }
    let version = shell.run(&["--version"]).stdout;
    assert_eq!(version, format!("panelsync {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn the_demo_shows_a_batch_on_eight_panels() {
    let shell = Shell::new("127.0.0.1:9".parse().expect("an address"), None);
    let ran = shell.run(&["demo", "--once", "--listen", "127.0.0.1:0"]);
    assert_eq!(ran.exit, Some(0), "{ran}");
    snapshot::check("cli", "demo", &ran.to_string());
    let ran = shell.run(&["demo", "--once", "--listen", "127.0.0.1:0", "--output", "json"]);
    let report: serde_json::Value = serde_json::from_str(&ran.stdout).expect("JSON");
    assert_eq!((&report["panels"]["applied"], &report["items"]["created"]), (&json!(8), &json!(24)));
}

#[test]
fn the_first_start_makes_an_administrator_and_shows_the_password_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let first = Served::start(folder.path(), None, &[]);
    let line = first.first_lines.iter().find(|line| line.contains("with the password")).expect("it is shown");
    let password = line.rsplit(' ').next().expect("a password").to_owned();
    let shell = Shell::new(first.address, None);
    let login =
        |shell: &Shell| shell.run_with(&["login", "--username", "admin", "--password-stdin"], &password).exit;
    assert_eq!(login(&shell), Some(0));
    assert_eq!(first.terminate(), Some(0));
    let second = Served::start(folder.path(), None, &[]);
    assert!(!second.first_lines.iter().any(|line| line.contains("password")), "{:?}", second.first_lines);
    assert_eq!(login(&Shell::new(second.address, None)), Some(0));
}

#[test]
fn wrong_settings_stop_the_start_with_their_name() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut log = Transcript::new("cli", "settings");
    let file = folder.path().join("panelsync.toml");
    for (content, args) in [
        ("listen = \"nowhere\"\n", ""),
        ("listne = \"127.0.0.1:0\"\n", ""),
        ("body_limit = 0\n", ""),
        ("keep_batches = -1\n", ""),
        ("keep_batches = 0\n", ""),
        ("panel_listen = { p1 = \"x\" }\n", ""),
        ("not toml", ""),
        ("", "--listen nowhere"),
        ("", "--body-limit much"),
        ("", "--panel-listen p1"),
        ("", "--panel-listen p1=x"),
    ] {
        std::fs::write(&file, content).expect("written");
        let mut args: Vec<_> = args.split(' ').filter(|arg| !arg.is_empty()).collect();
        args.insert(0, "serve");
        args.extend(["--config", file.to_str().expect("a text"), "--data-dir", "never-made"]);
        let output = command().args(&args).current_dir(folder.path()).output().expect("it runs");
        let stderr = String::from_utf8(output.stderr).expect("a text");
        assert_eq!(output.status.code(), Some(2), "{stderr}");
        log.step(&format!("{content:?} {}", args[1..].join(" ")), &stderr);
    }
    assert!(!folder.path().join("never-made").exists(), "nothing was made");
    log.check();
}

#[test]
fn a_taken_port_is_a_clear_error() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address").to_string();
    let folder = tempfile::tempdir().expect("a folder");
    let output = command()
        .args(["serve", "--listen", &address, "--data-dir"])
        .arg(folder.path())
        .output()
        .expect("it runs");
    assert_eq!(output.status.code(), Some(2));
    let stderr = String::from_utf8(output.stderr).expect("a text");
    assert!(stderr.contains("choose another with --listen"), "{stderr}");
}
