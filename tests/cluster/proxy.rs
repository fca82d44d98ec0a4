//! A line between two of them, that can be bad: it passes, delays, holds what is sent, or resets.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use socket2::SockRef;

use super::free_port;

/// So often a connection looks whether the line has changed.
const LOOK: Duration = Duration::from_millis(25);

/// How the line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Line {
    Passes,
    /// Each piece comes so much later.
    Delays(Duration),
    /// A black hole: connections stay open and new ones are taken, and nothing comes through. What was sent arrives when
    /// the line passes again, as TCP would send it again, unless the connections were reset before.
    Holds,
    /// Every connection is reset.
    Resets,
}

struct Shared {
    line: Mutex<Line>,
    /// Connections of an earlier count are reset.
    resets: AtomicU64,
    /// How many connections there were, and the first that is not held.
    connections: AtomicU64,
    held_before: AtomicU64,
    target: SocketAddr,
    ended: AtomicBool,
}

impl Shared {
    fn line(&self) -> Line {
        *self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn holds(&self, number: u64) -> bool {
        self.line() == Line::Holds || self.is_lost(number)
    }

    fn is_lost(&self, number: u64) -> bool {
        number < self.held_before.load(Ordering::Relaxed)
    }

    fn is_over(&self, since: u64) -> bool {
        self.ended.load(Ordering::Relaxed) || self.resets.load(Ordering::Relaxed) != since
    }
}

/// Listens on a port of its own for connections to another one.
pub struct Proxy {
    pub port: u16,
    shared: Arc<Shared>,
}

impl Proxy {
    /// To this port of loopback.
    pub fn to(target: u16) -> Self {
        let port = free_port();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).expect("it is free");
        let shared = Arc::new(Shared {
            line: Mutex::new(Line::Passes),
            resets: AtomicU64::new(0),
            connections: AtomicU64::new(0),
            held_before: AtomicU64::new(0),
            target: (Ipv4Addr::LOCALHOST, target).into(),
            ended: AtomicBool::new(false),
        });
        let of_it = Arc::clone(&shared);
        std::thread::spawn(move || {
            for client in listener.incoming() {
                if of_it.ended.load(Ordering::Relaxed) {
                    return;
                }
                let (Ok(client), shared) = (client, Arc::clone(&of_it)) else { continue };
                std::thread::spawn(move || connection(client, &shared));
            }
        });
        Self { port, shared }
    }

    /// From now on the line is so.
    pub fn set(&self, line: Line) {
        *self.shared.line.lock().unwrap_or_else(PoisonError::into_inner) = line;
        if line == Line::Resets {
            self.reset();
        }
    }

    /// From now on nothing comes through the connections that are open, as if those at one end were lost with their
    /// machine, and later ones are as the line is.
    pub fn hold_open_ones(&self) {
        let connections = self.shared.connections.load(Ordering::Relaxed);
        self.shared.held_before.store(connections, Ordering::Relaxed);
    }

    /// What was held comes through.
    pub fn let_go(&self) {
        self.shared.held_before.store(0, Ordering::Relaxed);
    }

    /// Resets all connections that are open, and what they hold is gone; new ones are as the line is.
    pub fn reset(&self) {
        self.shared.resets.fetch_add(1, Ordering::Relaxed);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)); // so that the thread sees it
    }
}

/// Closes it so that the other side sees a reset. Nobody else may hold it.
fn reset(stream: &TcpStream) {
    let _ = SockRef::from(stream).set_linger(Some(Duration::ZERO)); // else it is closed in order
}

fn connection(client: TcpStream, shared: &Arc<Shared>) {
    let since = shared.resets.load(Ordering::Relaxed);
    let number = shared.connections.fetch_add(1, Ordering::Relaxed);
    while shared.holds(number) && !shared.is_over(since) {
        std::thread::sleep(LOOK);
    }
    let server = if shared.line() == Line::Resets || shared.is_over(since) {
        None
    } else {
        TcpStream::connect(shared.target).ok()
    };
    let Some(server) = server else { return reset(&client) };
    for stream in [&client, &server] {
        let set = stream.set_nodelay(true).and_then(|()| stream.set_read_timeout(Some(LOOK)));
        set.and_then(|()| stream.set_write_timeout(Some(LOOK))).expect("it can be set");
    }
    std::thread::scope(|scope| {
        scope.spawn(|| pump(&client, &server, shared, number, since));
        pump(&server, &client, shared, number, since);
    });
    if shared.is_over(since) {
        reset(&client);
        reset(&server);
    }
}

/// Carries what comes, until its end or the end of the connection.
fn pump(mut from: &TcpStream, mut to: &TcpStream, shared: &Shared, number: u64, since: u64) {
    let mut bytes = vec![0; 1 << 16];
    let mut of_the_lost = false;
    while !shared.is_over(since) {
        let length = match from.read(&mut bytes) {
            Ok(length) => length,
            Err(error) if is_pause(error.kind()) => continue,
            Err(_) => 0,
        };
        if let Line::Delays(time) = shared.line() {
            std::thread::sleep(time);
        }
        while shared.holds(number) && !shared.is_over(since) {
            of_the_lost |= shared.is_lost(number);
            std::thread::sleep(LOOK);
        }
        if of_the_lost {
            return arrive_late(&bytes[..length], shared, since);
        }
        let mut rest = &bytes[..length];
        while !rest.is_empty() && !shared.is_over(since) {
            match to.write(rest) {
                Ok(written) => rest = &rest[written..],
                Err(error) if is_pause(error.kind()) => {}
                Err(_) => {
                    let _ = from.shutdown(std::net::Shutdown::Read); // nobody takes what is still sent
                    return;
                }
            }
        }
        if length == 0 {
            let _ = to.shutdown(std::net::Shutdown::Write); // it may be gone
            return;
        }
    }
}

/// What a machine that is gone had sent: whoever it was sent to gets it by a connection that stays open, since nobody is there
/// who would close it.
fn arrive_late(bytes: &[u8], shared: &Shared, since: u64) {
    let Ok(mut to) = TcpStream::connect(shared.target) else { return };
    let _ = to.write_all(bytes); // it may be gone, too
    while !shared.is_over(since) {
        std::thread::sleep(LOOK);
    }
}

fn is_pause(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted)
}
