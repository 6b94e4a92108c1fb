//! Where our maps and programs are made, beside those of the earlier layout, until one rename puts them in their place.
//!
//! | a daemon is killed | what is pinned for the instance | what runs |
//! |---|---|---|
//! | while it fills its maps | the earlier layout | the earlier programs |
//! | while it swaps the programs | the earlier layout | at some interfaces the new ones, over maps that say the same |
//! | after the rename | our layout | the new programs |
//!
//! Only the daemon writes the tables, and it writes none before the rename. So the earlier ones are as true as ever until then, and either
//! `vtep` can go on with them.

use std::{
    ffi::CString,
    fs::{self, File},
    io,
    os::{fd::AsRawFd as _, unix::ffi::OsStrExt as _},
    path::{Path, PathBuf},
};

use aya::programs::SchedClassifier;

use super::{attached, clsact, error::DatapathError, link, pins};

/// The directory beside those of the instances. No instance is called so.
const PARENT: &str = "+next";

/// The new pins of an instance. Unless they are put in place of the old ones, everything is made as it was when this is dropped; what has
/// become the old ones is removed.
pub(super) struct Staging {
    home: PathBuf,
    dir: PathBuf,
    /// Links may run new programs.
    touched: bool,
    /// The new pins are in place.
    in_place: bool,
    /// Nobody else begins or clears meanwhile.
    _lock: Lock,
}

/// Held by whoever looks at pins that may be of an earlier layout: a daemon that starts, a dump.
pub(super) struct Lock {
    _dir: Option<File>,
}

/// Waits until nobody else holds the lock of the instance at `home`.
pub(super) fn lock(home: &Path) -> Result<Lock, DatapathError> {
    let failed = |source| DatapathError::file("lock", home, source);
    match File::open(home) {
        Ok(dir) => {
            // SAFETY: the descriptor is open.
            if unsafe { libc::flock(dir.as_raw_fd(), libc::LOCK_EX) } != 0 {
                return Err(failed(io::Error::last_os_error()));
            }
            Ok(Lock { _dir: Some(dir) })
        }
        // Nothing is pinned.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Lock { _dir: None }),
        Err(error) => Err(failed(error)),
    }
}

impl Staging {
    /// Makes the directory for the new pins of the instance at `home`, with its links.
    pub(super) fn begin(home: &Path, lock: Lock) -> Result<Self, DatapathError> {
        let dir = beside(home);
        pins::make_dirs(&dir)?;
        let staging = Self {
            home: home.to_owned(),
            dir,
            touched: false,
            in_place: false,
            _lock: lock,
        };
        for link in file_names(&pins::links_dir(home))? {
            // A link stays what it is, with two names.
            share(
                &pins::links_dir(home),
                &pins::links_dir(&staging.dir),
                &link,
            )?;
        }
        let notes = pins::promiscuous_dir(&staging.dir);
        for note in file_names(&pins::promiscuous_dir(home))? {
            fs::create_dir_all(&notes)
                .map_err(|source| DatapathError::file("make the directory", &notes, source))?;
            share(&pins::promiscuous_dir(home), &notes, &note)?;
        }
        Ok(staging)
    }

    /// Where the new pins are made.
    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Where they belong, and those of the last daemon are.
    pub(super) fn home(&self) -> &Path {
        &self.home
    }

    /// Takes a map over as it is, if there is one.
    pub(super) fn share(&self, map: &str) -> Result<(), DatapathError> {
        share(&self.home, &self.dir, map)
    }

    /// From here on, links may run new programs.
    pub(super) const fn touch(&mut self) {
        self.touched = true;
    }

    /// True if the new pins are in place.
    pub(super) const fn is_in_place(&self) -> bool {
        self.in_place
    }

    /// Puts the new pins in place of the old ones, both at once.
    pub(super) fn put_in_place(&mut self) -> Result<(), DatapathError> {
        exchange(&self.dir, &self.home).map_err(|source| {
            DatapathError::file("exchange with its successor", &self.home, source)
        })?;
        self.in_place = true;
        Ok(())
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        if self.touched && !self.in_place {
            revert(&self.home, &self.dir);
            tracing::warn!("the pinned state stays as it was; its programs forward on");
        }
        if let Err(error) = forget(&self.dir) {
            tracing::error!(%error, "could not remove what a migration has left");
        }
    }
}

/// Removes what a migration has left that was killed, and has the links run the programs that are pinned beside them.
pub(super) fn clear(home: &Path) -> Result<(), DatapathError> {
    let dir = beside(home);
    if !dir.exists() {
        return Ok(());
    }
    tracing::warn!("removed the remains of a migration that was killed");
    revert(home, &dir);
    forget(&dir)
}

