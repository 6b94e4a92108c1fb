//! One byte there and one byte back, by TCP and UDP, with both ends on one processor: how often in a second, and how long it takes.
//!
//! On two processors it would be the waking of the other that is measured.

use std::io::{self, Read as _, Write as _};
use std::net::{Shutdown, UdpSocket};
use std::panic::resume_unwind;
use std::thread;
use std::time::{Duration, Instant};

use vtep_tests::lab::underlay::Family;
use vtep_tests::traffic::udp_pair;

use super::bound;
use super::connect::{connect, listen};
use super::ovs::{Programs, note_absence};
use super::pair::{By, Carries, Guest, Pair, Setup};
use crate::measure::{Contender, Scale, compare_each, pin};
use crate::report::{Goal, Report};

/// The processor that both ends run on.
const PROCESSOR: usize = 1;
/// How long anything may stand still.
const PATIENCE: Duration = Duration::from_secs(2);
/// More transactions in a second than there will be.
const MOST: f64 = 500_000.0;

/// Measures.
pub(crate) fn run(scale: &Scale, report: &mut Report) {
    let ovs = Programs::find();
    for family in Family::BOTH {
        let setup = Setup {
            family,
            underlay: Carries::Gso,
            guest: Guest::Veth,
        };
        let [vtep, kernel] = [By::Vtep, By::Kernel].map(|by| Pair::new(by, setup));
        vtep.looks_as(&kernel);
        let note = format!(
            "client and server on processor {PROCESSOR}; {}; underlay veth as it comes (GRO off)",
            vtep.hook()
        );
        let bound = Pair::new(By::Nobody, setup);
        against(scale, report, [&vtep, &kernel], Some(&bound), &note);
        drop((kernel, bound));
        match &ovs {
            Ok(programs) => {
                let ovs = Pair::new(By::Ovs(programs), setup);
                let note = format!("{note}; {}", programs.note());
                against(scale, report, [&vtep, &ovs], None, &note);
            }
            Err(why) => note_absence(report, why),
        }
    }
}

