//! Where log lines go: to standard error, by a thread of their own. Whoever logs never waits and never fails, be it that
//! nobody reads, that the reader is gone, or that the disk behind it is full; what cannot be kept until it is written is
//! counted, and the count is written when something can be.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use tracing_subscriber::fmt::MakeWriter;

/// Lines that wait to be written at most, and their bytes.
const WAITING: usize = 8192;
const WAITING_BYTES: usize = 8 << 20;

/// How long the program's end waits for lines to be written.
const LAST: Duration = Duration::from_secs(1);

/// The way to the thread that writes. Cheap to clone.
#[derive(Clone)]
pub(super) struct Lines {
    sender: SyncSender<Told>,
    waiting: Arc<AtomicUsize>,
    lost: Arc<AtomicU64>,
}

enum Told {
    Line(Vec<u8>),
    /// Somebody waits until all before this is written.
    Flush(SyncSender<()>),
}

impl Lines {
    /// Starts the thread.
    pub(super) fn start(to: impl Write + Send + 'static) -> io::Result<Self> {
        let (sender, receiver) = sync_channel(WAITING);
        let lines = Self { sender, waiting: Arc::default(), lost: Arc::default() };
        let (waiting, lost) = (Arc::clone(&lines.waiting), Arc::clone(&lines.lost));
        std::thread::Builder::new()
            .name("log".into())
            .spawn(move || write_all(to, &receiver, &waiting, &lost))?;
        Ok(lines)
    }

    fn queue_line(&self, line: &[u8]) {
        let size = line.len();
        let room = self.waiting.fetch_add(size, Ordering::Relaxed) + size <= WAITING_BYTES;
        if !room || self.sender.try_send(Told::Line(line.to_vec())).is_err() {
            self.waiting.fetch_sub(size, Ordering::Relaxed);
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Waits a bounded time until what was logged is written.
    pub(super) fn flush(&self) {
        let (sender, written) = sync_channel(1);
        if self.sender.try_send(Told::Flush(sender)).is_ok() {
            let _ = written.recv_timeout(LAST); // nobody reads; the end does not wait for that
        }
    }
}

fn write_all(mut to: impl Write, receiver: &Receiver<Told>, waiting: &AtomicUsize, lost: &AtomicU64) {
    while let Ok(told) = receiver.recv() {
        match told {
            Told::Line(line) => {
                waiting.fetch_sub(line.len(), Ordering::Relaxed);
                let mut written = to.write_all(&line);
                let missing = lost.swap(0, Ordering::Relaxed);
                if missing > 0 && written.is_ok() {
                    written =
                        writeln!(to, "{missing} log lines before this were lost: they could not be written");
                }
                if written.is_err() {
                    // There is nobody to tell.
                    lost.fetch_add(missing + 1, Ordering::Relaxed);
                }
            }
            Told::Flush(done) => {
                let _ = to.flush();
                let _ = done.send(()); // whoever waited may have left
            }
        }
    }
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Self::Writer {
        Line(self)
    }
}

/// Takes one line.
pub(super) struct Line<'a>(&'a Lines);

impl Write for Line<'_> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.queue_line(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Condvar, Mutex};

    use super::*;

    #[derive(Default)]
    struct State {
        open: bool,
        fails: u32,
        written: Vec<u8>,
    }

    /// Takes nothing until it is opened, and then fails as often as told.
    #[derive(Clone, Default)]
    struct Gate(Arc<(Mutex<State>, Condvar)>);

    impl Write for Gate {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let (state, wake) = &*self.0;
            let mut state =
                wake.wait_while(state.lock().expect("whole"), |state| !state.open).expect("whole");
            if state.fails > 0 {
                state.fails -= 1;
                return Err(io::ErrorKind::StorageFull.into());
            }
            state.written.extend(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn whoever_logs_goes_on_while_nothing_can_be_written_and_what_was_lost_is_counted() {
        let gate = Gate::default();
        let lines = Lines::start(gate.clone()).expect("a thread");
        let long = vec![b'x'; 1 << 20];
        for _ in 0..20 {
            lines.make_writer().write_all(&long).expect("it never fails");
        }
        *gate.0.0.lock().expect("whole") = State { open: true, fails: 2, written: Vec::new() };
        gate.0.1.notify_all();
        lines.flush();
        lines.make_writer().write_all(b"there again\n").expect("it never fails");
        lines.flush();
        let written = gate.0.0.lock().expect("whole").written.clone();
        let text = String::from_utf8(written).expect("a text");
        assert!(text.contains("log lines before this were lost"), "{} bytes", text.len());
        assert!(text.contains("there again\n"));
    }
}
