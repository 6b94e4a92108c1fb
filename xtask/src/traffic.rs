//! The two ends of a TCP transfer; each runs in a namespace of its own.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    time::{Duration, Instant},
};

use clap::Subcommand;

use crate::shell::{Result, doing, said};

/// What one end does.
#[derive(Debug, Subcommand)]
pub(crate) enum End {
    /// Take one connection and print how many bytes came, in how many nanoseconds.
    Sink {
        /// Where to listen.
        at: SocketAddr,
    },
    /// Connect and send.
    Source {
        /// Where the sink listens.
        to: SocketAddr,
        /// How much.
        bytes: u64,
    },
}

/// What a sink prints before it takes a connection.
pub(crate) const LISTENING: &str = "listening";

/// Bytes handed to one system call.
const CHUNK: usize = 128 * 1024;

/// Runs the verb.
pub(crate) fn run(end: &End) -> Result<()> {
    match *end {
        End::Sink { at } => sink(at),
        End::Source { to, bytes } => source(to, bytes),
    }
}

/// The bytes of a transfer repeat after this many: a prime, so that a piece which is lost, doubled or
/// out of place shows.
const PERIOD: usize = 251;

/// Returns `length` bytes of a transfer, from a place where the pattern starts anew.
fn pattern(length: usize) -> Vec<u8> {
    (0..=250).cycle().take(length).collect()
}

fn sink(at: SocketAddr) -> Result<()> {
    let listener = TcpListener::bind(at).map_err(doing(format!("listen on {at}")))?;
    println!("{LISTENING}");
    let (mut stream, _) = listener.accept().map_err(doing("take the connection"))?;
    let mut buffer = vec![0; CHUNK];
    let expected = pattern(CHUNK + PERIOD);
    let mut phase = 0;
    let mut total: u64 = 0;
    let mut first = None;
    let mut last = Duration::ZERO;
    loop {
        let got = stream.read(&mut buffer).map_err(doing("receive"))?;
        if got == 0 {
            break;
        }
        last = first.get_or_insert_with(Instant::now).elapsed();
        if buffer[..got] != expected[phase..phase + got] {
            return said("the bytes that came are not those that were sent");
        }
        phase = (phase + got) % PERIOD;
        total += got as u64;
    }
    println!("{total} {}", last.as_nanos());
    Ok(())
}

fn source(to: SocketAddr, bytes: u64) -> Result<()> {
    let mut stream = TcpStream::connect(to).map_err(doing(format!("connect to {to}")))?;
    // A whole number of patterns, so that each chunk starts the same.
    let chunk = pattern(CHUNK / PERIOD * PERIOD);
    let mut left = bytes;
    while left > 0 {
        let now = usize::try_from(left).unwrap_or(usize::MAX).min(chunk.len());
        stream.write_all(&chunk[..now]).map_err(doing("send"))?;
        left -= now as u64;
    }
    Ok(())
}

/// Reads what a sink printed: bytes, and how long they took.
pub(crate) fn parse(text: &str) -> Option<(u64, Duration)> {
    let (bytes, nanoseconds) = text.lines().last()?.split_once(' ')?;
    Some((
        bytes.parse().ok()?,
        Duration::from_nanos(nanoseconds.parse().ok()?),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pattern_repeats_after_its_period() {
        let bytes = pattern(2 * PERIOD + 1);

        assert_eq!(bytes[..PERIOD], bytes[PERIOD..2 * PERIOD]);
        assert_eq!(bytes[PERIOD - 1..=PERIOD], [250, 0]);
    }

    #[test]
    fn what_a_sink_prints_is_read_back() {
        assert_eq!(
            parse("listening\n1000 2000000\n"),
            Some((1000, Duration::from_millis(2)))
        );
        assert_eq!(parse("listening\n"), None);
    }
}
