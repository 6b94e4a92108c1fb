//! TC programs where the kernel has no tcx (before 6.6): they hang on the clsact qdisc.
//!
//! Such a filter stays by itself, without a link. A daemon finds its own by a handle that its instance's name makes, so that
//! instances share a device. Filters of one priority are asked one after the other, and ours pass on what is not for them.

use std::{os::unix::ffi::OsStrExt as _, path::Path};

use aya::{
    programs::{
        ProgramError, SchedClassifier, TcAttachType,
        links::Link as _,
        tc::{self, NlOptions, SchedClassifierLink, TcAttachOptions, TcError, TcHandle},
    },
    sys::NetlinkError,
};

/// Priority of our filters, whatever the instance.
pub(super) const PRIORITY: u16 = 4_789;

/// The handle of the filters of the instance at `dir`: FNV-1a of its name, since later daemons have to come to the same. Never
/// zero, which would leave the choice to the kernel.
pub(super) fn handle(dir: &Path) -> TcHandle {
    let instance = dir.file_name().unwrap_or_default().as_bytes();
    let hash = instance.iter().fold(0x811c_9dc5_u32, |hash, byte| {
        (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193)
    });
    TcHandle::from(hash.max(1))
}

/// Has `program` take what comes in at a device. It replaces the program that is there with this handle, at once for every frame.
pub(super) fn attach(
    program: &mut SchedClassifier,
    device: &str,
    handle: TcHandle,
) -> Result<(), ProgramError> {
    match tc::qdisc_add_clsact(device) {
        Err(TcError::NetlinkError(error)) if error.raw_os_error() == Some(libc::EEXIST) => {}
        added => added?,
    }
    let options = NlOptions {
        priority: PRIORITY,
        handle,
        classid: None,
    };
    let attached = program.attach_with_options(
        device,
        TcAttachType::Ingress,
        TcAttachOptions::Netlink(options),
    );
    let id = match attached {
        Err(ProgramError::TcError(TcError::NetlinkError(error)))
            if error.raw_os_error() == Some(libc::EEXIST) =>
        {
            program.attach_to_link(filter(device, handle)?)?
        }
        attached => attached?,
    };
    // Dropping the link would detach the program.
    std::mem::forget(program.take_link(id)?);
    Ok(())
}

/// Takes the filter with this handle off a device; one that is not there is no failure.
pub(super) fn detach(device: &str, handle: TcHandle) -> Result<(), ProgramError> {
    // A device that is gone has taken its filters along.
    let Ok(link) = filter(device, handle) else {
        return Ok(());
    };
    match link.detach() {
        Err(ProgramError::NetlinkError(error)) if !is_there(&error) => Ok(()),
        detached => detached,
    }
}

/// What the kernel answers where there was something to detach.
fn is_there(error: &NetlinkError) -> bool {
    // In this order: no qdisc (or a filter of other making in our place), no filter, no device.
    !matches!(
        error.raw_os_error(),
        Some(libc::EINVAL | libc::ENOENT | libc::ENODEV)
    )
}

/// The filter with this handle, whether it is there or not.
fn filter(device: &str, handle: TcHandle) -> Result<SchedClassifierLink, ProgramError> {
    let found =
        SchedClassifierLink::attached(device, TcAttachType::Ingress, PRIORITY, handle, None);
    Ok(found.map_err(TcError::IoError)?)
}

#[cfg(test)]
mod tests {
    use super::{super::instance_dir, *};

    #[test]
    fn the_handle_of_an_instance_is_its_own_and_stays() {
        // The test values of FNV-1a.
        for (instance, hash) in [("a", 0xe40c_292c), ("foobar", 0xbf9c_f968)] {
            assert_eq!(u32::from(handle(&instance_dir(instance))), hash);
        }
    }
}
