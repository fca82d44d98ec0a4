//! Signals to processes that were started here, and ports for them.

use std::net::{Ipv4Addr, TcpListener};
use std::sync::atomic::{AtomicU16, Ordering};

use rustix::process::{Pid, Signal, kill_process};

/// Sends a signal to a process that was started here.
pub fn send(signal: Signal, process: u32) {
    if let Some(process) = Pid::from_raw(process as i32) {
        let _ = kill_process(process, signal); // it may be gone
    }
}

/// A port of loopback that nobody listens on, and that is given to nobody else here for long. The kernel gives these to no
/// connection, so that whoever is stopped can listen there again.
pub fn free_port() -> u16 {
    const FIRST: u16 = 21_000;
    const PORTS: u16 = 1_000;
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let _ = NEXT.compare_exchange(0, fastrand::u16(1..=PORTS), Ordering::Relaxed, Ordering::Relaxed); // the first call
    (0..PORTS)
        .map(|_| FIRST + NEXT.fetch_add(1, Ordering::Relaxed) % PORTS)
        .find(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok())
        .expect("a free port")
}
