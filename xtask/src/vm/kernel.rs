//! Kernels: which package has the wanted one, and what of it a guest needs.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Command,
};

use super::{apt::Apt, cpio::Archive, package};
use crate::shell::{Result, doing, quiet, said};

/// The packages of Debian's kernels for ordinary machines.
const PACKAGES: &str = "^linux-image-[0-9][^-]*(-[0-9]+)?-amd64$";

/// What names the newest kernel there is.
pub(super) const NEWEST: &str = "newest";

/// The kernel and the modules that a guest may want: networks, their cards, and what these are built on.
const WANTED: [&str; 12] = [
    "./boot/vmlinuz-*",
    "*/modules/*/vmlinuz",
    "*/modules/*/modules.builtin*",
    "*/modules/*/modules.order",
    "*/modules/*/kernel/net/*",
    "*/modules/*/kernel/lib/*",
    "*/modules/*/kernel/crypto/*",
    "*/modules/*/kernel/arch/*/crypto/*",
    "*/modules/*/kernel/drivers/net/*",
    "*/modules/*/kernel/drivers/virtio/*",
    "*/modules/*/kernel/drivers/ptp/*",
    "*/modules/*/kernel/drivers/i2c/algos/*",
];

/// What of that no guest has.
const UNWANTED: [&str; 6] = [
    "*/drivers/net/wireless/*",
    "*/drivers/net/ethernet/[!i]*",
    "*/drivers/net/ethernet/intel/i[!g]*",
    "*/net/mac80211/*",
    "*/net/bluetooth/*",
    "*/drivers/net/usb/*",
];

/// A kernel that a guest can start.
#[derive(Clone, Debug)]
pub(super) struct Kernel {
    /// What `uname -r` says there.
    pub(super) release: String,
    /// The file to start.
    pub(super) image: PathBuf,
    /// Its modules, as an archive.
    pub(super) modules: PathBuf,
}

impl Kernel {
    /// Returns the kernel that `wanted` stands for: a version or the beginning of one, [`NEWEST`], or package files with
    /// commas between them.
    pub(super) fn get(apt: &Apt, cache: &Path, wanted: &str) -> Result<Self> {
        if wanted.contains(".deb") {
            let files: Vec<_> = wanted.split(',').map(PathBuf::from).collect();
            if let Some(file) = files.iter().find(|file| !file.is_file()) {
                return said(format!("there is no file {}", file.display()));
            }
            let dir = cache.join("kernels").join(key(&files)?);
            return Self::at(&dir, || Ok(files.clone()));
        }
        let names = apt.names(PACKAGES)?;
        let Some(package) = choose(&names, wanted) else {
            let mut versions: Vec<_> = names.iter().filter_map(|name| version(name)).collect();
            versions.sort_unstable();
            let series = |version: &Vec<u32>| format!("{}.{}", version[0], version[1]);
            let mut series: Vec<_> = versions.iter().map(series).collect();
            series.dedup();
            return said(format!(
                "Debian has no kernel {wanted}; it has {}, and takes files that end with .deb",
                series.join(", ")
            ));
        };
        let dir = cache.join("kernels").join(package);
        let downloads = cache.join("downloads");
        let kernel = Self::at(&dir, || {
            let download = |package: &String| apt.download(package, &downloads);
            packages(apt, package)?.iter().map(download).collect()
        });
        // What was unpacked is kept, not the package.
        if downloads.exists() {
            fs::remove_dir_all(&downloads).map_err(doing("remove the kernel's package"))?;
        }
        kernel
    }

    /// The kernel that is kept in `dir`, unpacked from the files that `get` returns if it is not there yet.
    fn at(dir: &Path, get: impl FnOnce() -> Result<Vec<PathBuf>>) -> Result<Self> {
        let kept = |release: String| Self {
            release,
            image: dir.join("vmlinuz"),
            modules: dir.join("modules.cpio"),
        };
        // Written last, so that what is there is whole.
        let release = dir.join("release");
        if let Ok(release) = fs::read_to_string(&release) {
            return Ok(kept(release));
        }
        let tree = dir.join("tree");
        if dir.exists() {
            fs::remove_dir_all(dir).map_err(doing("clear what was unpacked before"))?;
        }
        fs::create_dir_all(tree.join("usr/lib")).map_err(doing("make a directory"))?;
        // Some packages have their modules here, some there.
        symlink("usr/lib", tree.join("lib")).map_err(doing("link lib"))?;
        for file in get()? {
            unpack(&file, &tree)?;
        }
        let name = index(&tree)?;
        pack(&tree, &name, dir)?;
        fs::remove_dir_all(&tree).map_err(doing("remove what is packed"))?;
        fs::write(&release, &name).map_err(doing("note the kernel's release"))?;
        Ok(kept(name))
    }
}

/// Unpacks what a guest may want of a package.
fn unpack(file: &Path, tree: &Path) -> Result<()> {
    let excluded = UNWANTED.map(|pattern| format!("--exclude={pattern}"));
    let select = ["--wildcards".to_owned()]
        .into_iter()
        .chain(excluded)
        .chain(WANTED.map(str::to_owned));
    package::unpack(file, tree, &select.collect::<Vec<_>>())
}

