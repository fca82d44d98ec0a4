//! The log in PostgreSQL: its entries, who leads, and which nodes there are.
//!
//! | table | what |
//! | --- | --- |
//! | `fleet` | one row: which fleet's log this is, with which key it is sealed, the format of its entries, and after which entry of an earlier log it begins |
//! | `lead` | one row: who leads, in which reign, with which beat; a sign of life, which protects nothing |
//! | `commits` | the entries: number, reign, format, and the sealed body, whose last 16 bytes are its tag |
//! | `nodes` | the nodes, how far they are, and when they were last seen, by the database's clock |
//!
//! Each deed is one statement: a transaction of several would hold locks while its client is paused. A statement whose answer
//! does not come is perhaps done.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio_postgres::config::{SslMode, TargetSessionAttrs};
use tokio_postgres::error::SqlState;
use tokio_postgres::{AsyncMessage, Client, Config, NoTls, Statement, Transaction};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::panel::device::line::trust::Configs;
use crate::panel::settings::Trust;
use crate::store::entry::EntryTag;
use crate::store::shipped::Position;

mod rows;
mod schema;

pub use rows::{EntryRow, FleetRow, LeadRow, Look, Me, NodeRow};
use rows::{fleet_row, look_of, number_in};

/// How long a connection may take, for each of the database's addresses.
const CONNECT_WITHIN: Duration = Duration::from_secs(3);

/// How long a statement may take that is no commit.
pub const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// Under this name listeners hear that there is something new.
const CHANNEL: &str = "panelsync";

/// Bytes of entries that are read at once, when there are more than one.
const READ_AT_ONCE: i64 = 16 * 1024 * 1024;

/// Why the log did not do what it was asked for.
#[derive(Debug, Clone, thiserror::Error)]
pub enum LogError {
    /// There is no answer. What was asked for is perhaps done.
    #[error("the log's database does not answer: {0}")]
    Unreachable(String),
    /// It says no, for a reason that a person has to look at.
    #[error("the log's database says no: {0}")]
    Refused(String),
    /// The number has an entry, or somebody else has made it.
    #[error("the entry is there already")]
    Taken,
    /// What stands there is none of ours.
    #[error("the log's database holds an unreadable {0}")]
    Unreadable(&'static str),
}

impl From<tokio_postgres::Error> for LogError {
    fn from(error: tokio_postgres::Error) -> Self {
        match error.as_db_error() {
            Some(said) if *said.code() == SqlState::UNIQUE_VIOLATION => Self::Taken,
            // It is starting, stopping, a standby, or full: by itself, or by somebody's hands, that goes over.
            Some(said) if is_of_the_moment(said.code()) => Self::Unreachable(said.message().to_owned()),
            Some(said) => Self::Refused(said.message().to_owned()),
            None => {
                let cause = std::error::Error::source(&error).map(ToString::to_string);
                Self::Unreachable(cause.unwrap_or_else(|| error.to_string()))
            }
        }
    }
}

/// Whether an error is one of the database's moment, rather than of what was asked for.
fn is_of_the_moment(code: &SqlState) -> bool {
    let class = code.code().get(..2).unwrap_or_default();
    // Connections, invalid state, resources, a person's or the system's doing, input and output; and a standby, which
    // takes no writes.
    matches!(class, "08" | "25" | "40" | "53" | "55" | "57" | "58" | "XX")
}

/// Where the log's database is.
#[derive(Clone)]
pub struct Address {
    config: Config,
    tls: Option<rustls::ClientConfig>,
}

impl Address {
    /// Of a URL such as `postgres://panelsync@db1,db2/panelsync`, or the same in the words of libpq. TLS is spoken where it
    /// says `sslmode=require`, and then with a server whose certificate this trust vouches for.
    pub fn parse(url: &str, trust: &Trust, node: &str) -> Result<Self, String> {
        let mut config: Config = url.parse().map_err(|error: tokio_postgres::Error| {
            let cause = std::error::Error::source(&error).map(ToString::to_string);
            cause.unwrap_or_else(|| error.to_string())
        })?;
        if config.get_hosts().is_empty() && config.get_hostaddrs().is_empty() {
            return Err("it names no host".to_owned());
        }
        if config.get_connect_timeout().is_none() {
            config.connect_timeout(CONNECT_WITHIN);
        }
        // The planner takes our small tables for large, and would compile each look for seconds.
        let options = [config.get_options().unwrap_or_default(), "-c jit=off"].join(" ");
        config
            .options(options.trim())
            .application_name(format!("panelsync {node}"))
            .target_session_attrs(TargetSessionAttrs::ReadWrite)
            .keepalives_idle(Duration::from_secs(5))
            .tcp_user_timeout(Duration::from_secs(10));
        let tls = match config.get_ssl_mode() {
            SslMode::Require => {
                let config = Configs::default().get(trust, "").map_err(|refused| format!("{refused:?}"))?;
                let mut config = rustls::ClientConfig::clone(&config);
                config.alpn_protocols.clear();
                Some(config)
            }
            _ => {
                config.ssl_mode(SslMode::Disable);
                None
            }
        };
        Ok(Self { config, tls })
    }

