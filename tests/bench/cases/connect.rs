//! TCP connections from the first VM of a pair to the other.

use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use socket2::{Domain, Socket, Type};

use super::pair::Pair;

/// How both ends find their rate. A connection has it from its start: one that begins with BBR, where that is the machine's choice,
/// goes on sending by a clock when it is told another way later (`sk_pacing_status`), and then it is timers that are measured.
pub(super) const CONGESTION_CONTROL: &str = "cubic";
/// How long connecting may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// A socket of a VM.
fn socket(pair: &Pair<'_>, vm: usize) -> io::Result<Socket> {
    let domain = Domain::for_address(SocketAddr::new(pair.address(vm), 0));
    let socket = pair
        .vm(vm)
        .run(|| Socket::new(domain, Type::STREAM, None))?;
    socket.set_tcp_congestion(CONGESTION_CONTROL.as_bytes())?;
    Ok(socket)
}

/// Waits for connections in the second VM.
pub(super) fn listen(pair: &Pair<'_>) -> io::Result<TcpListener> {
    let socket = socket(pair, 1)?;
    socket.bind(&SocketAddr::new(pair.address(1), 0).into())?;
    socket.listen(16)?;
    Ok(socket.into())
}

/// A connection, as the first VM's end and the second's.
pub(super) fn connect(
    pair: &Pair<'_>,
    listener: &TcpListener,
) -> io::Result<(TcpStream, TcpStream)> {
    let near = socket(pair, 0)?;
    near.connect_timeout(&listener.local_addr()?.into(), PATIENCE)?;
    let (far, _) = listener.accept()?;
    Ok((near.into(), far))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cases::pair::{By, Carries, Guest, Setup};
    use vtep_tests::lab::underlay::Family;
    use vtep_tests::need_root;

    #[test]
    fn neither_end_sends_by_a_clock() {
        need_root!();
        let setup = Setup {
            family: Family::V4,
            underlay: Carries::Gso,
            guest: Guest::Veth,
        };
        let pair = Pair::new(By::Nobody, setup);
        let listener = listen(&pair).unwrap();

        let (near, far) = connect(&pair, &listener).unwrap();

        for end in [near, far] {
            let name = Socket::from(end).tcp_congestion().unwrap();
            let name = name.split(|byte| *byte == 0).next().unwrap();
            assert_eq!(name, CONGESTION_CONTROL.as_bytes());
        }
    }
}
