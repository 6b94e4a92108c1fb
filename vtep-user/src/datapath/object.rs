//! Taking maps out of the object that was loaded.

use std::os::fd::{AsFd as _, OwnedFd};

use aya::{
    Ebpf,
    maps::{Map, MapError},
};

use super::error::DatapathError;

/// Takes a map out of the object as the type that it is.
pub(super) fn take<T>(ebpf: &mut Ebpf, name: &'static str) -> Result<T, DatapathError>
where
    T: TryFrom<Map, Error = MapError>,
{
    let map = ebpf.take_map(name).ok_or(DatapathError::Missing(name))?;
    T::try_from(map).map_err(|source| DatapathError::map("open", name, source))
}

/// A descriptor of a map, of our own.
pub(super) fn fd_of(ebpf: &Ebpf, name: &'static str) -> Result<OwnedFd, DatapathError> {
    let Some(
        Map::HashMap(data)
        | Map::LruHashMap(data)
        | Map::PerCpuHashMap(data)
        | Map::PerCpuArray(data),
    ) = ebpf.map(name)
    else {
        return Err(DatapathError::Missing(name));
    };
    let fd = data.fd().as_fd().try_clone_to_owned();
    fd.map_err(|source| DatapathError::map("open", name, MapError::IoError(source)))
}