    /// Its hosts, without any secret.
    pub fn hosts(&self) -> String {
        let hosts = self.config.get_hosts().iter().map(|host| match host {
            tokio_postgres::config::Host::Tcp(name) => name.clone(),
            #[cfg(unix)]
            tokio_postgres::config::Host::Unix(path) => path.display().to_string(),
        });
        hosts.collect::<Vec<_>>().join(",")
    }

    /// Whether what is sent there may be read by others on the way.
    pub fn is_open(&self) -> bool {
        self.tls.is_none()
            && self.config.get_hosts().iter().any(|host| match host {
                tokio_postgres::config::Host::Tcp(name) => {
                    name != "localhost" && !name.parse().is_ok_and(|ip: std::net::IpAddr| ip.is_loopback())
                }
                #[cfg(unix)]
                tokio_postgres::config::Host::Unix(_) => false,
            })
    }

    /// Connects.
    pub async fn open(&self) -> Result<Log, LogError> {
        let hosts = self.config.get_hosts().len().max(1) as u32;
        let within = CONNECT_WITHIN * 2 * hosts;
        let opening = async {
            match &self.tls {
                None => {
                    let (client, connection) = self.config.connect(NoTls).await?;
                    Ok(Log::on(client, connection).await)
                }
                Some(tls) => {
                    let tls = MakeRustlsConnect::new(tls.clone());
                    let (client, connection) = self.config.connect(tls).await?;
                    Ok(Log::on(client, connection).await)
                }
            }
        };
        match tokio::time::timeout(within, opening).await {
            Ok(opened) => opened,
            Err(_) => Err(LogError::Unreachable(format!("no connection within {} s", within.as_secs()))),
        }
    }
}

/// A connection to the log. Its requests may not be asked at the same time.
pub struct Log {
    client: Client,
    news: Arc<Notify>,
    driver: tokio::task::JoinHandle<()>,
    append: Option<Statement>,
}

impl Drop for Log {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl Log {
    async fn on<S, T>(client: Client, mut connection: tokio_postgres::Connection<S, T>) -> Self
    where
        S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
        T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
    {
        let news = Arc::new(Notify::new());
        let told = Arc::clone(&news);
        let driver = tokio::spawn(async move {
            while let Some(message) = std::future::poll_fn(|cx| connection.poll_message(cx)).await {
                match message {
                    Ok(AsyncMessage::Notification(_)) => told.notify_one(),
                    Ok(_) => {}
                    Err(_) => break, // whoever asks next is told
                }
            }
            told.notify_one();
        });
        Self { client, news, driver, append: None }
    }

    /// Waits at most so long for an answer.
    async fn within<T>(
        time: Duration,
        asking: impl Future<Output = Result<T, tokio_postgres::Error>>,
    ) -> Result<T, LogError> {
        match tokio::time::timeout(time, asking).await {
            Ok(answer) => Ok(answer?),
            Err(_) => Err(LogError::Unreachable(format!("no answer within {} s", time.as_secs()))),
        }
    }

    /// Hears of what is new from now on.
    pub async fn listen(&self) -> Result<(), LogError> {
        Self::within(ANSWER_WITHIN, self.client.batch_execute(&format!("listen {CHANNEL}"))).await
    }

