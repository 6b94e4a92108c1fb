//! The form of an initrd: archives as `cpio -H newc` makes them, one after the other.

use std::{
    fs,
    io::{self, Write},
    os::unix::{ffi::OsStrExt as _, fs::PermissionsExt as _},
    path::Path,
};

const FILE: u32 = 0o100_000;
const DIRECTORY: u32 = 0o040_000;
const LINK: u32 = 0o120_000;

/// Writes an archive; everything in it belongs to root.
pub(super) struct Archive<W: Write> {
    out: W,
    inode: u32,
}

impl<W: Write> Archive<W> {
    /// Starts one.
    pub(super) fn new(out: W) -> Self {
        Self { out, inode: 0 }
    }

    /// Adds a directory.
    pub(super) fn directory(&mut self, name: &str) -> io::Result<()> {
        self.entry(name.as_bytes(), DIRECTORY | 0o755, &[])
    }

    /// Adds a file.
    pub(super) fn file(&mut self, name: &str, mode: u32, bytes: &[u8]) -> io::Result<()> {
        self.entry(name.as_bytes(), FILE | mode, bytes)
    }

    /// Adds all that is below `dir`, under its names there.
    pub(super) fn tree(&mut self, dir: &Path) -> io::Result<()> {
        self.below(dir, dir)
    }

    fn below(&mut self, root: &Path, dir: &Path) -> io::Result<()> {
        let mut paths = Vec::new();
        for entry in fs::read_dir(dir)? {
            paths.push(entry?.path());
        }
        paths.sort();
        for path in paths {
            let name = path.strip_prefix(root).unwrap_or(&path).as_os_str();
            let about = fs::symlink_metadata(&path)?;
            let mode = about.permissions().mode() & 0o7777;
            if about.is_symlink() {
                let to = fs::read_link(&path)?;
                self.entry(name.as_bytes(), LINK | 0o777, to.as_os_str().as_bytes())?;
            } else if about.is_dir() {
                self.entry(name.as_bytes(), DIRECTORY | mode, &[])?;
                self.below(root, &path)?;
            } else if about.is_file() {
                self.entry(name.as_bytes(), FILE | mode, &fs::read(&path)?)?;
            }
        }
        Ok(())
    }

    /// Writes the end, to a length that another archive may follow, and returns what was written to.
    pub(super) fn end(mut self) -> io::Result<W> {
        self.entry(b"TRAILER!!!", 0, &[])?;
        // Zeros between archives are skipped, up to the next multiple of four; each entry ends at one.
        self.out.flush()?;
        Ok(self.out)
    }

    fn entry(&mut self, name: &[u8], mode: u32, bytes: &[u8]) -> io::Result<()> {
        self.inode += 1;
        let too_long = |_| io::Error::other("longer than cpio can tell");
        let (links, none) = (1, 0);
        let size = u32::try_from(bytes.len()).map_err(too_long)?;
        let name_len = u32::try_from(name.len() + 1).map_err(too_long)?;
        let fields = [
            self.inode, mode, none, none, links, none, size, none, none, none, none, name_len, none,
        ];
        self.out.write_all(b"070701")?;
        for field in fields {
            write!(self.out, "{field:08x}")?;
        }
        self.out.write_all(name)?;
        // The name ends with NUL, and the bytes begin at a multiple of four.
        self.zeros(1 + padding(HEADER + name.len() + 1))?;
        self.out.write_all(bytes)?;
        self.zeros(padding(bytes.len()))
    }

    fn zeros(&mut self, count: usize) -> io::Result<()> {
        self.out.write_all(&[0; 4][..count])
    }
}

/// Length of what stands before an entry's name.
const HEADER: usize = 110;

/// How many bytes are missing to a multiple of four.
const fn padding(len: usize) -> usize {
    (4 - len % 4) % 4
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_begin_at_multiples_of_four() {
        let mut archive = Archive::new(Vec::new());
        archive.directory("etc").unwrap();
        archive.file("etc/motd", 0o644, b"hello").unwrap();

        let bytes = archive.end().unwrap();

        assert_eq!(bytes.len() % 4, 0);
        let at: Vec<_> = bytes
            .windows(6)
            .enumerate()
            .filter(|(_, six)| six == b"070701")
            .map(|(at, _)| at)
            .collect();
        assert_eq!(at.len(), 3);
        assert!(at.iter().all(|at| at % 4 == 0), "{at:?}");
        let motd = &bytes[at[1]..];
        assert_eq!(&motd[14..22], b"000081a4", "a file that all may read");
        assert_eq!(&motd[54..62], b"00000005", "five bytes");
        assert_eq!(&motd[110..119], b"etc/motd\0");
        assert_eq!(&motd[120..125], b"hello");
    }
}
