//! Whole maps as they lie in the kernel, to keep them in a file and to make them again.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::bpf::{Attr, MAP_CREATE, MAP_LOOKUP, MAP_UPDATE, OBJ_GET};
use crate::bpf::{bpf, number, owned, path_text, pin, set_address};

const MAP_NEXT_KEY: i64 = 4;
const MAP_LOOKUP_BATCH: i64 = 24;
const OBJ_INFO: i64 = 15;

/// Types of maps by their numbers (kernel `include/uapi/linux/bpf.h`).
const PROG_ARRAY: u32 = 3;
const PER_CPU: [u32; 2] = [5, PER_CPU_ARRAY];
const PER_CPU_ARRAY: u32 = 6;
const RINGBUF: u32 = 27;

/// A map: what it takes to make it, and what is in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MapDump {
    /// `enum bpf_map_type`
    pub kind: u32,
    /// Bytes of a key.
    pub key_size: u32,
    /// Bytes of a value.
    pub value_size: u32,
    /// Entries that there is room for.
    pub max_entries: u32,
    /// `BPF_F_…` at its making.
    pub flags: u32,
    /// Keys and values in hexadecimal digits. Values of zeros are left out of arrays, and zeros at the end out of values. Of what each CPU
    /// has its own, it is the sum. Programs and events are not kept.
    pub entries: BTreeMap<String, String>,
}

impl MapDump {
    /// Reads a pinned map.
    ///
    /// # Panics
    ///
    /// If there is none, or it cannot be read.
    #[must_use]
    pub fn read(path: &Path) -> Self {
        let map = open(path);
        let mut dump = Self::form(path, &map);
        if ![PROG_ARRAY, RINGBUF].contains(&dump.kind) {
            dump.entries = dump.read_entries(&map);
        }
        dump
    }

    /// What it takes to make a map, without what is in it.
    fn form(path: &Path, map: &OwnedFd) -> Self {
        // The words of `struct bpf_map_info` up to the flags.
        let mut info = [0_u32; 6];
        let mut attr: Attr = [0; 32];
        (attr[0], attr[1]) = (number(map), 24);
        set_address(&mut attr, 2, info.as_mut_ptr().cast_const());
        bpf(OBJ_INFO, &mut attr).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let [kind, _, key_size, value_size, max_entries, flags] = info;
        Self {
            kind,
            key_size,
            value_size,
            max_entries,
            flags,
            entries: BTreeMap::new(),
        }
    }

    /// Reads the counters of a pinned per-CPU array at once (Linux 5.13): packets and bytes of all CPUs, by their place. Those that are zero
    /// are left out.
    ///
    /// # Panics
    ///
    /// If there is no such array, or it cannot be read.
    #[must_use]
    pub fn read_counters(path: &Path) -> Vec<(u32, [u64; 2])> {
        let map = open(path);
        let Self {
            kind,
            value_size,
            max_entries,
            ..
        } = Self::form(path, &map);
        assert_eq!(
            (kind, value_size),
            (PER_CPU_ARRAY, 16),
            "{}",
            path.display()
        );
        let (count, cpus) = (length(max_entries), possible_cpus());
        let (mut keys, mut values) = (vec![0_u32; count], vec![[0_u64; 2]; count * cpus]);
        let mut next = 0_u32;
        let mut attr: Attr = [0; 32];
        // From the beginning: there is no place to go on from.
        set_address(&mut attr, 2, &raw mut next);
        set_address(&mut attr, 4, keys.as_mut_ptr());
        set_address(&mut attr, 6, values.as_mut_ptr());
        (attr[8], attr[9]) = (max_entries, number(&map));
        match bpf(MAP_LOOKUP_BATCH, &mut attr) {
            Ok(_) => {}
            // There are no more.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => panic!("read {}: {error}", path.display()),
        }
        assert_eq!(attr[8], max_entries, "all entries at once");
        let sum = |values: &[[u64; 2]]| {
            let word = |at: usize| values.iter().map(|value| value[at]).sum();
            [word(0), word(1)]
        };
        let sums = values.chunks_exact(cpus).map(sum);
        keys.into_iter()
            .zip(sums)
            .filter(|(_, sum)| *sum != [0; 2])
            .collect()
    }