    /// Resolves when something is perhaps new. It is a hint: look from time to time without it, too.
    pub async fn news(&self) {
        self.news.notified().await;
    }

    /// Whether the connection has ended.
    pub fn is_closed(&self) -> bool {
        self.client.is_closed()
    }

    /// What the log says of itself; nothing where there is no log yet.
    pub async fn fleet(&self) -> Result<Option<FleetRow>, LogError> {
        let there = Self::within(ANSWER_WITHIN, self.client.query_one(schema::IS_THERE, &[])).await?;
        if !there.try_get::<_, bool>(0)? {
            return Ok(None);
        }
        let row = Self::within(ANSWER_WITHIN, self.client.query_opt(schema::FLEET, &[])).await?;
        row.map(|row| fleet_row(&row)).transpose()
    }

    /// Makes the log, where there is none. Gives the one that is there then: of two that make one at once, one is told of
    /// the other's.
    pub async fn found(&mut self, fleet: &FleetRow) -> Result<FleetRow, LogError> {
        Self::within(ANSWER_WITHIN * 2, async {
            let transaction = self.client.transaction().await?;
            transaction.batch_execute(schema::LOCK).await?; // the schema is made by one at a time
            transaction.batch_execute(schema::MAKE).await?;
            insert_fleet(&transaction, fleet).await?;
            transaction.commit().await
        })
        .await?;
        self.fleet().await?.ok_or(LogError::Unreadable("fleet"))
    }

    /// From now on entries have this format.
    pub async fn set_format(&self, format: u32, base: Position) -> Result<(), LogError> {
        let (format, number) = (format as i32, base.number as i64);
        Self::within(
            ANSWER_WITHIN,
            self.client.execute(schema::SET_FORMAT, &[&format, &number, &&base.tag[..]]),
        )
        .await
        .map(|_| ())
    }

    /// Makes this the entry of its number, if there is none, and tells all who listen.
    pub async fn append(
        &mut self,
        number: u64,
        reign: u64,
        format: u32,
        body: &[u8],
        within: Duration,
    ) -> Result<(), LogError> {
        let statement = match &self.append {
            Some(statement) => statement.clone(),
            None => {
                let prepared = Self::within(ANSWER_WITHIN, self.client.prepare(schema::APPEND)).await?;
                self.append.insert(prepared).clone()
            }
        };
        let (number, reign, format) = (number as i64, reign as i64, format as i32);
        Self::within(within, self.client.execute(&statement, &[&number, &reign, &format, &body]))
            .await
            .map(|_| ())
    }

    /// The entries after this one, in order: at least one where there is one, then so many and so large together that it is
    /// worth a while.
    pub async fn after(&self, number: u64, most: u32) -> Result<Vec<EntryRow>, LogError> {
        let (number, most) = (number as i64, i64::from(most));
        let rows = Self::within(
            ANSWER_WITHIN * 6,
            self.client.query(schema::AFTER, &[&number, &most, &READ_AT_ONCE]),
        )
        .await?;
        rows.iter()
            .map(|row| {
                Ok(EntryRow {
                    number: number_in(row, 0)?,
                    reign: number_in(row, 1)?,
                    format: row.try_get::<_, i32>(2)? as u32,
                    body: row.try_get(3)?,
                })
            })
            .collect()
    }

    /// The tag of an entry, where the log has it; and the numbers of the first and the last entry that it has.
    pub async fn tag_at(&self, number: u64) -> Result<(Option<EntryTag>, Option<(u64, u64)>), LogError> {
        let row =
            Self::within(ANSWER_WITHIN, self.client.query_one(schema::TAG_AT, &[&(number as i64)])).await?;
        let tag = match row.try_get::<_, Option<Vec<u8>>>(0)? {
            Some(tag) => Some(tag.try_into().map_err(|_| LogError::Unreadable("tag"))?),
            None => None,
        };
        let (first, last): (Option<i64>, Option<i64>) = (row.try_get(1)?, row.try_get(2)?);
        Ok((tag, first.zip(last).map(|(first, last)| (first as u64, last as u64))))
    }

