//! How requests travel: HTTP, over kept connections.
//!
//! There are as many HTTP servers as there are makers of devices, so what arrives is read as browsers and curl read
//! it: interim answers are passed over, bodies are read to their end however that is marked, unpacked, and freed of a
//! byte order mark. [`connection`] is one connection, [`trust`] which certificates are good, [`packed`] what a body
//! says.
//!
//! **Kept connections.** The pool is our own, since none there is knows what a device is: here a connection belongs
//! to one device, by its whole URL and its trust, and never serves another at the same host and port; there is one
//! idle one per device at most, and none while another call of that device waits; it is given up after
//! [`IDLE_FOR`], because there are devices that serve one connection at a time. A connection on which anything came
//! that nobody asked for is never used again, and its device gets a new one for each call from then on: an answer
//! that comes late cannot be told from that to the next request once that is sent.
//!
//! **Once more.** Where a reused connection ends before a byte of an answer came, the request is sent again, once, on
//! a new one. That is safe because every call to a device is idempotent: by link_id, or a read, or a login. A device
//! on which that happens three times in a row gets a new connection for each call too.

use std::cell::RefCell;
use std::rc::{Rc, Weak};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{self, HeaderValue};
use rustc_hash::FxHashMap;

use super::Trouble;
use super::ask::{Answer, Method, Request};
use crate::panel::settings::{HttpAddress, Trust};

mod certificate;
pub mod connection;
pub mod packed;
pub mod trust;

use connection::{Address, Afterwards, Broken, Connection, NoConnection};
use trust::Configs;

/// The longest answer, in bytes: a page of 50 profiles has about 30,000.
pub const MAX_ANSWER: usize = 4 * 1024 * 1024;

/// An idle connection is given up after so long.
pub const IDLE_FOR: Duration = Duration::from_secs(2);

/// Idle connections at most.
const MAX_IDLE: usize = 8192;

/// Devices of which something is remembered at most.
const MAX_REMEMBERED: usize = 100_000;

/// After so many reused connections in a row that ended without an answer, a device gets one for each call.
const EARLY_ENDS: u8 = 3;

/// How this program calls itself.
pub const USER_AGENT: HeaderValue =
    HeaderValue::from_static(concat!("panelsync/", env!("CARGO_PKG_VERSION")));

/// How long a call may take.
#[derive(Debug, Clone, Copy)]
pub struct Timeouts {
    /// To a connection, its handshake apart, which may take as long again.
    pub connect: Duration,
    /// For the whole request.
    pub request: Duration,
    /// For one in which a device looks at a photo.
    pub slow: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(3),
            request: Duration::from_secs(10),
            slow: Duration::from_secs(30),
        }
    }
}

/// The connections to all devices of one thread.
pub struct Lines {
    timeouts: Timeouts,
    configs: Configs,
    devices: Rc<RefCell<Devices>>,
}

#[derive(Default)]
struct Devices {
    by_url: FxHashMap<Box<str>, Known>,
    idle: usize,
    /// Somebody is awake to give idle connections up.
    watched: bool,
}

/// What is known of a device.
struct Known {
    trust: Trust,
    address: Rc<Address>,
    idle: Option<(Connection, Instant)>,
    /// Calls that are under way.
    busy: u32,
    early_ends: u8,
    one_connection_a_call: bool,
}

impl Known {
    fn is_worth_remembering(&self) -> bool {
        self.busy > 0 || self.idle.is_some() || self.early_ends > 0 || self.one_connection_a_call
    }
}

/// A call to a device, from its beginning to its end or until it is dropped.
struct UnderWay<'a> {
    lines: &'a Lines,
    device: &'a HttpAddress,
}

impl Lines {
    /// No connections yet.
    pub fn new(timeouts: Timeouts) -> Self {
        Self { timeouts, configs: Configs::default(), devices: Rc::default() }
    }

    /// How long a call may take.
    pub fn timeouts(&self) -> &Timeouts {
        &self.timeouts
    }

    /// Sends a request to a device and gives its answer, whatever its status.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future closes the connection; the device has perhaps done what was asked.
    pub async fn send(
        &self,
        device: &HttpAddress,
        request: &Request,
        request_id: Option<&str>,
    ) -> Result<Answer, Trouble> {
        self.send_within(device, request, request_id, MAX_ANSWER).await
    }

    /// [`Lines::send`] with an answer of so many bytes at most.
    pub async fn send_within(
        &self,
        device: &HttpAddress,
        request: &Request,
        request_id: Option<&str>,
        limit: usize,
    ) -> Result<Answer, Trouble> {
        let limit = limit.min(MAX_ANSWER);
        let patience = if request.is_slow { self.timeouts.slow } else { self.timeouts.request };
        match tokio::time::timeout(patience, self.call(device, request, request_id, limit)).await {
            Ok(result) => result,
            Err(_) => Err(Trouble::NoAnswer(format!("no whole answer came within {patience:?}"))),
        }
    }

