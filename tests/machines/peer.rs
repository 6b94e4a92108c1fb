//! What runs in a machine: it answers, or asks and looks at every byte of the answer.

use std::io::{self, Read as _, Write as _};
use std::net::{IpAddr, Ipv6Addr, Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use vtep_tests::encoder::pattern;

/// The port of both protocols.
const PORT: u16 = 5000;
/// How long an answer is waited for.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often a datagram is sent before it counts as lost.
const TRIES: u32 = 5;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    let number = |text: &str| text.parse().map_err(io::Error::other);
    let done = match words[..] {
        ["serve"] => serve(),
        ["tcp", ip, bytes] => address(ip).and_then(|to| tcp(to, number(bytes)?)),
        ["udp", ip, largest] => address(ip).and_then(|to| udp(to, number(largest)?)),
        _ => Err(io::Error::other(
            "peer serve | peer tcp IP BYTES | peer udp IP LARGEST",
        )),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("peer {}: {error}", words.join(" "));
            ExitCode::FAILURE
        }
    }
}

fn address(text: &str) -> io::Result<SocketAddr> {
    let ip: IpAddr = text.parse().map_err(io::Error::other)?;
    Ok((ip, PORT).into())
}

/// Sends back what comes, over TCP and UDP.
fn serve() -> io::Result<()> {
    let any = (Ipv6Addr::UNSPECIFIED, PORT);
    let (listener, socket) = (TcpListener::bind(any)?, UdpSocket::bind(any)?);
    thread::spawn(move || -> io::Result<()> {
        let mut datagram = vec![0; 1 << 16];
        loop {
            let (length, from) = socket.recv_from(&mut datagram)?;
            // One that cannot be sent is lost, as any may be.
            drop(socket.send_to(&datagram[..length], from));
        }
    });
    for stream in listener.incoming() {
        let mut stream = stream?;
        thread::spawn(move || io::copy(&mut stream.try_clone()?, &mut stream));
    }
    Ok(())
}

/// Sends so many bytes, and has them come back.
fn tcp(to: SocketAddr, bytes: usize) -> io::Result<()> {
    let mut stream = TcpStream::connect(to)?;
    stream.set_read_timeout(Some(PATIENCE * 6))?;
    let mut out = stream.try_clone()?;
    let sent = pattern(1, bytes);
    let came = thread::scope(|scope| {
        scope.spawn(|| {
            out.write_all(&sent)?;
            out.shutdown(Shutdown::Write)
        });
        let mut came = Vec::with_capacity(bytes);
        stream.read_to_end(&mut came).map(|_| came)
    })?;
    if came == sent {
        return Ok(());
    }
    let length = came.len();
    Err(io::Error::other(format!(
        "{length} bytes came back, and not the {bytes} that were sent"
    )))
}

/// Sends datagrams of every so many bytes up to the largest, and has each come back.
fn udp(to: SocketAddr, largest: usize) -> io::Result<()> {
    let any: SocketAddr = if to.is_ipv4() {
        ([0, 0, 0, 0], 0).into()
    } else {
        (Ipv6Addr::UNSPECIFIED, 0).into()
    };
    let socket = UdpSocket::bind(any)?;
    socket.connect(to)?;
    socket.set_read_timeout(Some(PATIENCE / TRIES))?;
    let mut answer = vec![0; 1 << 16];
    for size in (1..largest).step_by(37).chain([largest]) {
        let datagram = pattern(2, size);
        let mut tries = 0..TRIES;
        loop {
            if tries.next().is_none() {
                return Err(io::Error::other(format!("{size} bytes did not come back")));
            }
            socket.send(&datagram)?;
            match socket.recv(&mut answer) {
                Ok(length) if answer[..length] == datagram[..] => break,
                // A late answer to the size before.
                Ok(length) if length < size => {}
                Ok(_) => {
                    return Err(io::Error::other(format!(
                        "other bytes than these {size} came back"
                    )));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
    }
    Ok(())
}
