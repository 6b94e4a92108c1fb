//! Someone who talks to a machine all the time: a stream whose every byte comes back, and a ping whose answers show for how long there were
//! none.

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Shutdown, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use vtep_tests::encoder::pattern;
use vtep_tests::lab::ns::Ns;
use vtep_tests::traffic::beat::Beat;
use vtep_tests::wait::DEADLINE;

/// The port that `peer serve` answers on.
const PORT: u16 = 5000;
/// How often an echo request is sent.
const EVERY: Duration = Duration::from_millis(5);
/// What the stream repeats.
const BLOCK: usize = 1 << 14;

/// The talk, until it is ended.
pub(crate) struct Talk {
    stop: Arc<AtomicBool>,
    beat: Beat,
    stream: [JoinHandle<usize>; 2],
}

/// What came of a talk.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Came {
    /// The longest time without an answer.
    pub(crate) gap: Duration,
    /// Bytes of the stream that were sent, and that came back as they were.
    pub(crate) bytes: [usize; 2],
}

impl Talk {
    /// Begins it: `from` a namespace, to a machine.
    pub(crate) fn start(from: &Ns, to: IpAddr) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stream = from.run(|| TcpStream::connect((to, PORT)).expect("connect"));
        stream
            .set_read_timeout(Some(DEADLINE))
            .expect("a read timeout");
        let out = stream.try_clone().expect("a second handle");
        let sender = {
            let stop = Arc::clone(&stop);
            thread::spawn(move || send(out, &stop))
        };
        let receiver = thread::spawn(move || receive(stream));
        Self {
            stop,
            beat: Beat::start(from, to, EVERY),
            stream: [sender, receiver],
        }
    }

    /// Waits for so many more answers.
    #[track_caller]
    pub(crate) fn wait_for(&self, more: u32) {
        self.beat.wait_for(more);
    }

    /// Ends it.
    pub(crate) fn finish(self) -> Came {
        self.stop.store(true, Ordering::Relaxed);
        let bytes = self.stream.map(|end| end.join().expect("the stream"));
        Came {
            gap: self.beat.end().longest_gap,
            bytes,
        }
    }
}

/// Sends until it is to stop; returns how many bytes.
fn send(mut stream: TcpStream, stop: &AtomicBool) -> usize {
    let block = pattern(3, BLOCK);
    let mut sent = 0;
    while !stop.load(Ordering::Relaxed) {
        stream.write_all(&block).expect("send");
        sent += block.len();
    }
    stream.shutdown(Shutdown::Write).expect("end the stream");
    sent
}

/// Takes what comes back; returns how many bytes.
fn receive(mut stream: TcpStream) -> usize {
    let block = pattern(3, BLOCK);
    let (mut came, mut part) = (0, vec![0; BLOCK]);
    loop {
        let length = stream.read(&mut part).expect("an answer");
        if length == 0 {
            return came;
        }
        for byte in &part[..length] {
            assert_eq!(*byte, block[came % BLOCK], "byte {came} of the stream");
            came += 1;
        }
    }
}