    async fn call(
        &self,
        device: &HttpAddress,
        request: &Request,
        request_id: Option<&str>,
        limit: usize,
    ) -> Result<Answer, Trouble> {
        let address = self.begin(device)?;
        let under_way = UnderWay { lines: self, device };
        let mut perhaps_done = false;
        if let Some(mut kept) = under_way.take_idle() {
            let outgoing = outgoing(&address, request, request_id, false)?;
            match answer(&mut kept, outgoing, limit).await {
                Ok(answer) => {
                    under_way.finish(kept, true).await;
                    return Ok(answer);
                }
                Err(Failed::Broken(broken)) if broken.unsent || broken.silent => {
                    under_way.ended_early(&broken, kept.was_spoken_to());
                    perhaps_done = !broken.unsent;
                }
                Err(failed) => return Err(failed.trouble()),
            }
        }
        let opening = Connection::open(&address, &device.trust, &self.configs, self.timeouts.connect);
        let mut connection = opening.await.map_err(|error| no_connection(error, perhaps_done))?;
        let outgoing = outgoing(&address, request, request_id, under_way.is_for_one_call())?;
        match answer(&mut connection, outgoing, limit).await {
            Ok(answer) => {
                under_way.finish(connection, false).await;
                Ok(answer)
            }
            Err(Failed::Broken(broken)) => {
                let unsent = broken.unsent && !perhaps_done;
                Err(Failed::Broken(Broken { unsent, ..broken }).trouble())
            }
            Err(failed) => Err(failed.trouble()),
        }
    }

    /// Where the device is. A call to it is under way from now on.
    fn begin(&self, device: &HttpAddress) -> Result<Rc<Address>, Trouble> {
        let mut devices = self.devices.borrow_mut();
        if let Some(known) = devices.by_url.get_mut(&device.url)
            && known.trust == device.trust
        {
            known.busy += 1;
            return Ok(Rc::clone(&known.address));
        }
        let address = Rc::new(Address::parse(&device.url).map_err(Trouble::Unreachable)?);
        let busy = devices.forget(&device.url) + 1;
        let known = Known {
            trust: device.trust.clone(),
            address: Rc::clone(&address),
            idle: None,
            busy,
            early_ends: 0,
            one_connection_a_call: false,
        };
        devices.make_room();
        devices.by_url.insert(device.url.clone(), known);
        Ok(address)
    }
}

impl Devices {
    /// Forgets a device; gives how many calls to it are under way.
    fn forget(&mut self, url: &str) -> u32 {
        let Some(known) = self.by_url.remove(url) else { return 0 };
        self.idle -= usize::from(known.idle.is_some());
        known.busy
    }

    /// Where there are too many, only what is in use is remembered.
    fn make_room(&mut self) {
        if self.by_url.len() >= MAX_REMEMBERED {
            self.by_url.retain(|_, known| known.busy > 0 || known.idle.is_some());
        }
    }

    /// Takes out what has been idle for so long.
    fn sweep(&mut self) -> Vec<(Box<str>, Connection)> {
        let mut old = Vec::new();
        for (url, known) in &mut self.by_url {
            if let Some((connection, _)) = known.idle.take_if(|(_, since)| since.elapsed() >= IDLE_FOR) {
                old.push((url.clone(), connection));
            }
        }
        self.idle -= old.len();
        self.watched = self.idle > 0;
        old
    }
}

/// Gives idle connections up in time, until there are none.
async fn watch(devices: Weak<RefCell<Devices>>) {
    loop {
        tokio::time::sleep(IDLE_FOR / 4).await;
        let Some(devices) = devices.upgrade() else { return };
        let old = devices.borrow_mut().sweep();
        let is_watched = devices.borrow().watched; // who keeps a connection from now on looks for itself
        for (url, mut connection) in old {
            if connection.afterwards().await == Afterwards::Untrusted
                && let Some(known) = devices.borrow_mut().by_url.get_mut(&url)
            {
                known.one_connection_a_call = true;
            }
            connection.close().await;
        }
        devices.borrow_mut().by_url.retain(|_, known| known.is_worth_remembering());
        if !is_watched {
            return;
        }
    }
}

