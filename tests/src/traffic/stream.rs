//! A steady stream of numbered packets, to count what an event costs.

use std::collections::HashSet;
use std::net::{IpAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::lab::ns::Ns;
use crate::traffic::{set_receive_buffer, udp_pair};
use crate::wait::{DEADLINE, until_true};

/// 1,000 packets a second from one namespace to another.
#[derive(Debug)]
pub struct Stream {
    stop: Arc<AtomicBool>,
    sent: Arc<AtomicU32>,
    arrived: Arc<AtomicU32>,
    sender: JoinHandle<u32>,
    receiver: JoinHandle<HashSet<u32>>,
}

impl Stream {
    /// Starts to send.
    #[must_use]
    pub fn start(from: (&Ns, IpAddr), to: (&Ns, IpAddr)) -> Self {
        let (left, right) = udp_pair(from, to);
        // A receiver that a busy machine lets wait for a second loses nothing: the sender catches up in bursts.
        set_receive_buffer(&right, 16 << 20);
        let stop = Arc::new(AtomicBool::new(false));
        let [sent, arrived] = [(); 2].map(|()| Arc::new(AtomicU32::new(0)));
        let sender = {
            let (stop, sent) = (Arc::clone(&stop), Arc::clone(&sent));
            std::thread::spawn(move || send(&left, &stop, &sent))
        };
        let receiver = {
            let (stop, arrived) = (Arc::clone(&stop), Arc::clone(&arrived));
            std::thread::spawn(move || receive(&right, &stop, &arrived))
        };
        Self {
            stop,
            sent,
            arrived,
            sender,
            receiver,
        }
    }

    /// Waits until `more` packets have arrived from now on.
    ///
    /// # Panics
    ///
    /// If they do not in time.
    #[track_caller]
    pub fn wait_for(&self, more: u32) {
        let target = self.arrived.load(Ordering::Relaxed) + more;
        until_true("packets of the stream", || {
            self.arrived.load(Ordering::Relaxed) >= target
        });
    }

    /// Waits until `more` packets have been sent from now on, whether they arrive or not.
    ///
    /// # Panics
    ///
    /// If they are not in time.
    #[track_caller]
    pub fn wait_until_sent(&self, more: u32) {
        let target = self.sent.load(Ordering::Relaxed) + more;
        until_true("packets to be sent", || {
            self.sent.load(Ordering::Relaxed) >= target
        });
    }

    /// Ends the stream; returns how many packets were sent and the numbers of those that never came.
    ///
    /// # Panics
    ///
    /// If a thread of it did.
    #[must_use]
    pub fn finish(self) -> (u32, Vec<u32>) {
        self.stop.store(true, Ordering::Relaxed);
        let sent = self.sender.join().expect("the sender");
        let got = self.receiver.join().expect("the receiver");
        let lost = (0..sent).filter(|number| !got.contains(number)).collect();
        (sent, lost)
    }
}

fn send(socket: &UdpSocket, stop: &AtomicBool, sent: &AtomicU32) -> u32 {
    let (start, mut number) = (Instant::now(), 0_u32);
    while !stop.load(Ordering::Relaxed) {
        // A refusal by the host (no route for a moment) is a packet lost, which is what is counted.
        drop(socket.send(&number.to_be_bytes()));
        number += 1;
        sent.store(number, Ordering::Relaxed);
        let due = Duration::from_millis(number.into());
        std::thread::sleep(due.saturating_sub(start.elapsed()));
    }
    number
}

fn receive(socket: &UdpSocket, stop: &AtomicBool, arrived: &AtomicU32) -> HashSet<u32> {
    socket
        .set_read_timeout(Some(Duration::from_millis(100)))
        .expect("a read timeout");
    let (mut got, mut buffer) = (HashSet::new(), [0; 4]);
    let (mut quiet, start) = (0, Instant::now());
    // What is under way when the sender stops has a few timeouts to come in.
    while quiet < 5 && start.elapsed() < DEADLINE * 6 {
        if let Ok(4) = socket.recv(&mut buffer) {
            got.insert(u32::from_be_bytes(buffer));
            arrived.fetch_add(1, Ordering::Relaxed);
            quiet = 0;
        } else if stop.load(Ordering::Relaxed) {
            quiet += 1;
        }
    }
    got
}
