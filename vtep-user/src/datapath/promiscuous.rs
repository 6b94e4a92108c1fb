//! Which interfaces vtep has made promiscuous: noted by a pin each, `promiscuous/IFINDEX`, which outlives the daemon. What is pinned
//! there, the map `CONFIG`, says nothing; a file of bpffs has to be something.

use std::{
    fs,
    path::{Path, PathBuf},
};

use vtep_common::abi::{id::Ifindex, map::name};

use super::{attached, bpf, error::DatapathError, pins};

fn path(dir: &Path, ifindex: Ifindex) -> PathBuf {
    pins::promiscuous_dir(dir).join(ifindex.to_string())
}

pub(super) fn note(dir: &Path, ifindex: Ifindex) -> Result<(), DatapathError> {
    if is_noted(dir, ifindex) {
        return Ok(());
    }
    let notes = pins::promiscuous_dir(dir);
    fs::create_dir_all(&notes)
        .map_err(|source| DatapathError::file("make the directory", notes, source))?;
    let config = dir.join(name::CONFIG);
    let something = bpf::open(&config);
    let something = something.map_err(|source| DatapathError::file("open", config, source))?;
    let path = path(dir, ifindex);
    bpf::pin(&something, &path).map_err(|source| DatapathError::file("pin", path, source))
}

pub(super) fn is_noted(dir: &Path, ifindex: Ifindex) -> bool {
    path(dir, ifindex).exists()
}

pub(super) fn noted(dir: &Path) -> Result<Vec<Ifindex>, DatapathError> {
    let notes = pins::promiscuous_dir(dir);
    let mut found = Vec::new();
    for entry in pins::entries(&notes)? {
        let entry = entry.map_err(|source| DatapathError::file("read", &notes, source))?;
        let number = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok());
        found.extend(number.map(Ifindex::new));
    }
    Ok(found)
}

pub(super) fn forget(dir: &Path, ifindex: Ifindex) -> Result<(), DatapathError> {
    attached::remove_if_there(&path(dir, ifindex))
}