    fn read_entries(&self, map: &OwnedFd) -> BTreeMap<String, String> {
        let mut found = BTreeMap::new();
        let mut key: Option<Vec<u8>> = None;
        loop {
            let mut next = vec![0; length(self.key_size)];
            let from = key.as_ref().map_or(std::ptr::null(), Vec::as_ptr);
            match command(map, MAP_NEXT_KEY, from, next.as_mut_ptr()) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => return found,
                Err(error) => panic!("next key: {error}"),
            }
            let mut value = vec![0; self.value_bytes()];
            command(map, MAP_LOOKUP, next.as_ptr(), value.as_mut_ptr()).expect("look up a key");
            let value = trimmed(self.summed(value));
            // The key of an array is a place.
            if !(value.is_empty() && self.is_array()) {
                found.insert(to_hex(&next), to_hex(&value));
            }
            key = Some(next);
        }
    }

    /// Makes the map and pins it.
    ///
    /// # Panics
    ///
    /// If the kernel does not take it.
    pub fn pin(&self, path: &Path) {
        let mut attr: Attr = [0; 32];
        (attr[0], attr[1], attr[2]) = (self.kind, self.key_size, self.value_size);
        (attr[3], attr[4]) = (self.max_entries, self.flags);
        let map = owned(bpf(MAP_CREATE, &mut attr), "create a map");
        for (key, value) in &self.entries {
            let (key, mut value) = (from_hex(key), from_hex(value));
            // The first CPU has the sum.
            value.resize(self.value_bytes(), 0);
            command(&map, MAP_UPDATE, key.as_ptr(), value.as_mut_ptr()).expect("set an entry");
        }
        pin(&map, path);
    }

    fn is_array(&self) -> bool {
        [2, PER_CPU_ARRAY].contains(&self.kind)
    }

    /// Bytes of a value as bpf(2) moves it.
    fn value_bytes(&self) -> usize {
        let one = length(self.value_size);
        if PER_CPU.contains(&self.kind) {
            one.next_multiple_of(8) * possible_cpus()
        } else {
            one
        }
    }

    /// The value of all CPUs, which counts in words of 64 bits.
    fn summed(&self, value: Vec<u8>) -> Vec<u8> {
        if !PER_CPU.contains(&self.kind) {
            return value;
        }
        let mut sum = vec![0_u64; length(self.value_size).div_ceil(8)];
        for one in value.chunks_exact(sum.len() * 8) {
            for (sum, word) in sum.iter_mut().zip(one.chunks_exact(8)) {
                *sum += u64::from_ne_bytes(word.try_into().expect("eight bytes"));
            }
        }
        sum.iter().flat_map(|word| word.to_ne_bytes()).collect()
    }
}

/// Opens a pinned map.
fn open(path: &Path) -> OwnedFd {
    let text = path_text(path);
    let mut attr: Attr = [0; 32];
    set_address(&mut attr, 0, text.as_ptr());
    owned(bpf(OBJ_GET, &mut attr), &path.display().to_string())
}

/// Gives a command for one entry; `value` is where the value is, or is to be.
fn command(map: &OwnedFd, command: i64, key: *const u8, value: *mut u8) -> io::Result<()> {
    let mut attr: Attr = [0; 32];
    attr[0] = number(map);
    set_address(&mut attr, 2, key);
    set_address(&mut attr, 4, value.cast_const());
    bpf(command, &mut attr).map(drop)
}

fn possible_cpus() -> usize {
    let text = fs::read_to_string("/sys/devices/system/cpu/possible").expect("the CPUs");
    let last = text.trim().rsplit(['-', ',']).next().expect("a number");
    last.parse::<usize>().expect("a number") + 1
}

fn length(number: u32) -> usize {
    usize::try_from(number).expect("a length")
}

fn trimmed(mut value: Vec<u8>) -> Vec<u8> {
    let end = value.iter().rposition(|byte| *byte != 0);
    value.truncate(end.map_or(0, |last| last + 1));
    value
}

/// Bytes as digits.
#[must_use]
pub fn to_hex(bytes: &[u8]) -> String {
    let mut text = String::new();
    for byte in bytes {
        write!(text, "{byte:02x}").expect("write to a string");
    }
    text
}

/// Digits as bytes.
///
/// # Panics
///
/// If they are none.
#[must_use]
pub fn from_hex(text: &str) -> Vec<u8> {
    let digits = text.as_bytes().chunks(2);
    let byte = |pair: &[u8]| {
        let pair = std::str::from_utf8(pair).expect("digits");
        u8::from_str_radix(pair, 16).expect("two digits")
    };
    digits.map(byte).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_and_their_digits_are_one_another() {
        let bytes = [0, 1, 0xab, 0xff];

        assert_eq!(to_hex(&bytes), "0001abff");
        assert_eq!(from_hex("0001abff"), bytes);
        assert_eq!(trimmed(vec![0, 7, 0, 0]), [0, 7]);
    }
}
