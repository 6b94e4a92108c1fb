//! The journal: where stderr leads to it, each line of the log gets there with its priority and its fields.
//!
//! The fields of a line are `VTEP_NAME`, and those of the instance and the module stand in every line: `journalctl VTEP_INSTANCE=main`.

use std::fmt::{Debug, Write as _};
use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::AsFd as _;
use std::os::linux::fs::MetadataExt as _;
use std::os::unix::net::UnixDatagram;

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

/// Where the journal takes lines.
const SOCKET: &str = "/run/systemd/journal/socket";

/// Which file stderr is where it leads to the journal, as systemd says: device and inode.
const STREAM: &str = "JOURNAL_STREAM";

/// The way there.
pub(super) struct Journal {
    socket: UnixDatagram,
    instance: String,
}

impl Journal {
    /// The way to the journal, if stderr leads there too.
    pub(super) fn of_stderr(instance: &str) -> Option<Self> {
        let stream = std::env::var(STREAM).ok()?;
        let stderr = File::from(io::stderr().as_fd().try_clone_to_owned().ok()?);
        let about = stderr.metadata().ok()?;
        (stream == format!("{}:{}", about.st_dev(), about.st_ino())).then_some(())?;
        let socket = UnixDatagram::unbound().ok()?;
        socket.connect(SOCKET).ok()?;
        socket.set_nonblocking(true).ok()?;
        Some(Self {
            socket,
            instance: instance.to_owned(),
        })
    }
}

impl<S: Subscriber> Layer<S> for Journal {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let about = event.metadata();
        let entry = entry(
            priority(*about.level()),
            [("INSTANCE", &*self.instance), ("MODULE", about.target())],
            &fields,
        );
        // What is too long for the socket, or comes while nobody reads, is said on stderr: a line with its priority in front. Nobody waits.
        if self.socket.send(&entry).is_err() {
            let line = format!("<{}>{}\n", priority(*about.level()), fields.line());
            drop(io::stderr().write_all(line.as_bytes()));
        }
    }
}

/// The priority of a level (syslog(3)).
const fn priority(level: Level) -> u8 {
    match level {
        Level::ERROR => 3,
        Level::WARN => 4,
        Level::INFO => 6,
        Level::DEBUG | Level::TRACE => 7,
    }
}

/// What an event says.
#[derive(Default)]
struct Fields {
    message: String,
    others: Vec<(&'static str, String)>,
}

impl Fields {
    fn put(&mut self, field: &Field, value: String) {
        if field.name() == "message" {
            self.message = value;
        } else {
            self.others.push((field.name(), value));
        }
    }

    /// As people read it, in one line.
    fn line(&self) -> String {
        let mut line = self.message.clone();
        for (name, value) in &self.others {
            write!(line, " {name}={value}").expect("a string takes what is written to it");
        }
        line.replace('\n', "\\n")
    }
}

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, value.to_owned());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.put(field, format!("{value:?}"));
    }
}

/// An entry as the journal takes it: <https://systemd.io/JOURNAL_NATIVE_PROTOCOL>.
fn entry(priority: u8, of_every_line: [(&str, &str); 2], fields: &Fields) -> Vec<u8> {
    let mut entry = Vec::new();
    put(&mut entry, "MESSAGE", &fields.line());
    put(&mut entry, "PRIORITY", &priority.to_string());
    put(&mut entry, "SYSLOG_IDENTIFIER", "vtep");
    let others = fields.others.iter().map(|(name, value)| (*name, &**value));
    for (name, value) in of_every_line.into_iter().chain(others) {
        let name = name.to_ascii_uppercase().replace('.', "_");
        put(&mut entry, &format!("VTEP_{name}"), value);
    }
    entry
}

fn put(entry: &mut Vec<u8>, name: &str, value: &str) {
    entry.extend(name.as_bytes());
    if value.contains('\n') {
        entry.push(b'\n');
        entry.extend((value.len() as u64).to_le_bytes());
    } else {
        entry.push(b'=');
    }
    entry.extend(value.as_bytes());
    entry.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_has_what_people_read_and_each_field_by_itself() {
        let fields = Fields {
            message: "vni add 7".to_owned(),
            others: vec![("source", "cli".to_owned()), ("uid", "0".to_owned())],
        };

        let entry = entry(6, [("INSTANCE", "main"), ("MODULE", "vtep_user")], &fields);

        assert_eq!(
            String::from_utf8(entry).unwrap(),
            "MESSAGE=vni add 7 source=cli uid=0\nPRIORITY=6\nSYSLOG_IDENTIFIER=vtep\nVTEP_INSTANCE=main\n\
             VTEP_MODULE=vtep_user\nVTEP_SOURCE=cli\nVTEP_UID=0\n"
        );
    }

    #[test]
    fn what_people_read_stays_in_one_line() {
        let fields = Fields {
            message: "refused".to_owned(),
            others: vec![("why", "a\n<0>b".to_owned())],
        };
        assert_eq!(fields.line(), "refused why=a\\n<0>b");
    }

    #[test]
    fn what_has_several_lines_is_sent_with_its_length() {
        let mut entry = Vec::new();

        put(&mut entry, "MESSAGE", "a\nb=c");

        assert_eq!(entry, b"MESSAGE\n\x05\0\0\0\0\0\0\0a\nb=c\n");
    }

    #[test]
    fn the_worse_it_is_the_lower_its_number() {
        let levels = [Level::ERROR, Level::WARN, Level::INFO, Level::DEBUG];
        assert_eq!(levels.map(priority), [3, 4, 6, 7]);
    }
}
