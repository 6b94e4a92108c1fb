//! The Unix socket of an instance.

use std::fs::{self, DirBuilder, File, Permissions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, PermissionsExt, chown};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use nix::unistd::Group;
use tokio::net::UnixListener;

/// Where the sockets of all instances are.
const DIRECTORY: &str = "/run/vtep";

/// Mode of the directory.
const DIRECTORY_MODE: u32 = 0o755;

/// Mode of a socket: its owner and group may use it.
const SOCKET_MODE: u32 = 0o660;

/// The path of an instance's socket.
#[must_use]
pub fn path(instance: &str) -> PathBuf {
    Path::new(DIRECTORY).join(format!("{instance}.sock"))
}

/// The path of the socket by which an instance only shows. No instance has a socket of that name.
#[must_use]
pub fn view_path(instance: &str) -> PathBuf {
    Path::new(DIRECTORY).join(format!("{instance}.view"))
}

/// Why the socket cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Somebody answers there.
    #[error(
        "a daemon of instance {instance} is already running (socket {}); give this one a name of its own with: --instance NAME",
        .path.display()
    )]
    Running {
        /// The instance.
        instance: String,
        /// The socket.
        path: PathBuf,
    },
    /// Something that no daemon made is in the way.
    #[error("{} exists and is not a socket; remove it first", .0.display())]
    InTheWay(PathBuf),
    /// There is no such group.
    #[error("there is no group {0}; make it with: groupadd --system {0}")]
    NoGroup(String),
    /// The system refused.
    #[error("cannot {what} {}", .path.display())]
    System {
        /// What was tried.
        what: &'static str,
        /// With what.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
}

/// A bound socket; its file goes when this is dropped.
#[derive(Debug)]
pub struct Socket {
    pub(super) listener: UnixListener,
    pub(super) file: SocketFile,
}

/// Removes a socket's file when dropped.
#[derive(Debug)]
pub(super) struct SocketFile {
    path: PathBuf,
    identity: (u64, u64),
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        // Another daemon may have put its own socket there since.
        if fs::symlink_metadata(&self.path).is_ok_and(|meta| identity(&meta) == self.identity) {
            drop(fs::remove_file(&self.path));
        }
    }
}

fn identity(meta: &fs::Metadata) -> (u64, u64) {
    (meta.dev(), meta.ino())
}

impl Socket {
    /// Binds the socket of `instance`, for the members of a group. The socket of a daemon that died is replaced.
    ///
    /// Needs to be called within a Tokio runtime.
    ///
    /// # Errors
    ///
    /// [`BindError::Running`] if a daemon of the instance runs, [`BindError::NoGroup`].
    pub fn bind(instance: &str, group: Option<&str>) -> Result<Self, BindError> {
        Self::bind_at(&path(instance), instance, group)
    }

    /// Binds the socket by which `instance` only shows. Whoever has the instance's own socket has this one.
    ///
    /// # Errors
    ///
    /// As [`bind`](Self::bind).
    pub fn bind_view(instance: &str, group: &str) -> Result<Self, BindError> {
        Self::bind_at(&view_path(instance), instance, Some(group))
    }

    /// As [`Self::bind`], with another path.
    pub fn bind_at(path: &Path, instance: &str, group: Option<&str>) -> Result<Self, BindError> {
        let group = group.map(number_of).transpose()?;
        let directory = path.parent().unwrap_or(Path::new("."));
        make_directory(directory)?;
        let _guard = lock(directory)?;
        match UnixStream::connect(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                let meta = fs::symlink_metadata(path).map_err(system("look at", path))?;
                if !meta.file_type().is_socket() {
                    return Err(BindError::InTheWay(path.into()));
                }
            }
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                return Err(system("use", path)(error));
            }
            // Also when its queue is full: somebody listens.
            Ok(_) | Err(_) => {
                return Err(BindError::Running {
                    instance: instance.into(),
                    path: path.into(),
                });
            }
        }
        // Nobody can connect before the mode is right, and an old socket is replaced in one step.
        let fresh = PathBuf::from(format!("{}.new", path.display()));
        drop(fs::remove_file(&fresh));
        let listener = UnixListener::bind(&fresh).map_err(system("bind", &fresh))?;
        fs::set_permissions(&fresh, Permissions::from_mode(SOCKET_MODE))
            .map_err(system("set the mode of", &fresh))?;
        if group.is_some() {
            chown(&fresh, None, group).map_err(system("set the group of", &fresh))?;
        }
        let meta = fs::symlink_metadata(&fresh).map_err(system("look at", &fresh))?;
        fs::rename(&fresh, path).map_err(system("put in place", path))?;
        let file = SocketFile {
            path: path.into(),
            identity: identity(&meta),
        };
        Ok(Self { listener, file })
    }
}

