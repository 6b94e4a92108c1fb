//! TCP streams from one VM of a pair to the other.

use std::fmt;
use std::io::{self, Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::os::fd::AsRawFd as _;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::cases::connect::{connect, listen};
use crate::cases::pair::Pair;
use crate::measure::{Kernel, pin, ticks};

/// Bytes of one system call of a receiver.
const CHUNK: usize = 256 << 10;
/// Bytes of one system call of a sender: one GSO packet, nearly.
const PIECE: usize = 64_000;
/// Such calls at once of a sender that keeps a rate. After each one alone it would be the falling asleep and waking of both ends that
/// is measured, which takes longer than the way between them.
const BURST: u32 = 8;
/// A sender that is late by more than this does not catch up.
const BEHIND: Duration = Duration::from_millis(10);
/// Milliseconds of a tick of `/proc/stat`.
const TICK_MS: f64 = 10.0;
/// How long anything may stand still.
const PATIENCE: Duration = Duration::from_secs(5);

/// Which processors the ends of all streams run on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Processors {
    /// One for both ends, so that its whole work decides: the rate is the inverse of what all that carries a byte costs.
    One,
    /// One for each end. The sender's does most of the work, and where the receiver's has fallen asleep, waking it is what costs
    /// most; on a virtual machine above all, since that leaves it for the host.
    Two,
}

impl Processors {
    const fn sender(self) -> usize {
        match self {
            Self::One => 1,
            Self::Two => 0,
        }
    }

    const fn receiver(self) -> usize {
        match self {
            Self::One | Self::Two => 1,
        }
    }
}

impl fmt::Display for Processors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (sender, receiver) = (self.sender(), self.receiver());
        match self {
            Self::One => write!(f, "all senders and receivers on processor {sender}"),
            Self::Two => write!(
                f,
                "all senders on processor {sender}, all receivers on {receiver}"
            ),
        }
    }
}

/// What to send.
pub(super) struct Load {
    /// Where the ends run.
    pub(super) processors: Processors,
    /// How many streams at once.
    pub(super) streams: usize,
    /// For how long it is measured.
    pub(super) time: Duration,
    /// At how many Gbit/s altogether; as fast as it goes if absent.
    pub(super) pace: Option<f64>,
}

/// What was seen.
pub(super) struct Transferred {
    /// Gbit/s that the receivers got.
    pub(super) rate: f64,
    /// Milliseconds that all processors spent in the kernel, for each Gbit that arrived.
    pub(super) kernel_ms: f64,
    /// The same by what ticks found running.
    pub(super) ticked_ms: f64,
    /// Segments that were sent again.
    pub(super) again: u64,
}

/// Sends from the first VM to the second.
pub(super) fn transfer(pair: &Pair, load: &Load) -> Result<Transferred, String> {
    let streams = streams(pair, load.streams).map_err(|e| format!("connect: {e}"))?;
    let (stop, arrived, sent) = (AtomicBool::new(false), AtomicU64::new(0), AtomicU64::new(0));
    #[expect(clippy::cast_precision_loss, reason = "streams are few")]
    let pause = load.pace.map(|gbit| {
        let bits = (PIECE * 8 * load.streams) as f64;
        Duration::from_secs_f64(bits / (gbit * 1e9))
    });
    let (seen, ends) = thread::scope(|scope| {
        let ends: Vec<_> = streams
            .iter()
            .flat_map(|(source, sink)| {
                [
                    pair.spawn(scope, || {
                        pin(load.processors.sender());
                        send(source, pause, &stop, &sent)
                    }),
                    pair.spawn(scope, || {
                        pin(load.processors.receiver());
                        receive(sink, &arrived)
                    }),
                ]
            })
            .collect();
        // Windows open and caches fill before it counts.
        thread::sleep(load.time / 5);
        let seen = watch(&arrived, load.time);
        stop.store(true, Ordering::Relaxed);
        let ends: Vec<io::Result<()>> = ends
            .into_iter()
            .map(|end| end.join().unwrap_or_else(|e| std::panic::resume_unwind(e)))
            .collect();
        (seen, ends)
    });
    for end in ends {
        end.map_err(|e| format!("a stream broke: {e}"))?;
    }
    let (sent, arrived) = (sent.into_inner(), arrived.into_inner());
    if sent != arrived {
        return Err(format!("{sent} bytes were sent and {arrived} arrived"));
    }
    Ok(Transferred {
        again: streams.iter().map(|(source, _)| sent_again(source)).sum(),
        ..seen
    })
}

/// Streams, each as the sender's and the receiver's end.
fn streams(pair: &Pair, count: usize) -> io::Result<Vec<(TcpStream, TcpStream)>> {
    let listener = listen(pair)?;
    (0..count)
        .map(|_| {
            let (source, sink) = connect(pair, &listener)?;
            source.set_write_timeout(Some(PATIENCE))?;
            sink.set_read_timeout(Some(PATIENCE))?;
            Ok((source, sink))
        })
        .collect()
}

fn send(
    mut stream: &TcpStream,
    pause: Option<Duration>,
    stop: &AtomicBool,
    sent: &AtomicU64,
) -> io::Result<()> {
    let piece = vec![0x5a; PIECE];
    let mut due = Instant::now();
    while !stop.load(Ordering::Relaxed) {
        for _ in 0..BURST {
            stream.write_all(&piece)?;
            sent.fetch_add(PIECE as u64, Ordering::Relaxed);
        }
        if let Some(pause) = pause {
            due += pause * BURST;
            let now = Instant::now();
            match due.checked_duration_since(now) {
                Some(left) => thread::sleep(left),
                None => due = due.max(now.checked_sub(BEHIND).unwrap_or(due)),
            }
        }
    }
    stream.shutdown(Shutdown::Write)
}

fn receive(mut stream: &TcpStream, arrived: &AtomicU64) -> io::Result<()> {
    let mut buffer = vec![0; CHUNK];
    loop {
        match stream.read(&mut buffer)? {
            0 => return Ok(()),
            more => arrived.fetch_add(more as u64, Ordering::Relaxed),
        };
    }
}

/// What arrives within a time, and what the kernel takes for it.
fn watch(arrived: &AtomicU64, time: Duration) -> Transferred {
    let (kernel, ticked, before) = (Kernel::now(), ticks(), arrived.load(Ordering::Relaxed));
    thread::sleep(time);
    let bytes = arrived.load(Ordering::Relaxed) - before;
    let (ticked, (passed, busy)) = (ticks() - ticked, kernel.since());
    #[expect(clippy::cast_precision_loss, reason = "bytes and ticks of seconds")]
    let [gbit, ticked] = [bytes as f64 * 8.0 / 1e9, ticked as f64];
    Transferred {
        rate: gbit / passed,
        kernel_ms: busy * 1e3 / gbit,
        ticked_ms: ticked * TICK_MS / gbit,
        again: 0,
    }
}

/// How many segments of a stream were sent again.
fn sent_again(stream: &TcpStream) -> u64 {
    // SAFETY: all-zero is a valid tcp_info.
    let mut info: libc::tcp_info = unsafe { std::mem::zeroed() };
    let mut len = libc::socklen_t::try_from(size_of_val(&info)).expect("a small type");
    // SAFETY: the answer goes into a value that outlives the call, of the length stated.
    let done = unsafe {
        libc::getsockopt(
            stream.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            (&raw mut info).cast(),
            &raw mut len,
        )
    };
    assert_eq!(done, 0, "TCP_INFO: {}", io::Error::last_os_error());
    info.tcpi_total_retrans.into()
}