impl UnderWay<'_> {
    /// What is known of the device, unless its trust was changed meanwhile.
    fn known<T>(&self, look: impl FnOnce(&mut Known) -> T) -> Option<T> {
        let mut devices = self.lines.devices.borrow_mut();
        devices.by_url.get_mut(&self.device.url).filter(|known| known.trust == self.device.trust).map(look)
    }

    fn is_for_one_call(&self) -> bool {
        self.known(|known| known.one_connection_a_call).unwrap_or(false)
    }

    /// The kept connection, unless it is too old.
    fn take_idle(&self) -> Option<Connection> {
        let mut devices = self.lines.devices.borrow_mut();
        let (connection, since) = devices.by_url.get_mut(&self.device.url)?.idle.take()?;
        devices.idle -= 1;
        (since.elapsed() < IDLE_FOR).then_some(connection)
    }

    /// A reused connection ended before a byte of an answer came.
    fn ended_early(&self, broken: &Broken, was_spoken_to: bool) {
        self.known(|known| {
            // One that was closed before anything was sent is no harm: the next one costs what it would have anyway.
            known.early_ends = known.early_ends.saturating_add(u8::from(!broken.unsent));
            let spoke = was_spoken_to || !broken.silent;
            known.one_connection_a_call |= spoke || known.early_ends >= EARLY_ENDS;
        });
    }

    /// After a whole answer: keeps the connection, where that may be.
    async fn finish(&self, mut connection: Connection, reused: bool) {
        let afterwards = connection.afterwards().await;
        let keeps = self.known(|known| {
            known.one_connection_a_call |= afterwards == Afterwards::Untrusted;
            if reused {
                known.early_ends = 0;
            }
            // Who waits with another call may wait for this very connection to be closed.
            afterwards == Afterwards::Kept && !known.one_connection_a_call && known.busy == 1
        });
        if keeps == Some(true) {
            self.keep_connection(connection);
        } else {
            connection.close().await;
        }
    }

    fn keep_connection(&self, connection: Connection) {
        let mut devices = self.lines.devices.borrow_mut();
        if devices.idle >= MAX_IDLE {
            return;
        }
        let Some(known) = devices.by_url.get_mut(&self.device.url).filter(|known| known.idle.is_none())
        else {
            return;
        };
        known.idle = Some((connection, Instant::now()));
        devices.idle += 1;
        if !std::mem::replace(&mut devices.watched, true) {
            actix_rt::spawn(watch(Rc::downgrade(&self.lines.devices)));
        }
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        if let Some(known) = self.lines.devices.borrow_mut().by_url.get_mut(&self.device.url) {
            known.busy = known.busy.saturating_sub(1); // under whatever trust
        }
    }
}

fn outgoing(
    address: &Address,
    request: &Request,
    request_id: Option<&str>,
    only_one: bool,
) -> Result<hyper::Request<Full<Bytes>>, Trouble> {
    let body = request.body.as_ref().map_or_else(Bytes::new, |body| Bytes::copy_from_slice(body.as_bytes()));
    let method = match request.method {
        Method::Get => hyper::Method::GET,
        Method::Post => hyper::Method::POST,
        Method::Delete => hyper::Method::DELETE,
    };
    let mut outgoing = address.request(method, &request.path, body).map_err(Trouble::Unreachable)?;
    let headers = outgoing.headers_mut();
    headers.insert(header::USER_AGENT, USER_AGENT);
    headers.insert(header::ACCEPT, HeaderValue::from_static("*/*"));
    if let Some(id) = request_id.and_then(|id| HeaderValue::from_str(id).ok()) {
        headers.insert("x-request-id", id);
    }
    if let Some(token) = &request.token {
        let mut bearer = HeaderValue::from_str(&format!("Bearer {token}"))
            .map_err(|_| Trouble::Unreachable("its token cannot stand in a header".into()))?;
        bearer.set_sensitive(true);
        headers.insert(header::AUTHORIZATION, bearer);
    }
    if request.body.is_some() {
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    } else if request.method != Method::Get {
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from_static("0")); // some refuse a POST without
    }
    if only_one {
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    Ok(outgoing)
}

/// Why there is no answer that can be read.
enum Failed {
    Broken(Broken),
    Unreadable(String),
}

impl Failed {
    /// Only what happens before the first byte of the request is sent is certain.
    fn trouble(self) -> Trouble {
        match self {
            Self::Unreadable(why) => Trouble::Garbled(why),
            Self::Broken(broken) if broken.unsent => Trouble::Unreachable(broken.why),
            Self::Broken(broken) if broken.garbled => Trouble::Garbled(broken.why),
            Self::Broken(broken) => Trouble::NoAnswer(broken.why),
        }
    }
}

async fn answer(
    connection: &mut Connection,
    outgoing: hyper::Request<Full<Bytes>>,
    limit: usize,
) -> Result<Answer, Failed> {
    let head = connection.send(outgoing).await.map_err(Failed::Broken)?;
    let text = |name| head.headers.get(name).and_then(|value| value.to_str().ok());
    let location = text(header::LOCATION).map(str::to_owned);
    let body = connection.whole(limit).await.map_err(Failed::Broken)?;
    let encoding = text(header::CONTENT_ENCODING).unwrap_or_default();
    let body = packed::plain(body, encoding, limit).map_err(Failed::Unreadable)?;
    Ok(Answer { status: head.status.as_u16(), location, body })
}

/// What it means that there is no connection: nothing is done, unless the request had been sent on another before.
fn no_connection(error: NoConnection, perhaps_done: bool) -> Trouble {
    match error {
        NoConnection::Unreachable(why) | NoConnection::Certificate(why) | NoConnection::NoTls(why)
            if perhaps_done =>
        {
            Trouble::NoAnswer(format!("it closed the connection, and then: {why}"))
        }
        NoConnection::Unreachable(why) => Trouble::Unreachable(why),
        NoConnection::Certificate(why) => Trouble::Certificate(why),
        NoConnection::NoTls(why) => Trouble::NoTls(why),
    }
}