    /// Takes a name for this run of a node, whoever had it.
    pub async fn enrol(&self, me: &Me, format: u32, at: Position) -> Result<(), LogError> {
        let version = env!("CARGO_PKG_VERSION");
        let (number, format) = (at.number as i64, format as i32);
        let values: &[&(dyn tokio_postgres::types::ToSql + Sync)] =
            &[&me.name, &me.url, &version, &format, &number, &&at.tag[..], &me.run];
        Self::within(ANSWER_WITHIN, self.client.execute(schema::ENROL, values)).await.map(|_| ())
    }

    /// Shows how far this node is, and looks at who leads and at all nodes.
    pub async fn look(&self, me: &Me, at: Position) -> Result<Look, LogError> {
        let number = at.number as i64;
        look_of(
            &Self::within(
                ANSWER_WITHIN,
                self.client.query(schema::LOOK, &[&me.name, &me.run, &number, &&at.tag[..]]),
            )
            .await?,
            me,
        )
    }

    /// Looks at who leads and at all nodes, and shows nothing.
    pub async fn peek(&self, me: &Me) -> Result<Look, LogError> {
        look_of(&Self::within(ANSWER_WITHIN, self.client.query(schema::PEEK, &[])).await?, me)
    }

    /// Takes the lead from the one who was seen to have it, unless that has changed, for a node that vouches for where it
    /// is. Gives the new reign.
    pub async fn take_lead(&self, was: &LeadRow, me: &Me, url: &str) -> Result<Option<u64>, LogError> {
        let (reign, beat) = (was.reign as i64, was.beat as i64);
        let row = Self::within(
            ANSWER_WITHIN,
            self.client.query_opt(schema::TAKE_LEAD, &[&reign, &beat, &me.name, &url]),
        )
        .await?;
        row.map(|row| number_in(&row, 0)).transpose()
    }

    /// The leader's sign of life; whether it still leads.
    pub async fn beat(&self, reign: u64, me: &Me) -> Result<bool, LogError> {
        Ok(Self::within(ANSWER_WITHIN, self.client.execute(schema::BEAT, &[&(reign as i64), &me.name]))
            .await?
            > 0)
    }

    /// Gives the lead back, and wakes the others.
    pub async fn release_lead(&self, reign: u64, me: &Me) -> Result<(), LogError> {
        Self::within(ANSWER_WITHIN, self.client.execute(schema::RELEASE, &[&(reign as i64), &me.name]))
            .await
            .map(|_| ())
    }

    /// The name is free at once for another run, which need not wait whether this one lives.
    pub async fn leave(&self, me: &Me) -> Result<(), LogError> {
        Self::within(ANSWER_WITHIN, self.client.execute(schema::LEAVE, &[&me.name, &me.run]))
            .await
            .map(|_| ())
    }

    /// Forgets a node that was not seen for so long. Whether there was one.
    pub async fn remove_node(&self, name: &str, unseen: Duration) -> Result<bool, LogError> {
        Ok(Self::within(
            ANSWER_WITHIN,
            self.client.execute(schema::REMOVE_NODE, &[&name, &unseen.as_secs_f64()]),
        )
        .await?
            > 0)
    }

    /// Drops entries that all nodes have applied which were seen in the last day, and what is older than a day or beyond
    /// 4 GiB; never the last one. Gives how many, at most a thousand at once.
    pub async fn trim(&self) -> Result<u64, LogError> {
        Self::within(ANSWER_WITHIN * 6, self.client.execute(schema::TRIM, &[])).await
    }

    /// What of the database's settings costs promises, in words: nothing where all is well.
    pub async fn risks(&self) -> Result<Vec<String>, LogError> {
        let rows = Self::within(ANSWER_WITHIN, self.client.query(schema::RISKS, &[])).await?;
        rows.iter().map(|row| Ok(row.try_get(0)?)).collect()
    }
}

async fn insert_fleet(transaction: &Transaction<'_>, fleet: &FleetRow) -> Result<(), tokio_postgres::Error> {
    let (format, number) = (fleet.format as i32, fleet.base.number as i64);
    let values: &[&(dyn tokio_postgres::types::ToSql + Sync)] =
        &[&fleet.id, &fleet.key_check, &format, &number, &&fleet.base.tag[..]];
    transaction.execute(schema::FOUND, values).await?;
    transaction.batch_execute(schema::FOUND_LEAD).await
}