/// The directory for new pins. It ends as that of the instance does, which names the instance.
fn beside(home: &Path) -> PathBuf {
    let instance = home.file_name().unwrap_or_default();
    home.with_file_name(PARENT).join(instance)
}

/// Gives what is pinned at `from` by a name that name at `to` as well; what is not there is left out.
fn share(from: &Path, to: &Path, name: &str) -> Result<(), DatapathError> {
    match fs::hard_link(from.join(name), to.join(name)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(DatapathError::file("share", from.join(name), error))
        }
        _ => Ok(()),
    }
}

/// Exchanges two directories, both at once (bpffs does so since Linux 5.16).
fn exchange(one: &Path, other: &Path) -> io::Result<()> {
    let path = |path: &Path| CString::new(path.as_os_str().as_bytes()).map_err(io::Error::other);
    let (one, other) = (path(one)?, path(other)?);
    // SAFETY: both paths end in a zero byte. The call itself, because not every C library has a function for it.
    let status = unsafe {
        libc::syscall(
            libc::SYS_renameat2,
            libc::AT_FDCWD,
            one.as_ptr(),
            libc::AT_FDCWD,
            other.as_ptr(),
            libc::RENAME_EXCHANGE,
        )
    };
    if status == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Has every link of the instance run the program that is pinned beside it, and detaches those that the instance does not have. What
/// cannot be done is logged.
fn revert(home: &Path, dir: &Path) {
    let links = |of: &Path| file_names(&pins::links_dir(of)).unwrap_or_default();
    let known = links(home);
    for name in &known {
        if let Err(error) = revert_one(home, name) {
            // So it is for one that was made anew meanwhile, or whose interface is gone.
            tracing::debug!(link = name, %error, "the program stays");
        }
    }
    for name in links(dir) {
        if known.contains(&name) {
            continue;
        }
        let path = pins::links_dir(dir).join(&name);
        let detached = match link::detach(&path) {
            Ok(()) => Ok(()),
            Err(_) => detach_filter(home, &name),
        };
        if let Err(error) = detached {
            tracing::debug!(link = name, %error, "not detached");
        }
    }
}

/// Has one link, or the filter that is noted in its place, run the program that is pinned.
fn revert_one(home: &Path, name: &str) -> Result<(), DatapathError> {
    let Some((program, ifindex)) = attached::parts(name) else {
        return Ok(());
    };
    let path = pins::links_dir(home).join(name);
    let pinned = pins::programs_dir(home).join(program);
    if link::place(&path).is_ok() || program.starts_with("xdp") {
        return link::update(&path, &pinned)
            .map_err(|source| DatapathError::file("update", path, source));
    }
    let failed = |source| DatapathError::program("attach", program, source);
    let Some(device) = attached::name_of(ifindex) else {
        return Ok(());
    };
    let mut classifier = SchedClassifier::from_pin(pinned).map_err(failed)?;
    clsact::attach(&mut classifier, &device, clsact::handle(home)).map_err(failed)
}

fn detach_filter(home: &Path, name: &str) -> Result<(), DatapathError> {
    let Some((program, ifindex)) = attached::parts(name) else {
        return Ok(());
    };
    let Some(device) = attached::name_of(ifindex) else {
        return Ok(());
    };
    clsact::detach(&device, clsact::handle(home))
        .map_err(|source| DatapathError::program("detach", program, source))
}

/// Removes pins, and nothing but those: the links have others.
fn forget(dir: &Path) -> Result<(), DatapathError> {
    for dir in [
        pins::links_dir(dir),
        pins::promiscuous_dir(dir),
        pins::programs_dir(dir),
        dir.to_owned(),
    ] {
        for name in file_names(&dir)? {
            attached::remove_if_there(&dir.join(name))?;
        }
        match fs::remove_dir(&dir) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(DatapathError::file("remove", dir, error));
            }
            _ => {}
        }
    }
    // Other instances may be at it as well.
    if let Some(parent) = dir.parent()
        && let Err(error) = fs::remove_dir(parent)
    {
        tracing::debug!(%error, "kept {}", parent.display());
    }
    Ok(())
}

/// Names of the files in a directory; none where there is no directory.
fn file_names(dir: &Path) -> Result<Vec<String>, DatapathError> {
    let mut names = Vec::new();
    for entry in pins::entries(dir)? {
        let entry = entry.map_err(|source| DatapathError::file("read", dir, source))?;
        if !entry.path().is_dir() {
            names.push(entry.file_name().to_string_lossy().into_owned());
        }
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_instance_has_the_place_of_new_pins_and_its_name_is_kept() {
        let home = pins::instance_dir("blue");
        let dir = beside(&home);

        assert_eq!(dir.file_name(), home.file_name());
        assert_ne!(dir.parent(), home.parent());
        assert!(<crate::model::InstanceName as crate::model::Value>::read(PARENT).is_err());
    }
}
