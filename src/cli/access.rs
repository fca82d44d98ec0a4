//! `panelsync login`, `panelsync user …` and `panelsync token …`.

use std::io::{BufRead, IsTerminal, Write};

use clap::{Args, Subcommand};
use serde_json::json;
use uuid::Uuid;

use super::client::{self, Client};
use super::{Exit, Failure, Output, output, seconds};
use crate::access::Role;
use crate::http::fleet_api::Page;
use crate::http::fleet_api::access::{CreatedToken, TokenBody, UserBody};
use crate::http::fleet_api::session::SessionBody;
use crate::http::percent;
use crate::panel::settings::Trust;

/// What `login` takes.
#[derive(Debug, Args)]
pub struct LoginArgs {
    /// The user; asked for without it
    #[arg(long, value_name = "NAME")]
    username: Option<String>,
    /// Read the password from standard input instead of asking for it
    #[arg(long, requires = "username")]
    password_stdin: bool,
    /// The CA of the server's certificate, or that very certificate, PEM; kept with the token
    #[arg(long, value_name = "FILE", conflicts_with = "pin")]
    ca_file: Option<std::path::PathBuf>,
    /// The SHA-256 of the server's one certificate, in hex; kept with the token
    #[arg(long, value_name = "HEX")]
    pin: Option<String>,
}

/// Logs in and keeps the token. `trust` is what was given for every command.
pub fn login(args: &LoginArgs, server: &str, trust: Option<Trust>) -> Result<Exit, Failure> {
    let trust = super::trust(args.ca_file.as_deref(), args.pin.as_deref())?.or(trust);
    let client = Client::new(server, Some(""), trust.clone())?;
    let username = match &args.username {
        Some(username) => username.clone(),
        None => ask("User: ")?,
    };
    let password = password(args.password_stdin)?;
    let credentials = json!({ "username": username, "password": password });
    let answer = client.post("/session", &[], &credentials)?;
    let session: SessionBody = serde_json::from_value(answer.body).map_err(std::io::Error::other)?;
    let path = client::keep_token(server, &session.token, trust.as_ref())?;
    note!(
        "logged in to {server} as {username} ({}), until {}; the token is kept in {}",
        session.role.as_str(),
        output::moment(&session.expires_at),
        path.display()
    );
    Ok(Exit::Done)
}

fn ask(prompt: &str) -> Result<String, Failure> {
    let stdin = std::io::stdin();
    if !stdin.is_terminal() {
        return Err(Failure::usage("there is no terminal to ask on; give --username and --password-stdin"));
    }
    let mut stderr = std::io::stderr();
    write!(stderr, "{prompt}")?;
    stderr.flush()?;
    let mut line = String::new();
    stdin.lock().read_line(&mut line)?;
    Ok(line.trim().to_owned())
}

pub(super) fn password(from_stdin: bool) -> Result<String, Failure> {
    if from_stdin {
        let mut line = String::new();
        std::io::stdin().lock().read_line(&mut line)?;
        // One end of line ends it; whatever else stands there is of the password.
        let line =
            line.strip_suffix('\n').map_or(line.as_str(), |line| line.strip_suffix('\r').unwrap_or(line));
        return Ok(line.to_owned());
    }
    rpassword::prompt_password("Password: ")
        .map_err(|_| Failure::usage("there is no terminal to ask for the password on; give --password-stdin"))
}

/// The commands on users.
#[derive(Debug, Subcommand)]
pub enum UserCommand {
    /// Add a user; the password is asked for
    #[command(after_help = "Example:\n  panelsync user add olena --role operator")]
    Add {
        /// The name
        name: String,
        /// What the user may do
        #[arg(long, value_enum)]
        role: Role,
        /// Read the password from standard input instead of asking for it
        #[arg(long)]
        password_stdin: bool,
    },
    /// List users
    Ls,
    /// Remove a user and end the user's sessions
    Rm {
        /// The name
        name: String,
    },
}

/// Runs a command on users.
pub fn user(command: &UserCommand, client: &Client, output: Output) -> Result<Exit, Failure> {
    match command {
        UserCommand::Add { name, role, password_stdin } => {
            let password = password(*password_stdin)?;
            let answer =
                client.post("/users", &[], &json!({ "name": name, "role": role, "password": password }))?;
            match output {
                Output::Json => output::json(&answer.body)?,
                Output::Table => say!("added user {name} ({})", role.as_str()),
            }
        }
        UserCommand::Ls => {
            let page: Page<UserBody> = client.get("/users")?;
            match output {
                Output::Json => output::json(&page.items)?,
                Output::Table => output::table(
                    ["user", "role", "since"],
                    page.items
                        .iter()
                        .map(|user| [user.name.clone(), user.role.clone(), output::moment(&user.created_at)]),
                ),
            }
        }
        UserCommand::Rm { name } => {
            client.delete(&format!("/users/{}", percent(name)))?;
            match output {
                Output::Json => output::json(&json!({ "removed": name }))?,
                Output::Table => say!("removed user {name}"),
            }
        }
    }
    Ok(Exit::Done)
}

/// The commands on tokens.
#[derive(Debug, Subcommand)]
pub enum TokenCommand {
    /// Make a token for a program; it is printed this once
    #[command(after_help = "Example:\n  panelsync token create door-sync --role operator --expires 90d")]
    Create {
        /// What it is called
        name: String,
        /// What its bearer may do
        #[arg(long, value_enum)]
        role: Role,
        /// How long it lives, such as 90d; for ever without it
        #[arg(long, value_name = "TIME", value_parser = seconds)]
        expires: Option<u64>,
    },
    /// List tokens and sessions
    Ls,
    /// Revoke a token or end a session
    Revoke {
        /// Its id, from `token ls`
        id: Uuid,
    },
}

/// Runs a command on tokens.
pub fn token(command: &TokenCommand, client: &Client, output: Output) -> Result<Exit, Failure> {
    match command {
        TokenCommand::Create { name, role, expires } => {
            let body = json!({ "name": name, "role": role, "expires_in": expires });
            let answer = client.post("/tokens", &[], &body)?;
            let created: CreatedToken = serde_json::from_value(answer.body).map_err(std::io::Error::other)?;
            match output {
                Output::Json => output::json(&created)?,
                Output::Table => {
                    say!("{}", created.token);
                    note!("token {} ({}); it is shown this once", created.about.id, created.about.role);
                }
            }
        }
        TokenCommand::Ls => {
            let page: Page<TokenBody> = client.get("/tokens")?;
            match output {
                Output::Json => output::json(&page.items)?,
                Output::Table => output::table(
                    ["token", "name", "kind", "role", "created", "expires"],
                    page.items.iter().map(|token| {
                        [
                            token.id.to_string(),
                            token.name.clone(),
                            token.kind.clone(),
                            token.role.clone(),
                            output::moment(&token.created_at),
                            token.expires_at.as_deref().map_or("never".to_owned(), output::moment),
                        ]
                    }),
                ),
            }
        }
        TokenCommand::Revoke { id } => {
            client.delete(&format!("/tokens/{id}"))?;
            match output {
                Output::Json => output::json(&json!({ "revoked": id }))?,
                Output::Table => say!("revoked {id}"),
            }
        }
    }
    Ok(Exit::Done)
}
