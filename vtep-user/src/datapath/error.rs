//! What can go wrong with the kernel side.

use std::{
    borrow::Cow,
    io,
    path::{Path, PathBuf},
};

use aya::{EbpfError, maps::MapError, pin::PinError, programs::ProgramError};
use vtep_common::abi::map::LAYOUT_VERSION;

use crate::{causes::with_causes, instance};

/// An operation on the kernel side failed.
#[derive(Debug, thiserror::Error)]
pub enum DatapathError {
    /// The object was not accepted.
    #[error("load the eBPF object: {}", with_causes(.0))]
    Load(#[source] Box<EbpfError>),
    /// The object lacks a map or a program: it does not belong to this daemon.
    #[error("the eBPF object has no {0}; build vtep again")]
    Missing(&'static str),
    /// A program could not be loaded or attached.
    #[error("{operation} {program}: {}", with_causes(.source))]
    Program {
        /// What was tried.
        operation: &'static str,
        /// On which program.
        program: String,
        /// Why it failed.
        #[source]
        source: Box<ProgramError>,
    },
    /// A map could not be read or written.
    #[error("{operation} the map {map}: {}", with_causes(.source))]
    Map {
        /// What was tried.
        operation: &'static str,
        /// On which map.
        map: &'static str,
        /// Why it failed.
        #[source]
        source: Box<MapError>,
    },
    /// A map or program could not be pinned.
    #[error("pin {path}: {}", with_causes(.source))]
    Pin {
        /// Where.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: Box<PinError>,
    },
    /// A file operation below the pins failed.
    #[error("{operation} {path}: {source}")]
    File {
        /// What was tried.
        operation: &'static str,
        /// On which path.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// bpffs is not mounted.
    #[error("no bpffs is mounted at /sys/fs/bpf; mount it with: mount -t bpf bpf /sys/fs/bpf")]
    NoBpffs,
    /// bpffs is mounted for the machine but not visible here.
    #[error(
        "bpffs is mounted at /sys/fs/bpf but hidden here: `ip netns exec` mounts another /sys; \
         enter the namespace with: nsenter --net=/run/netns/NAME vtep run …"
    )]
    HiddenBpffs,
    /// The pinned maps are of another version.
    #[error(
        "the pinned state in {dir} has a layout that this vtep does not know ({what}); run the vtep that made it, \
         or remove it, which interrupts forwarding, with: vtep teardown{}",
        instance::option(&instance_of(.dir))
    )]
    Layout {
        /// Where the maps are pinned.
        dir: PathBuf,
        /// What does not fit.
        what: String,
    },
    /// The pinned maps are of an earlier layout, and could not be brought into ours.
    #[error(
        "migrate the pinned state in {dir} from layout {from} to {LAYOUT_VERSION}: {source}; it stays as it was, and forwards on; run \
         the vtep that made it, or remove it, which interrupts forwarding, with: vtep teardown{}",
        instance::option(&instance_of(.dir))
    )]
    Migration {
        /// Where the maps are pinned.
        dir: PathBuf,
        /// Their layout.
        from: u32,
        /// What went wrong.
        #[source]
        source: Box<DatapathError>,
    },
    /// The kernel does not say which network namespace this is.
    #[error("read the cookie of the network namespace: {0}")]
    Namespace(#[source] io::Error),
    /// The pinned maps belong to another network namespace.
    #[error(
        "instance {} belongs to another network namespace; start another one with: vtep run --instance NAME …, or remove that one, \
         which interrupts its forwarding, with `vtep teardown --instance {}` in its namespace (or with --force, if that is gone)",
        instance_of(.dir), instance_of(.dir)
    )]
    OtherNamespace {
        /// Where the maps are pinned.
        dir: PathBuf,
    },
    /// The interface takes no XDP program in the mode that was asked for.
    #[error(
        "the driver of {device} does not support native XDP ({cause}); let vtep choose with: --xdp-mode auto, or use TC with: \
         --uplink-hook tc"
    )]
    NoNativeXdp {
        /// The interface.
        device: String,
        /// What the kernel says.
        cause: String,
    },
    /// Another program sits on the interface.
    #[error(
        "{device} already has an XDP program of another owner; remove it with: ip link set dev {device} xdp off"
    )]
    XdpTaken {
        /// The interface.
        device: String,
    },
}

/// The instance whose pins are in a directory.
fn instance_of(dir: &Path) -> Cow<'_, str> {
    dir.file_name().unwrap_or_default().to_string_lossy()
}

impl DatapathError {
    pub(super) fn load(source: EbpfError) -> Self {
        Self::Load(Box::new(source))
    }

    pub(super) fn program(
        operation: &'static str,
        program: impl Into<String>,
        source: ProgramError,
    ) -> Self {
        Self::Program {
            operation,
            program: program.into(),
            source: Box::new(source),
        }
    }

    pub(super) fn map(operation: &'static str, map: &'static str, source: MapError) -> Self {
        Self::Map {
            operation,
            map,
            source: Box::new(source),
        }
    }

    pub(crate) fn file(
        operation: &'static str,
        path: impl Into<PathBuf>,
        source: io::Error,
    ) -> Self {
        Self::File {
            operation,
            path: path.into(),
            source,
        }
    }
}

/// A key that was not there is gone as well.
pub(super) fn gone(removed: Result<(), MapError>, name: &'static str) -> Result<(), DatapathError> {
    match removed {
        Ok(()) | Err(MapError::KeyNotFound) => Ok(()),
        Err(MapError::SyscallError(error))
            if error.io_error.raw_os_error() == Some(libc::ENOENT) =>
        {
            Ok(())
        }
        Err(source) => Err(DatapathError::map("delete from", name, source)),
    }
}