/// The number of a group: of its name, or as it is given.
fn number_of(group: &str) -> Result<u32, BindError> {
    if let Ok(number) = group.parse() {
        return Ok(number);
    }
    let found = Group::from_name(group).ok().flatten();
    found
        .map(|found| found.gid.as_raw())
        .ok_or_else(|| BindError::NoGroup(group.into()))
}

fn make_directory(directory: &Path) -> Result<(), BindError> {
    match DirBuilder::new().mode(DIRECTORY_MODE).create(directory) {
        // The umask may have taken bits away.
        Ok(()) => fs::set_permissions(directory, Permissions::from_mode(DIRECTORY_MODE))
            .map_err(system("set the mode of", directory)),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(system("make the directory", directory)(error)),
    }
}

/// Keeps two daemons that start at once from both finding the same dead socket; lasts as long as the file is open.
fn lock(directory: &Path) -> Result<File, BindError> {
    let file = File::open(directory).map_err(system("open", directory))?;
    // SAFETY: the descriptor is open, since `file` is.
    if unsafe { libc::flock(file.as_raw_fd(), libc::LOCK_EX) } != 0 {
        return Err(system("lock", directory)(io::Error::last_os_error()));
    }
    Ok(file)
}

fn system(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> BindError {
    move |source| BindError::System {
        what,
        path: path.into(),
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_socket_has_mode_0660_in_a_directory_with_mode_0755_and_goes_with_its_owner() {
        let place = TempPath::new("mode");

        let socket = Socket::bind_at(&place.socket(), "main", None).unwrap();

        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
        assert_eq!(mode(&place.socket()), 0o660);
        assert_eq!(mode(place.socket().parent().unwrap()), 0o755);
        drop(socket);
        assert!(!place.socket().exists());
    }

    #[tokio::test]
    async fn a_second_daemon_of_an_instance_is_refused_by_name() {
        let place = TempPath::new("second");
        let first = Socket::bind_at(&place.socket(), "blue", None).unwrap();

        let second = Socket::bind_at(&place.socket(), "blue", None)
            .unwrap_err()
            .to_string();

        let path = place.socket();
        let path = path.display();
        assert_eq!(
            second,
            format!(
                "a daemon of instance blue is already running (socket {path}); give this one a name of its own with: --instance NAME"
            )
        );
        drop(first);
    }

    #[tokio::test]
    async fn the_socket_of_a_dead_daemon_is_replaced() {
        let place = TempPath::new("dead");
        fs::create_dir_all(place.socket().parent().unwrap()).unwrap();
        drop(std::os::unix::net::UnixListener::bind(place.socket()).unwrap());
        assert!(place.socket().exists());

        let socket = Socket::bind_at(&place.socket(), "main", None).unwrap();

        assert!(UnixStream::connect(place.socket()).is_ok());
        drop(socket);
    }

    #[tokio::test]
    async fn a_file_in_the_way_is_left_alone() {
        let place = TempPath::new("file");
        fs::create_dir_all(place.socket().parent().unwrap()).unwrap();
        fs::write(place.socket(), "mine").unwrap();

        let error = Socket::bind_at(&place.socket(), "main", None).unwrap_err();

        assert!(matches!(error, BindError::InTheWay(_)), "{error}");
        assert_eq!(fs::read_to_string(place.socket()).unwrap(), "mine");
    }

    #[tokio::test]
    async fn the_socket_is_for_the_group_that_was_named() {
        let place = TempPath::new("group");
        let bind = |group: &str| Socket::bind_at(&place.socket(), "main", Some(group));
        // Its own, which nobody has to be allowed to name.
        let own = nix::unistd::getegid().as_raw();

        let socket = bind(&own.to_string()).unwrap();

        assert_eq!(fs::metadata(place.socket()).unwrap().gid(), own);
        drop(socket);
        let error = bind("no-such-group").unwrap_err().to_string();
        assert_eq!(
            error,
            "there is no group no-such-group; make it with: groupadd --system no-such-group"
        );
        assert_eq!(number_of("root").unwrap(), 0);
    }

    struct TempPath(PathBuf);

    impl TempPath {
        fn new(name: &str) -> Self {
            let root = format!("vtep-socket-{}-{name}", std::process::id());
            let root = std::env::temp_dir().join(root);
            fs::create_dir_all(&root).unwrap();
            Self(root)
        }

        fn socket(&self) -> PathBuf {
            self.0.join("run/main.sock")
        }
    }

    impl Drop for TempPath {
        fn drop(&mut self) {
            drop(fs::remove_dir_all(&self.0));
        }
    }
}
