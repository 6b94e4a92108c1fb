//! Going before the rest of a busy machine, for tests of how long something takes.

use std::io;

/// The thread that made it, and all that it starts meanwhile, run as soon as they can, whatever else is to be computed.
#[derive(Debug)]
pub struct Ahead {
    _made_here: std::marker::PhantomData<*const ()>,
}

impl Ahead {
    /// From now on this thread goes first, until what is returned is dropped. Where the kernel refuses (a container without
    /// `CAP_SYS_NICE`), it goes with the others, and the bounds of the test hold on a machine that is not busy.
    #[must_use]
    pub fn of_others() -> Self {
        // Whatever waits sleeps, so that nobody else is kept from a processor for long.
        if let Err(error) = schedule(libc::SCHED_FIFO, 1) {
            eprintln!("not ahead of others: {error}");
        }
        Self {
            _made_here: std::marker::PhantomData,
        }
    }
}

impl Drop for Ahead {
    fn drop(&mut self) {
        // Refused where going ahead was refused too.
        schedule(libc::SCHED_OTHER, 0).unwrap_or(());
    }
}

/// Has the calling thread scheduled by `policy`.
fn schedule(policy: i32, priority: i32) -> io::Result<()> {
    let param = libc::sched_param {
        sched_priority: priority,
    };
    // SAFETY: the parameters outlive the call; 0 is the calling thread.
    let set = unsafe { libc::sched_setscheduler(0, policy, &raw const param) };
    if set == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}
