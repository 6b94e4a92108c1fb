//! Frames for a person to read.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

/// Sixteen bytes a line, with offsets.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    let mut out = String::new();
    for (row, chunk) in bytes.chunks(16).enumerate() {
        let cells: Vec<String> = chunk.iter().map(|byte| format!("{byte:02x}")).collect();
        writeln!(out, "  {:04x}  {}", row * 16, cells.join(" ")).expect("write to a string");
    }
    out
}

/// Compares two frames and shows where they part.
///
/// # Panics
///
/// If they differ.
#[track_caller]
pub fn assert_same(got: &[u8], want: &[u8], what: &str) {
    let at = got.iter().zip(want).position(|(g, w)| g != w);
    assert!(
        got == want,
        "{what}: got {} bytes, want {}, first difference at {at:?}\ngot\n{}want\n{}",
        got.len(),
        want.len(),
        hex(got),
        hex(want),
    );
}

/// Writes frames as a capture file for tcpdump and Wireshark.
pub fn pcap(path: &Path, frames: &[Vec<u8>]) -> std::io::Result<()> {
    let mut out = Vec::new();
    for word in [0xa1b2_c3d4_u32, 0x0004_0002, 0, 0, 0x0004_0000, 1] {
        out.extend(word.to_ne_bytes());
    }
    for (index, frame) in (0_u32..).zip(frames) {
        let len = u32::try_from(frame.len()).unwrap_or(u32::MAX);
        for word in [index, 0, len, len] {
            out.extend(word.to_ne_bytes());
        }
        out.extend(frame);
    }
    fs::write(path, out)
}
