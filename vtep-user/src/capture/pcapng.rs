//! Captured frames as a pcapng file: an interface for each port and VNI, and a comment at each frame.

use std::borrow::Cow;
use std::collections::HashMap;
use std::io::{self, Write};
use std::time::Duration;

use jiff::Timestamp;
use pcap_file::pcapng::PcapNgWriter;
use pcap_file::pcapng::blocks::enhanced_packet::{EnhancedPacketBlock, EnhancedPacketOption};
use pcap_file::pcapng::blocks::interface_description::{
    InterfaceDescriptionBlock, InterfaceDescriptionOption,
};
use pcap_file::pcapng::blocks::section_header::{SectionHeaderBlock, SectionHeaderOption};
use pcap_file::{DataLink, Endianness, PcapError};

use super::comment::comment;
use crate::model::{CaptureRow, Vni};

/// Timestamps are in nanoseconds: 10^-9 of a second.
const NANOSECONDS: u8 = 9;

/// Bytes of a frame that are captured, as readers are told. They refuse files whose interfaces differ in it.
const SNAPLEN: u32 = 65_535;

/// `epb_flags`: the frame came in by the interface, or went out by it.
const INBOUND: u32 = 1;
const OUTBOUND: u32 = 2;

/// A file that frames are written to.
pub struct CaptureFile<W: Write> {
    file: PcapNgWriter<W>,
    /// The number of the interface for a device, and for a VNI that has a port there. A VNI that a packet only names, as anybody may, has none.
    interfaces: HashMap<(Option<String>, Option<Vni>), u32>,
}

impl<W: Write> CaptureFile<W> {
    /// Begins the file.
    pub fn new(out: W) -> io::Result<Self> {
        let program = concat!("vtep ", env!("CARGO_PKG_VERSION"));
        let head = SectionHeaderBlock {
            endianness: Endianness::Little,
            major_version: 1,
            minor_version: 0,
            section_length: -1,
            options: vec![SectionHeaderOption::UserApplication(program.into())],
        };
        let file = PcapNgWriter::with_section_header(out, head).map_err(failed)?;
        let mut begun = Self {
            file,
            interfaces: HashMap::new(),
        };
        // Readers refuse a file without an interface, also one that is empty otherwise.
        begun.describe(
            (None, None),
            "vtep",
            "frames of which the interface is not known".into(),
        )?;
        Ok(begun)
    }

    /// Writes a frame.
    pub fn write(&mut self, row: &CaptureRow, frame: &[u8]) -> io::Result<()> {
        let interface_id = self.interface(row)?;
        // From the port's side: what a guest sends comes in by its port.
        let flags = if row.direction == "tx" {
            INBOUND
        } else {
            OUTBOUND
        };
        let block = EnhancedPacketBlock {
            interface_id,
            timestamp: since_1970(&row.time),
            original_len: row.len.max(u32::try_from(frame.len()).unwrap_or(u32::MAX)),
            data: Cow::Borrowed(frame),
            options: vec![
                EnhancedPacketOption::Comment(comment(row).into()),
                EnhancedPacketOption::Flags(flags),
            ],
        };
        self.file.write_pcapng_block(block).map_err(failed)?;
        Ok(())
    }

    /// Has everything that was written reach its reader.
    pub fn flush(&mut self) -> io::Result<()> {
        self.file.get_mut().flush()
    }

    /// The number of the interface of a frame, which is described when its first frame comes.
    fn interface(&mut self, row: &CaptureRow) -> io::Result<u32> {
        let dev = row.dev.as_ref().or(row.iface.as_ref());
        let vni = row.vni.filter(|_| row.dev.is_some());
        let key = (dev.cloned(), vni);
        if let Some(number) = self.interfaces.get(&key) {
            return Ok(*number);
        }
        let name = dev.map_or("vtep", String::as_str);
        let what = if row.dev.is_some() { "port" } else { "uplink" };
        let description = match vni {
            Some(vni) => format!("{what} {name}, VNI {vni}"),
            None => format!("{what} {name}"),
        };
        self.describe(key, name, description)
    }

    /// Describes an interface; returns its number.
    fn describe(
        &mut self,
        key: (Option<String>, Option<Vni>),
        name: &str,
        description: String,
    ) -> io::Result<u32> {
        let block = InterfaceDescriptionBlock {
            linktype: DataLink::ETHERNET,
            snaplen: SNAPLEN,
            options: vec![
                InterfaceDescriptionOption::IfName(name.into()),
                InterfaceDescriptionOption::IfDescription(description.into()),
                InterfaceDescriptionOption::IfTsResol(NANOSECONDS),
            ],
        };
        self.file.write_pcapng_block(block).map_err(failed)?;
        let number = u32::try_from(self.interfaces.len()).map_err(io::Error::other)?;
        self.interfaces.insert(key, number);
        Ok(number)
    }
}

/// The time of a row, as files have it; 1970 for one that cannot be read.
fn since_1970(time: &str) -> Duration {
    let time: Timestamp = time.parse().unwrap_or_default();
    Duration::from_nanos(u64::try_from(time.as_nanosecond()).unwrap_or_default())
}

fn failed(error: PcapError) -> io::Error {
    match error {
        PcapError::IoError(error) => error,
        error => io::Error::other(error),
    }
}