/// The package of a kernel, and those that have what it only depends on: in newer ones, the image and the modules.
fn packages(apt: &Apt, image: &str) -> Result<Vec<String>> {
    let version = image.trim_start_matches("linux-image-");
    let exactly = version.replace('.', "\\.").replace('+', "\\+");
    let mut packages = apt.names(&format!("^linux-(binary|modules)-{exactly}$"))?;
    packages.push(image.to_owned());
    Ok(packages)
}

/// Has the modules below `tree` indexed; returns the kernel's release.
fn index(tree: &Path) -> Result<String> {
    let releases = fs::read_dir(tree.join("usr/lib/modules"));
    let mut releases = releases.into_iter().flatten().flatten();
    let Some(release) = releases.next().map(|entry| entry.file_name()) else {
        return said(
            "the package has no modules; where another has them, name both with a comma between them",
        );
    };
    let release = release.to_string_lossy().into_owned();
    quiet(
        Command::new("depmod")
            .arg("--basedir")
            .arg(tree)
            .arg(&release),
    )?;
    Ok(release)
}

/// Keeps the kernel and the archive of its modules in `dir`.
fn pack(tree: &Path, release: &str, dir: &Path) -> Result<()> {
    let modules = tree.join("usr/lib/modules");
    let images = [
        tree.join(format!("boot/vmlinuz-{release}")),
        modules.join(release).join("vmlinuz"),
    ];
    let Some(image) = images.iter().find(|image| image.is_file()) else {
        return said(format!("no package has the kernel {release} itself"));
    };
    fs::rename(image, dir.join("vmlinuz")).map_err(doing("keep the kernel"))?;
    let root = tree.join("packed");
    fs::create_dir_all(root.join("usr/lib")).map_err(doing("make a directory"))?;
    fs::rename(modules, root.join("usr/lib/modules")).map_err(doing("move the modules"))?;
    let pack = || {
        let out = fs::File::create(dir.join("modules.cpio"))?;
        let mut archive = Archive::new(std::io::BufWriter::new(out));
        archive.tree(&root)?;
        archive.end().map(drop)
    };
    pack().map_err(doing("pack the kernel's modules"))
}

/// A name for package files, other for other files.
fn key(files: &[PathBuf]) -> Result<String> {
    let mut names = Vec::new();
    for file in files {
        let about = fs::metadata(file).map_err(doing(format!("look at {}", file.display())))?;
        let stem = file.file_stem().unwrap_or_default().to_string_lossy();
        names.push(format!("{stem}-{}", about.len()));
    }
    Ok(names.join("+"))
}

/// The newest package of those that `wanted` may mean.
fn choose<'a>(names: &'a [String], wanted: &str) -> Option<&'a str> {
    let numbers = |text: &str| -> Option<Vec<u32>> {
        text.split('.').map(|part| part.parse().ok()).collect()
    };
    let wanted = match wanted {
        NEWEST => Vec::new(),
        _ => numbers(wanted)?,
    };
    names
        .iter()
        .filter_map(|name| Some((version(name)?, name.as_str())))
        .filter(|(version, _)| version.starts_with(&wanted))
        .max()
        .map(|(_, name)| name)
}

/// The numbers in a package's name: major, minor, then whatever follows.
fn version(name: &str) -> Option<Vec<u32>> {
    let version = name.strip_prefix("linux-image-")?.strip_suffix("-amd64")?;
    let numbers: Option<Vec<u32>> = version
        .split(['.', '-'])
        .flat_map(|part| part.split("+deb"))
        .map(|part| part.parse().ok())
        .collect();
    numbers.filter(|numbers| numbers.len() >= 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_of_a_series_is_chosen() {
        let names = [
            "linux-image-6.1.0-9-amd64",
            "linux-image-6.1.0-50-amd64",
            "linux-image-6.12.9+deb13-amd64",
            "linux-image-6.12.95+deb12-amd64",
            "linux-image-6.12.95+deb13-amd64",
            "linux-image-7.3.4+deb13-amd64",
            "linux-image-7.3-cloud-amd64",
            "linux-image-amd64",
        ]
        .map(str::to_owned);

        let chosen = |wanted| choose(&names, wanted);

        assert_eq!(chosen("6.1"), Some("linux-image-6.1.0-50-amd64"));
        assert_eq!(chosen("6.12"), Some("linux-image-6.12.95+deb13-amd64"));
        assert_eq!(chosen("6.12.9"), Some("linux-image-6.12.9+deb13-amd64"));
        assert_eq!(chosen(NEWEST), Some("linux-image-7.3.4+deb13-amd64"));
        assert_eq!(chosen("6"), Some("linux-image-6.12.95+deb13-amd64"));
        assert_eq!(chosen("5.10"), None);
        assert_eq!(chosen("sixth"), None);
    }
}
