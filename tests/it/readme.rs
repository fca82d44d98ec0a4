//! The README's tour gives what it shows: every command of it is run, in order, against a real server.

use crate::support::binary::Shell;
use crate::support::redact::redact;
use crate::support::server::TestServer;
use crate::support::simulated::Simulated;

/// The fenced blocks of a language, in order.
fn blocks(text: &str, language: &str) -> Vec<String> {
    let mut blocks = Vec::new();
    let mut open: Option<String> = None;
    for line in text.lines() {
        match &mut open {
            Some(block) if line == "```" => {
                blocks.push(std::mem::take(block));
                open = None;
            }
            Some(block) => {
                block.push_str(line);
                block.push('\n');
            }
            None if line == format!("```{language}") => open = Some(String::new()),
            None => {}
        }
    }
    blocks
}

#[test]
fn every_command_of_the_tour_prints_what_the_readme_shows() {
    let readme = include_str!("../../README.md");
    let tour = section(readme, "A five-minute tour");
    let server = TestServer::start();
    let shell = Shell::new(server.address(), Some(server.token()));
    let yaml = blocks(tour, "yaml");
    shell.file("profiles.yaml", yaml.first().expect("the profiles"));
    shell.file("card.yaml", yaml.get(1).expect("a card"));
    let mut commands = 0;
    for block in blocks(tour, "console") {
        let (line, shown) = block.split_once('\n').expect("a command");
        let args = line.strip_prefix("$ panelsync ").unwrap_or_else(|| panic!("no command: {line}"));
        let ran = shell.run(&words(args));
        assert_eq!(redact(ran.stdout.trim_end()), redact(shown.trim_end()), "{line}\n{}", ran.stderr);
        commands += 1;
    }
    assert!(commands >= 8, "only {commands} commands");
}

#[test]
fn every_command_on_opening_hours_prints_what_the_readme_shows() {
    let readme = include_str!("../../README.md");
    let hours = section(readme, "Opening hours");
    let server = TestServer::start();
    let shell = Shell::new(server.address(), Some(server.token()));
    shell.file("hours.yaml", blocks(hours, "yaml").first().expect("a schedule"));
    let commands = blocks(hours, "console");
    assert!(commands.len() >= 3, "only {} commands", commands.len());
    for block in commands {
        let (line, shown) = block.split_once('\n').expect("a command");
        let mut stdout = String::new();
        for command in line.strip_prefix("$ ").expect("a command").split(" | ") {
            let args = command.strip_prefix("panelsync ").unwrap_or_else(|| panic!("no command: {line}"));
            let ran = shell.run_with(&words(args), &stdout);
            assert!(ran.stderr.is_empty(), "{line}\n{}", ran.stderr);
            stdout = ran.stdout;
        }
        assert_eq!(redact(stdout.trim_end()), redact(shown.trim_end()), "{line}");
    }
}

#[test]
fn the_dry_run_says_what_the_readme_shows() {
    let readme = include_str!("../../README.md");
    let server = TestServer::start();
    let shell = Shell::new(server.address(), Some(server.token()));
    let tour = section(readme, "A five-minute tour");
    shell.file("profiles.yaml", blocks(tour, "yaml").first().expect("the profiles"));
    for block in blocks(tour, "console").iter().take(3) {
        let line = block.lines().next().expect("a command");
        shell.run(&words(line.strip_prefix("$ panelsync ").expect("a panel is added")));
    }
    let shown = blocks(section(readme, "Before it is sent"), "console");
    let (line, shown) = shown[0].split_once('\n').expect("a command");
    let ran = shell.run(&words(line.strip_prefix("$ panelsync ").expect("a command")));
    assert_eq!(redact(ran.stdout.trim_end()), redact(shown.trim_end()), "{line}\n{}", ran.stderr);
}

#[test]
fn every_command_with_devices_prints_what_the_readme_shows() {
    let readme = include_str!("../../README.md");
    let devices = Simulated::start(3, &["--latency", "20ms"]);
    let server = TestServer::start();
    let shell = Shell::new(server.address(), Some(server.token()));
    let yaml = blocks(section(readme, "A five-minute tour"), "yaml");
    shell.file("profiles.yaml", yaml.first().expect("the profiles"));
    let text = section(readme, "Devices");
    let (before, after) = text.split_once("```sh\n").expect("the device is edited by hand once");
    let mut commands = blocks(before, "console");
    let by_hand = commands.len();
    commands.extend(blocks(after, "console"));
    assert!(commands.len() >= 8, "only {} commands", commands.len());
    for (n, block) in commands.iter().enumerate() {
        if n == by_hand {
            // What the block in sh does with curl and sed, which are not everywhere.
            let sent = after.split("-d '").nth(1).and_then(|rest| rest.split('\'').next());
            let body = serde_json::from_str(sent.expect("a body")).expect("JSON");
            devices.by_hand(1, "POST", "/access/timeprofile/items/link", Some(&body));
        }
        let (line, shown) = block.split_once('\n').expect("a command");
        let args = line.replace("127.0.0.1:9100", &devices.address.to_string());
        let args = words(&args);
        let (stdout, stderr) = match args[..] {
            ["$", "panelsync", ref args @ ..] => {
                let ran = shell.run(args);
                (ran.stdout, ran.stderr)
            }
            ["$", "echo", input, "|", "panelsync", ref args @ ..] => {
                let ran = shell.run_with(args, input);
                (ran.stdout, ran.stderr)
            }
            ["$", "curl", "-s", url, "-H", "content-type: application/json", "-d", body] => {
                let path = url.strip_prefix("http://127.0.0.1:9101/sim").expect("a switch");
                let body = serde_json::from_str(body).expect("JSON");
                (devices.control("POST", path, Some(&body)).1.to_string(), String::new())
            }
            _ => panic!("no command: {line}"),
        };
        assert_eq!(redact(stdout.trim_end()), redact(shown.trim_end()), "{line}\n{stderr}");
    }
}

/// The text below a heading of the second level.
fn section<'a>(readme: &'a str, heading: &str) -> &'a str {
    let text = readme.split(&format!("## {heading}\n")).nth(1).expect("the heading");
    text.split("\n## ").next().expect("its text")
}

/// Splits at spaces outside of single quotes.
fn words(line: &str) -> Vec<&str> {
    let mut words = Vec::new();
    for (i, part) in line.split('\'').enumerate() {
        if i % 2 == 1 {
            words.push(part);
        } else {
            words.extend(part.split_whitespace());
        }
    }
    words
}
