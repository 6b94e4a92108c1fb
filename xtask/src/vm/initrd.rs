//! What a guest starts with: the root file system, the kernel's modules, and its job.

use std::{
    fs::{self, File},
    io::{self, BufWriter, Write as _},
    path::Path,
};

use super::{
    build::Built,
    cpio::Archive,
    kernel::Kernel,
    plan::{GUEST_LIMIT, Job},
};
use crate::shell::{Result, doing};

/// Writes the archives one after the other to `to`.
pub(super) fn write(
    to: &Path,
    root: &Path,
    kernel: &Kernel,
    built: &Built,
    job: &Job,
) -> Result<()> {
    let test = built.test(job.target)?;
    let package = built.package.as_ref().filter(|_| job.is_managed());
    let write = || -> io::Result<()> {
        let mut out = BufWriter::new(File::create(to)?);
        for part in [root, &kernel.modules] {
            io::copy(&mut File::open(part)?, &mut out)?;
        }
        let mut archive = Archive::new(out);
        archive.file("init", 0o755, include_bytes!("init.sh"))?;
        archive.directory("job")?;
        archive.file("job/settings", 0o644, settings(job).as_bytes())?;
        archive.file("job/test", 0o755, &fs::read(test)?)?;
        archive.file("job/vtep", 0o755, &fs::read(&built.vtep)?)?;
        if let Some(package) = package {
            archive.file("job/vtep.deb", 0o644, &fs::read(package)?)?;
            archive.file("job/guest.service", 0o644, include_bytes!("guest.service"))?;
        }
        archive.end()?.flush()
    };
    write().map_err(doing(format!("write {}", to.display())))
}

/// What `init.sh` reads.
fn settings(job: &Job) -> String {
    let modules = job.card.map_or("", |card| card.modules);
    let manager = if job.is_managed() {
        "/usr/lib/systemd/systemd"
    } else {
        ""
    };
    format!(
        "MANAGER={manager}\nMODULES='{modules}'\nLIMIT={}\nARGUMENTS='{}'\n",
        GUEST_LIMIT.as_secs(),
        job.arguments()
    )
}
