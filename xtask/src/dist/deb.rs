//! The Debian package, as `dpkg-deb` makes it of a directory.

use std::{
    env::consts::ARCH,
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use super::tree::{BINARY, CONFIGURATION, Tree};
use crate::shell::{Result, doing, quiet, repository, said};

/// The scripts that dpkg runs, in `dist/debian/`.
const SCRIPTS: [&str; 3] = ["postinst", "prerm", "postrm"];

/// Packs a tree of files; returns the package.
pub(super) fn pack(tree: &Tree, version: &str, stamp: &str, dir: &Path) -> Result<PathBuf> {
    let arch = architecture()?;
    let root = dir.join("root");
    tree.write(&root)?;
    let control = root.join("DEBIAN");
    let needs = needs(&root.join(BINARY))?;
    let write = || -> std::io::Result<()> {
        fs::create_dir_all(&control)?;
        fs::set_permissions(&control, fs::Permissions::from_mode(0o755))?;
        fs::write(
            control.join("control"),
            description(version, arch, tree.kib(), &needs),
        )?;
        fs::write(control.join("conffiles"), format!("/{CONFIGURATION}\n"))?;
        for script in SCRIPTS {
            let to = control.join(script);
            fs::copy(repository().join("dist/debian").join(script), &to)?;
            fs::set_permissions(&to, fs::Permissions::from_mode(0o755))?;
        }
        Ok(())
    };
    write().map_err(doing("write the package's control files"))?;
    let mut sums = Command::new("md5sum");
    let owned = tree.paths().filter(|path| *path != CONFIGURATION);
    sums.args(owned).current_dir(&root);
    let sums = quiet(&mut sums)?;
    fs::write(control.join("md5sums"), sums).map_err(doing("write the package's sums"))?;
    for file in ["control", "conffiles", "md5sums"] {
        fs::set_permissions(control.join(file), fs::Permissions::from_mode(0o644))
            .map_err(doing("open the package's control files"))?;
    }
    let package = dir.join(format!("vtep_{version}_{arch}.deb"));
    let mut dpkg = Command::new("dpkg-deb");
    dpkg.args(["--root-owner-group", "-Zxz", "--build"])
        .arg(&root)
        .arg(&package)
        .env("SOURCE_DATE_EPOCH", stamp);
    quiet(&mut dpkg)?;
    fs::remove_dir_all(&root).map_err(doing("remove what is packed"))?;
    Ok(package)
}

/// What Debian calls the processor that this is built for.
fn architecture() -> Result<&'static str> {
    match ARCH {
        "x86_64" => Ok("amd64"),
        "aarch64" => Ok("arm64"),
        other => said(format!("no package is made for {other}")),
    }
}

/// The control file.
fn description(version: &str, arch: &str, kib: usize, needs: &str) -> String {
    format!(
        "Package: vtep\n\
         Version: {version}\n\
         Architecture: {arch}\n\
         Maintainer: the authors of vtep <vtep@localhost>\n\
         Installed-Size: {kib}\n\
         Depends: {needs}, systemd | systemd-standalone-sysusers, passwd\n\
         Section: net\n\
         Priority: optional\n\
         Description: VXLAN tunnel endpoint whose data path runs in eBPF\n \
         vtep makes a hypervisor a VXLAN tunnel endpoint (RFC 7348). Virtual machines\n \
         and containers on different hosts share one Ethernet segment, across any\n \
         routed IPv4 or IPv6 network. Frames are forwarded by eBPF programs, also\n \
         while the daemon is restarted or upgraded. It needs Linux 6.1 or newer.\n"
    )
}

/// The packages with the libraries that a binary needs, each in the version whose symbols it uses.
fn needs(binary: &Path) -> Result<String> {
    let headers = quiet(Command::new("objdump").arg("-p").arg(binary))?;
    let mut needs = Vec::new();
    for library in needed(&headers) {
        match library {
            "libc.so.6" | "libm.so.6" => {
                let version = newest_glibc(&headers);
                needs.push(format!("libc6 (>= {}.{})", version.0, version.1));
            }
            "libgcc_s.so.1" => needs.push("libgcc-s1".to_owned()),
            loader if loader.starts_with("ld-linux") => {}
            other => return said(format!("the package of {other} is not known")),
        }
    }
    needs.sort();
    needs.dedup();
    Ok(needs.join(", "))
}

/// The libraries in what `objdump -p` says.
fn needed(headers: &str) -> impl Iterator<Item = &str> {
    headers
        .lines()
        .filter_map(|line| line.trim().strip_prefix("NEEDED").map(str::trim))
}

/// The newest version of the GNU C library that symbols are wanted of, in what `objdump -p` says.
fn newest_glibc(headers: &str) -> (u32, u32) {
    let versions = headers
        .split_whitespace()
        .filter_map(|word| word.strip_prefix("GLIBC_"));
    let numbers = versions.filter_map(|version| {
        let mut parts = version.split('.').map(str::parse);
        Some((parts.next()?.ok()?, parts.next()?.ok()?))
    });
    numbers.max().unwrap_or((2, 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADERS: &str = "\
Dynamic Section:
  NEEDED               libgcc_s.so.1
  NEEDED               libc.so.6
Version References:
  required from libc.so.6:
    0x069691b4 0x00 12 GLIBC_2.34
    0x09691a75 0x00 11 GLIBC_2.2.5
    0x06969189 0x00 09 GLIBC_2.9
";

    #[test]
    fn the_libraries_and_their_versions_are_read() {
        let found: Vec<_> = needed(HEADERS).collect();

        assert_eq!(found, ["libgcc_s.so.1", "libc.so.6"]);
        assert_eq!(newest_glibc(HEADERS), (2, 34));
    }

    #[test]
    fn the_control_file_has_a_field_a_line() {
        let text = description("1.2", "amd64", 3, "libc6");

        assert!(
            text.contains("\nVersion: 1.2\nArchitecture: amd64\n"),
            "{text}"
        );
        let (_, long) = text.split_once("Description: ").unwrap();
        let lines = long.lines().skip(1);
        for line in lines {
            assert!(line.starts_with(' ') && line.len() <= 80, "{line}");
        }
    }
}