/// Measures beside one rival, and where no VTEP is between the VMs. Goals are for the kernel.
fn against(
    scale: &Scale,
    report: &mut Report,
    [vtep, rival]: [&Pair<'_>; 2],
    bound: Option<&Pair<'_>>,
    note: &str,
) {
    let goal = |goal| matches!(rival.by, By::Kernel).then_some(goal);
    for (name, transactions) in [
        ("TCP_RR", over_tcp as fn(&Pair, Duration) -> _),
        ("UDP_RR", over_udp),
    ] {
        let once = |pair: &Pair| figures(transactions(pair, scale.time() / 2));
        let mut contenders: Vec<_> = [vtep, rival]
            .into_iter()
            .chain(bound)
            .map(|pair| Contender::new(pair.by.name(), move || once(pair)))
            .collect();
        let [rate, half, most] = compare_each(scale, 11, &mut contenders);
        let what = |figure: &str| format!("{name}, {figure}, {}{}", rival.setup, rival.by.row());
        let rows = [
            ("rate", "1/s", rate, goal(Goal::AtLeast(1.35))),
            ("p50", "us", half, None),
            ("p99", "us", most, goal(Goal::AtMost(1.0))),
        ];
        for (figure, unit, figures, goal) in rows {
            report.ratio(&what(figure), unit, &figures, goal);
            report.note(note);
            if bound.is_some() {
                bound::add(report, &what(figure), unit, &figures, rival.by);
            }
        }
    }
}

/// What the client saw: how long each transaction took, in nanoseconds, and all of them.
struct Transactions {
    each: Vec<u32>,
    all: Duration,
}

/// Transactions per second, and the microseconds within which half of them and 99 % were done.
fn figures(seen: io::Result<Transactions>) -> Result<[f64; 3], String> {
    let mut seen = seen.map_err(|e| format!("a transaction failed: {e}"))?;
    seen.each.sort_unstable();
    let within = |percent: usize| {
        let at = seen.each.len() * percent / 100;
        seen.each
            .get(at)
            .map(|nanoseconds| f64::from(*nanoseconds) / 1e3)
            .ok_or("no transaction was done")
    };
    #[expect(clippy::cast_precision_loss, reason = "transactions of seconds")]
    let rate = seen.each.len() as f64 / seen.all.as_secs_f64();
    Ok([rate, within(50)?, within(99)?])
}

fn over_tcp(pair: &Pair, time: Duration) -> io::Result<Transactions> {
    let listener = listen(pair)?;
    let (client, server) = connect(pair, &listener)?;
    for end in [&client, &server] {
        end.set_nodelay(true)?;
        end.set_read_timeout(Some(PATIENCE))?;
    }
    transact(
        pair,
        time,
        |byte| {
            (&client).write_all(byte)?;
            (&client).read_exact(byte)
        },
        || client.shutdown(Shutdown::Write),
        |byte| match (&server).read(byte)? {
            0 => Ok(false),
            _ => (&server).write_all(byte).map(|()| true),
        },
    )
}

fn over_udp(pair: &Pair, time: Duration) -> io::Result<Transactions> {
    let (client, server): (UdpSocket, UdpSocket) =
        udp_pair((pair.vm(0), pair.address(0)), (pair.vm(1), pair.address(1)));
    transact(
        pair,
        time,
        |byte| {
            client.send(byte)?;
            client.recv(byte).map(drop)
        },
        || client.send(&[]).map(drop),
        |byte| match server.recv(byte)? {
            0 => Ok(false),
            _ => server.send(byte).map(|_| true),
        },
    )
}

/// Has the client ask again and again for a time, and then end; the server answers until it is told of the end.
fn transact(
    pair: &Pair,
    time: Duration,
    mut ask: impl FnMut(&mut [u8; 1]) -> io::Result<()> + Send,
    end: impl FnOnce() -> io::Result<()> + Send,
    mut answer: impl FnMut(&mut [u8; 1]) -> io::Result<bool> + Send,
) -> io::Result<Transactions> {
    let client = move || {
        pin(PROCESSOR);
        let mut byte = [0; 1];
        let mut each = Vec::with_capacity(room(time));
        let mut number = 0_u8;
        let (mut asked, warm) = (0_u64, Instant::now());
        let mut once = || {
            number = number.wrapping_add(1);
            byte = [number];
            asked += 1;
            ask(&mut byte)?;
            if byte == [number] {
                Ok(Instant::now())
            } else {
                Err(io::Error::other("an answer to another question"))
            }
        };
        while once()? < warm + time / 10 {}
        let start = Instant::now();
        let (mut last, due) = (start, start + time);
        while last < due && each.len() < each.capacity() {
            let now = once()?;
            each.push(u32::try_from((now - last).as_nanos()).unwrap_or(u32::MAX));
            last = now;
        }
        end()?;
        let all = last - start;
        Ok((Transactions { each, all }, asked))
    };
    let server = move || {
        pin(PROCESSOR);
        let (mut byte, mut answered) = ([0; 1], 0_u64);
        while answer(&mut byte)? {
            answered += 1;
        }
        Ok(answered)
    };
    let (client, server): (io::Result<(Transactions, u64)>, io::Result<u64>) =
        thread::scope(|scope| {
            let server = pair.spawn(scope, server);
            let (client, server) = (pair.spawn(scope, client).join(), server.join());
            (
                client.unwrap_or_else(|e| resume_unwind(e)),
                server.unwrap_or_else(|e| resume_unwind(e)),
            )
        });
    let ((seen, asked), answered) = (client?, server?);
    if asked == answered {
        Ok(seen)
    } else {
        Err(io::Error::other(format!(
            "{asked} were asked and {answered} answered"
        )))
    }
}

/// How many transactions there may be in a time.
fn room(time: Duration) -> usize {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a whole number of some 100,000"
    )]
    let most = (time.as_secs_f64() * MOST) as usize;
    most
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_the_rate_and_two_percentiles() {
        let seen = Transactions {
            each: (1..=200).rev().map(|n| n * 1_000).collect(),
            all: Duration::from_millis(100),
        };

        let [rate, half, most] = figures(Ok(seen)).unwrap();

        assert!((rate - 2_000.0).abs() < 1e-6);
        assert!((half - 101.0).abs() < 1e-6);
        assert!((most - 199.0).abs() < 1e-6);
    }
}
