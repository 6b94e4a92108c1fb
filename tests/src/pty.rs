//! A terminal whose screen is read: a program runs on it, keys are typed, and what stands where is looked at.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, ExitStatus};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use crate::wait::{DEADLINE, poll};

/// A program on a terminal of its own. It is killed on drop.
pub struct Pty {
    child: Child,
    master: File,
    /// Kept open, so that what was set of the terminal can be asked when the program has ended.
    slave: Option<OwnedFd>,
    reader: Option<JoinHandle<()>>,
    screen: Arc<Mutex<vt100::Parser>>,
}

impl Pty {
    /// Runs a command on a new terminal of so many rows and columns.
    ///
    /// # Panics
    ///
    /// If there is no terminal, or the command cannot be run.
    #[must_use]
    pub fn run(mut command: Command, rows: u16, columns: u16) -> Self {
        let (mut master, mut slave) = (-1, -1);
        let size = window(rows, columns);
        // SAFETY: the pointers are to integers and a size that live through the call; no name and no settings are asked for.
        let opened = unsafe {
            libc::openpty(
                &raw mut master,
                &raw mut slave,
                std::ptr::null_mut(),
                std::ptr::null(),
                &raw const size,
            )
        };
        assert_eq!(opened, 0, "openpty: {}", std::io::Error::last_os_error());
        // SAFETY: both were opened just now, and nobody else has them.
        let (master, slave) = unsafe { (File::from_raw_fd(master), OwnedFd::from_raw_fd(slave)) };
        let end = || slave.try_clone().expect("another descriptor");
        command.stdin(end()).stdout(end()).stderr(end());
        command.env("TERM", "xterm");
        // SAFETY: both calls may be made between fork and exec. The terminal is that of the new session, as after a login.
        unsafe {
            command.pre_exec(|| {
                if libc::setsid() == -1 || libc::ioctl(0, libc::TIOCSCTTY, 0) == -1 {
                    return Err(std::io::Error::last_os_error());
                }
                Ok(())
            });
        }
        let child = command
            .spawn()
            .unwrap_or_else(|error| panic!("run {command:?}: {error}"));
        let screen = Arc::new(Mutex::new(vt100::Parser::new(rows, columns, 0)));
        let (mut reader, shown) = (
            master.try_clone().expect("another descriptor"),
            screen.clone(),
        );
        let reader = thread::spawn(move || {
            let mut piece = [0; 4096];
            // It ends when nobody has the other end any more.
            while let Ok(length @ 1..) = reader.read(&mut piece) {
                let mut shown = shown.lock().unwrap_or_else(PoisonError::into_inner);
                shown.process(&piece[..length]);
            }
        });
        Self {
            child,
            master,
            slave: Some(slave),
            reader: Some(reader),
            screen,
        }
    }

    /// Waits until the program has ended; returns how, and all that stands on the screen then.
    ///
    /// # Panics
    ///
    /// If it does not end in time.
    #[must_use]
    #[track_caller]
    pub fn whole(mut self) -> (ExitStatus, String) {
        let status = self.ended();
        // With the last descriptor of the program's end, what it wrote ends.
        drop(self.slave.take());
        if let Some(reader) = self.reader.take() {
            reader.join().expect("the terminal was read");
        }
        (status, self.text())
    }

    /// What stands on the screen, a line for each row.
    #[must_use]
    pub fn text(&self) -> String {
        self.with_screen(vt100::Screen::contents)
    }

    /// Whether a program has the alternate screen, and leaves what was there before as it was.
    #[must_use]
    pub fn is_alternate(&self) -> bool {
        self.with_screen(vt100::Screen::alternate_screen)
    }

    /// Whether the cursor is hidden.
    #[must_use]
    pub fn hides_cursor(&self) -> bool {
        self.with_screen(vt100::Screen::hide_cursor)
    }

    fn with_screen<T>(&self, look: impl FnOnce(&vt100::Screen) -> T) -> T {
        let screen = self.screen.lock().unwrap_or_else(PoisonError::into_inner);
        look(screen.screen())
    }

    /// Waits until the screen is as asked, and returns what stands on it.
    ///
    /// # Panics
    ///
    /// If it does not become so in time.
    #[track_caller]
    pub fn until(&self, what: &str, is_so: impl Fn(&str) -> bool) -> String {
        let found = poll(DEADLINE, || {
            let text = self.text();
            is_so(&text).then_some(text)
        });
        found
            .unwrap_or_else(|| panic!("waited in vain for {what}; the screen is:\n{}", self.text()))
    }

    /// Types keys.
    ///
    /// # Panics
    ///
    /// If the terminal takes none.
    pub fn type_keys(&mut self, keys: &str) {
        self.master.write_all(keys.as_bytes()).expect("type");
    }

    /// Gives the terminal another size.
    ///
    /// # Panics
    ///
    /// If it takes none.
    pub fn resize(&mut self, rows: u16, columns: u16) {
        let mut screen = self.screen.lock().unwrap_or_else(PoisonError::into_inner);
        screen.screen_mut().set_size(rows, columns);
        let size = window(rows, columns);
        // SAFETY: the descriptor is open and the size lives through the call.
        let done =
            unsafe { libc::ioctl(self.master.as_raw_fd(), libc::TIOCSWINSZ, &raw const size) };
        assert_eq!(done, 0, "resize: {}", std::io::Error::last_os_error());
    }

    /// Whether what is typed is echoed, and comes line by line, as a shell has it.
    ///
    /// # Panics
    ///
    /// If the terminal does not say.
    #[must_use]
    pub fn is_cooked(&self) -> bool {
        let slave = self.slave.as_ref().expect("a terminal that is in use");
        // SAFETY: a termios of zeros is one, and lives through the call; the descriptor is open.
        let flags = unsafe {
            let mut settings: libc::termios = std::mem::zeroed();
            let read = libc::tcgetattr(slave.as_raw_fd(), &raw mut settings);
            assert_eq!(read, 0, "tcgetattr: {}", std::io::Error::last_os_error());
            settings.c_lflag
        };
        flags & (libc::ECHO | libc::ICANON) == libc::ECHO | libc::ICANON
    }

    /// Sends the program a signal.
    ///
    /// # Panics
    ///
    /// If its number does not fit.
    pub fn signal(&self, signal: i32) {
        let pid = i32::try_from(self.child.id()).expect("a process id");
        // SAFETY: plain call on a child that has not been waited for, so the id is still its own.
        unsafe { libc::kill(pid, signal) };
    }

    /// Waits until the program has ended.
    ///
    /// # Panics
    ///
    /// If it does not end in time.
    #[track_caller]
    pub fn ended(&mut self) -> ExitStatus {
        let status = poll(DEADLINE, || {
            self.child.try_wait().expect("ask for the child's state")
        });
        status.unwrap_or_else(|| panic!("it has not ended; the screen is:\n{}", self.text()))
    }
}

impl Drop for Pty {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

const fn window(rows: u16, columns: u16) -> libc::winsize {
    libc::winsize {
        ws_row: rows,
        ws_col: columns,
        ws_xpixel: 0,
        ws_ypixel: 0,
    }
}
