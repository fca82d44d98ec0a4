//! The README's tour gives what it shows: every command of it is run, in order, against a real server.

use crate::support::binary::Shell;
use crate::support::redact::redact;
use crate::support::server::TestServer;

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
    let tour = readme.split("## A five-minute tour").nth(1).expect("a tour");
    let tour = tour.split("\n## ").next().expect("its text");
    let server = TestServer::start();
    let shell = Shell::new(server.address(), Some(server.token()));
    let yaml = blocks(tour, "yaml");
    shell.file("profiles.yaml", yaml.first().expect("the profiles"));
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
