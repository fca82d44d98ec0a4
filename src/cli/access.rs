//! `panelsync login`, `panelsync user …` and `panelsync token …`.

use std::io::{BufRead, IsTerminal, Write};
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use serde_json::json;
use uuid::Uuid;

use super::client::{self, Client};
use super::{Exit, Failure, Output, output, seconds};
use crate::access::actor::Actor;
use crate::access::{Access, AccessError, MIN_PASSWORD, PasswordMd5, Role};
use crate::clock;
use crate::config::KeySource;
use crate::http::fleet_api::Page;
use crate::http::fleet_api::access::{CreatedToken, Removed, TokenBody, UserBody};
use crate::http::fleet_api::session::SessionBody;
use crate::http::percent;
use crate::panel::settings::Trust;
use crate::store::tables::{AuditRecord, UserRecord};
use crate::store::{FILE_NAME, StoreHandle};
use crate::telemetry::Metrics;

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
    ask_password("Password: ")
}

fn ask_password(prompt: &str) -> Result<String, Failure> {
    rpassword::prompt_password(prompt)
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
        /// Revoke the tokens too that the user made; without it they are named, and live on
        #[arg(long)]
        revoke_tokens: bool,
    },
    /// Change a password; the user's other sessions end
    #[command(
        after_help = "One's own takes the password of now too.\n\nExample:\n  panelsync user passwd olena"
    )]
    Passwd {
        /// The name
        name: String,
        /// Read the new password from standard input, and on the line after it, for one's own, that of now
        #[arg(long)]
        password_stdin: bool,
    },
    /// Set a password in the data folder of a server that is stopped
    #[command(
        after_help = "For when nobody can log in any more. The role stays.\n\nExample:\n  panelsync user reset admin --data-dir /var/lib/panelsync"
    )]
    Reset {
        /// The name
        name: String,
        /// The server's data folder
        #[arg(long, value_name = "DIR")]
        data_dir: PathBuf,
        /// File with the server's key, where that is not in the data folder
        #[arg(long, env = "PANELSYNC_KEY_FILE", value_name = "FILE")]
        key_file: Option<PathBuf>,
        /// Read the new password from standard input instead of asking for it
        #[arg(long)]
        password_stdin: bool,
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
        UserCommand::Rm { name, revoke_tokens } => {
            let path = format!("/users/{}?revoke_tokens={revoke_tokens}", percent(name));
            let answer = client.delete_answered(&path)?;
            let removed: Option<Removed> =
                serde_json::from_value(answer.body).map_err(std::io::Error::other)?;
            match output {
                Output::Json => match &removed {
                    Some(removed) => output::json(removed)?,
                    None => output::json(&json!({ "removed": name, "tokens": [] }))?,
                },
                Output::Table => say!("removed user {name}"),
            }
            for token in removed.iter().flat_map(|removed| &removed.tokens) {
                let TokenBody { id, name, role, .. } = token;
                if *revoke_tokens {
                    note!("revoked the token {name} ({role}), {id}");
                } else {
                    note!(
                        "the token {name} ({role}) that it made lives on; end it with `panelsync token revoke {id}`"
                    );
                }
            }
        }
        UserCommand::Passwd { name, password_stdin } => {
            let path = format!("/users/{}/password", percent(name));
            let new = new_password(*password_stdin)?;
            let answer = client.send_json(&path, &json!({ "password": new }))?;
            // Whether the token is the user's own, only the server knows.
            let is_own = answer.body["errors"][0]["path"] == "/old_password";
            let answer = if is_own {
                let old = if *password_stdin { password(true)? } else { ask_password("Password of now: ")? };
                if old.is_empty() {
                    return Err(Failure::usage(
                        "one's own password takes that of now too: give it on a second line after the new one",
                    ));
                }
                client.send_json(&path, &json!({ "password": new, "old_password": old }))?
            } else {
                answer
            };
            client.good(answer)?;
            match output {
                Output::Json => output::json(&json!({ "changed": name }))?,
                Output::Table => say!("changed the password of {name}; other sessions of {name} are over"),
            }
        }
        UserCommand::Reset { name, data_dir, key_file, password_stdin } => {
            reset(name, data_dir, key_file.clone(), *password_stdin)?;
            match output {
                Output::Json => output::json(&json!({ "changed": name }))?,
                Output::Table => say!("changed the password of {name}; start the server again"),
            }
        }
    }
    Ok(Exit::Done)
}

/// Sets a password in a folder that no server uses.
fn reset(name: &str, data_dir: &Path, key_file: Option<PathBuf>, from_stdin: bool) -> Result<(), Failure> {
    if !data_dir.join(FILE_NAME).exists() {
        return Err(Failure::usage(format!("{} holds no data of a server", data_dir.display())));
    }
    let store = KeySource::from(key_file).open(data_dir, &Metrics::default())?;
    let set = set_password(&store.handle(), name, from_stdin);
    store.close();
    set
}

fn set_password(store: &StoreHandle, name: &str, from_stdin: bool) -> Result<(), Failure> {
    let failed = |error: AccessError| Failure::new(Exit::Failed, error.to_string());
    let users = store.read().and_then(|snapshot| snapshot.users()).map_err(|error| failed(error.into()))?;
    let Some((_, user)) = users.iter().find(|(user, _)| user == name) else {
        let names: Vec<_> = users.iter().map(|(name, _)| name.as_str()).collect();
        return Err(Failure::usage(format!("there is no user {name}; there are {}", names.join(", "))));
    };
    let password = PasswordMd5::of(&new_password(from_stdin)?);
    let role = Role::parse(&user.role).unwrap_or(Role::Viewer); // what is stored stays
    let (user, changed) = (user.clone(), name.to_owned());
    let set = async {
        let record = Access::new(store.clone())?.user_record(password, role).await?;
        let audit = AuditRecord {
            at_ms: clock::now_ms(),
            actor: Actor::Console.to_string(),
            address: String::new(),
            action: "user.password".to_owned(),
            target: changed.clone(),
        };
        let change = store.change(move |tables| {
            let user = UserRecord { verifier: record.verifier.clone(), ..user.clone() };
            tables.replace_user(&changed, &user, &audit)
        });
        Ok(change.await?)
    };
    actix_web::rt::System::new().block_on(set).map_err(failed)
}

/// A new password, which is asked for twice on a terminal.
fn new_password(from_stdin: bool) -> Result<String, Failure> {
    let new = if from_stdin { password(true)? } else { ask_password("New password: ")? };
    if new.chars().count() < MIN_PASSWORD {
        return Err(Failure::usage(format!("a password has at least {MIN_PASSWORD} characters")));
    }
    if !from_stdin && ask_password("New password again: ")? != new {
        return Err(Failure::usage("the two are not the same; nothing was changed"));
    }
    Ok(new)
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
                    ["token", "name", "kind", "role", "created", "expires", "made by"],
                    page.items.iter().map(|token| {
                        [
                            token.id.to_string(),
                            token.name.clone(),
                            token.kind.clone(),
                            token.role.clone(),
                            output::moment(&token.created_at),
                            token.expires_at.as_deref().map_or("never".to_owned(), output::moment),
                            token.made_by.clone().unwrap_or_default(),
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