#[cfg(test)]
mod tests {
    use pcap_file::pcapng::{Block, PcapNgReader};
    use proptest::prelude::*;

    use super::*;

    fn row(dev: Option<&str>, vni: u32, len: usize) -> CaptureRow {
        CaptureRow {
            time: "2026-11-30T12:00:00.000000001Z".into(),
            hook: "uplink_xdp".into(),
            reason: "decapsulated".into(),
            direction: "rx".into(),
            iface: Some("up0".into()),
            dev: dev.map(str::to_owned),
            to_dev: None,
            vni: Vni::new(vni),
            peer: Some([192, 0, 2, 2].into()),
            len: u32::try_from(len).unwrap(),
            outer_unreadable: false,
            bytes: String::new(),
        }
    }

    /// What a reader finds: the interfaces by name and description, and the frames with the interface's number and the comment.
    type Found = (
        Vec<(String, String)>,
        Vec<(u32, Vec<u8>, u32, String, Duration)>,
    );

    fn read(file: &[u8]) -> Found {
        let mut reader = PcapNgReader::new(file).unwrap();
        let (mut interfaces, mut frames) = (vec![], vec![]);
        while let Some(block) = reader.next_block() {
            match block.unwrap() {
                Block::InterfaceDescription(block) => {
                    let (mut name, mut description) = (String::new(), String::new());
                    for option in block.options {
                        match option {
                            InterfaceDescriptionOption::IfName(text) => name = text.into(),
                            InterfaceDescriptionOption::IfDescription(text) => {
                                description = text.into();
                            }
                            InterfaceDescriptionOption::IfTsResol(resolution) => {
                                assert_eq!(resolution, NANOSECONDS);
                            }
                            other => panic!("{other:?}"),
                        }
                    }
                    assert_eq!(block.snaplen, SNAPLEN);
                    interfaces.push((name, description));
                }
                Block::EnhancedPacket(block) => {
                    let comment = block.options.iter().find_map(|option| match option {
                        EnhancedPacketOption::Comment(text) => Some(text.to_string()),
                        _ => None,
                    });
                    frames.push((
                        block.interface_id,
                        block.data.to_vec(),
                        block.original_len,
                        comment.unwrap(),
                        block.timestamp,
                    ));
                }
                other => panic!("{other:?}"),
            }
        }
        (interfaces, frames)
    }

    fn written(frames: &[(CaptureRow, Vec<u8>)]) -> Vec<u8> {
        let mut out = Vec::new();
        let mut file = CaptureFile::new(&mut out).unwrap();
        for (row, frame) in frames {
            file.write(row, frame).unwrap();
        }
        file.flush().unwrap();
        drop(file);
        out
    }

    #[test]
    fn an_empty_capture_is_a_file_all_the_same() {
        let (interfaces, frames) = read(&written(&[]));

        assert_eq!((interfaces.len(), frames), (1, vec![]));
    }

    #[test]
    fn each_port_in_each_vni_is_an_interface_and_vnis_that_are_nowhere_make_none() {
        let rows = [
            row(Some("vm1"), 100, 3),
            row(Some("vm1"), 101, 3),
            row(Some("vm1"), 100, 3),
            row(None, 100, 3),
            row(None, 999, 3),
        ];
        let frames = rows.map(|row| (row, vec![1, 2, 3]));

        let (interfaces, found) = read(&written(&frames));

        let names = [
            ("vm1", "port vm1, VNI 100"),
            ("vm1", "port vm1, VNI 101"),
            ("up0", "uplink up0"),
        ];
        let names = names.map(|(name, description)| (name.to_owned(), description.to_owned()));
        assert_eq!(interfaces[1..], names);
        let numbers: Vec<u32> = found.iter().map(|frame| frame.0).collect();
        assert_eq!(numbers, [1, 2, 1, 3, 3]);
    }

    #[test]
    fn a_frame_has_its_time_and_why_it_ended_where() {
        let frames = [(row(Some("vm1"), 100, 1500), vec![7; 60])];

        let (_, found) = read(&written(&frames));

        let (_, bytes, len, comment, time) = &found[0];
        assert_eq!((bytes.len(), *len), (60, 1500));
        assert_eq!(time.subsec_nanos(), 1);
        assert!(
            comment.starts_with("reason=decapsulated hook=uplink_xdp "),
            "{comment}"
        );
    }

    proptest! {
        #[test]
        fn whatever_is_written_is_read_again(
            frames in prop::collection::vec(
                (prop::option::of("[a-z]{1,15}"), 0_u32..4, prop::collection::vec(any::<u8>(), 0..300)),
                0..40,
            )
        ) {
            let frames: Vec<_> = frames
                .into_iter()
                .map(|(dev, vni, bytes)| (row(dev.as_deref(), vni, bytes.len()), bytes))
                .collect();

            let (interfaces, found) = read(&written(&frames));

            prop_assert_eq!(found.len(), frames.len());
            for ((number, bytes, ..), (row, frame)) in found.iter().zip(&frames) {
                prop_assert_eq!(bytes, frame);
                let (name, _) = &interfaces[*number as usize];
                prop_assert_eq!(name, row.dev.as_deref().unwrap_or("up0"));
            }
        }
    }
}
