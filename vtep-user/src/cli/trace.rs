//! `vtep trace`

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

use pcap_parser::traits::PcapReaderIterator;
use pcap_parser::{Block, Linktype, PcapBlockOwned, PcapError, create_reader};

use super::daemon::Daemon;
use super::failure::{Failure, block_on};
use super::output::Output;
use super::show;
use crate::model::endpoint::Cells;
use crate::model::settings::trace::TraceOptions;
use crate::model::{BadValue, FrameBytes, Query, TraceAt, TraceRow, TraceSpec};

/// Asks what would become of a frame, or of each of a capture, and prints it.
pub(super) fn run(
    dev: &str,
    options: TraceOptions,
    daemon: Daemon<'_>,
    output: Output,
) -> Result<(), Failure> {
    let TraceOptions { spec, pcap, .. } = options;
    let mut frames = match &pcap {
        None => Frames::One(Some(spec)),
        Some(file) => Frames::Many(CaptureReader::open(file).map_err(failed)?),
    };
    let mut printer = Printer {
        out: io::BufWriter::new(io::stdout().lock()),
        output,
        frames: 0,
    };
    let traced = block_on(async {
        let mut client = daemon.connect().await?;
        while let Some(spec) = frames.next().map_err(failed)? {
            let at = Box::new(TraceAt {
                dev: dev.to_owned(),
                spec,
            });
            printer.print(client.rows(Query::Trace(at)).await?)?;
        }
        Ok(())
    });
    // What was printed until then is whole, whatever has ended it.
    let ended = printer.end();
    traced?;
    Ok(ended?)
}

fn failed(error: CaptureError) -> Failure {
    Failure::Failed(error.into())
}

/// Prints the rows of each frame: a table of its own, or a part of the one array.
struct Printer<W> {
    out: W,
    output: Output,
    /// How many frames were printed.
    frames: u32,
}

impl<W: Write> Printer<W> {
    fn print(&mut self, mut rows: Vec<TraceRow>) -> io::Result<()> {
        let is_first = self.frames == 0;
        self.frames += 1;
        for row in &mut rows {
            row.frame = self.frames;
        }
        if self.output == Output::Json {
            for (at, row) in rows.iter().enumerate() {
                let before = if is_first && at == 0 { "[" } else { "," };
                self.out.write_all(before.as_bytes())?;
                serde_json::to_writer(&mut self.out, row)?;
            }
            return Ok(());
        }
        if !is_first {
            writeln!(self.out)?;
        }
        let text = show::lay_out(&Cells::of(&rows), self.output);
        self.out.write_all(text.as_bytes())
    }

    /// Ends the array, if it was begun.
    fn end(&mut self) -> io::Result<()> {
        if self.output == Output::Json && self.frames != 0 {
            writeln!(self.out, "]")?;
        }
        self.out.flush()
    }
}

/// The frames that are traced.
enum Frames {
    /// One that was typed.
    One(Option<TraceSpec>),
    /// Those of a capture.
    Many(CaptureReader),
}

impl Frames {
    fn next(&mut self) -> Result<Option<TraceSpec>, CaptureError> {
        match self {
            Self::One(spec) => Ok(spec.take()),
            Self::Many(capture) => Ok(capture.next()?.map(|frame| TraceSpec {
                frame: Some(frame),
                ..TraceSpec::default()
            })),
        }
    }
}

/// Why a capture cannot be read.
#[derive(Debug, thiserror::Error)]
enum CaptureError {
    #[error("cannot read {file}")]
    File {
        file: String,
        #[source]
        source: io::Error,
    },
    #[error(
        "{file} is no capture that can be read; give one as `tcpdump -w FILE` writes it, pcap or pcapng"
    )]
    Format { file: String },
    #[error("{file} has packets of link type {}, not Ethernet frames; capture on the port or the uplink itself", .linktype.0)]
    LinkType { file: String, linktype: Linktype },
    #[error(
        "frame {number} of {file} was cut when it was captured, {kept} of {len} bytes; capture whole frames with: tcpdump -s 0"
    )]
    Cut {
        file: String,
        number: usize,
        kept: usize,
        len: usize,
    },
    #[error("frame {number} of {file}: {source}")]
    Frame {
        file: String,
        number: usize,
        source: BadValue,
    },
    #[error("{file} has no frames")]
    Empty { file: String },
}

/// Bytes of a capture that are in memory at once: a packet of it fits.
const BUFFER: usize = 1 << 20;

/// Reads the frames of a capture, one after the other.
struct CaptureReader {
    file: String,
    blocks: Box<dyn PcapReaderIterator + Send>,
    /// The link types of its interfaces.
    links: Vec<Linktype>,
    /// How many frames were read.
    frames: usize,
}

impl CaptureReader {
    fn open(path: &Path) -> Result<Self, CaptureError> {
        let file = path.display().to_string();
        match File::open(path) {
            Ok(from) => Self::new(file, from),
            Err(source) => Err(CaptureError::File { file, source }),
        }
    }

    fn new(file: String, from: impl io::Read + Send + 'static) -> Result<Self, CaptureError> {
        match create_reader(BUFFER, from) {
            Ok(blocks) => Ok(Self {
                file,
                blocks,
                links: Vec::new(),
                frames: 0,
            }),
            Err(_) => Err(CaptureError::Format { file }),
        }
    }

    /// The next frame; `None` behind the last one.
    fn next(&mut self) -> Result<Option<FrameBytes>, CaptureError> {
        let file = &self.file;
        let format = || CaptureError::Format { file: file.clone() };
        loop {
            let (taken, block) = match self.blocks.next() {
                Ok(next) => next,
                Err(PcapError::Eof) if self.frames == 0 => {
                    return Err(CaptureError::Empty { file: file.clone() });
                }
                Err(PcapError::Eof) => return Ok(None),
                Err(PcapError::Incomplete(_)) => {
                    self.blocks.refill().map_err(|_| format())?;
                    continue;
                }
                Err(_) => return Err(format()),
            };
            let packet = packet(&block, &mut self.links);
            let frame = match packet {
                None => None,
                Some(packet) => {
                    self.frames += 1;
                    let links = &self.links;
                    Some(packet.frame(file, self.frames, links))
                }
            };
            self.blocks.consume(taken);
            if let Some(frame) = frame {
                return frame.map(Some);
            }
        }
    }
}

/// A packet of a capture.
struct Packet<'a> {
    /// The number of its interface.
    interface: u32,
    /// Bytes that were kept of it, and those that it had.
    kept: u32,
    len: u32,
    /// What was kept, and perhaps padding.
    data: &'a [u8],
}

/// The packet of a block, if it is one. What a block says of interfaces, `links` take on.
fn packet<'a>(block: &PcapBlockOwned<'a>, links: &mut Vec<Linktype>) -> Option<Packet<'a>> {
    match block {
        PcapBlockOwned::LegacyHeader(header) => *links = vec![header.network],
        PcapBlockOwned::NG(Block::SectionHeader(_)) => links.clear(),
        PcapBlockOwned::NG(Block::InterfaceDescription(interface)) => {
            links.push(interface.linktype);
        }
        PcapBlockOwned::Legacy(packet) => {
            return Some(Packet {
                interface: 0,
                kept: packet.caplen,
                len: packet.origlen,
                data: packet.data,
            });
        }
        PcapBlockOwned::NG(Block::EnhancedPacket(packet)) => {
            return Some(Packet {
                interface: packet.if_id,
                kept: packet.caplen,
                len: packet.origlen,
                data: packet.data,
            });
        }
        PcapBlockOwned::NG(Block::SimplePacket(packet)) => {
            let kept = packet.data.len().min(packet.origlen as usize);
            return Some(Packet {
                interface: 0,
                kept: u32::try_from(kept).unwrap_or(u32::MAX),
                len: packet.origlen,
                data: packet.data,
            });
        }
        PcapBlockOwned::NG(_) => {}
    }
    None
}

impl Packet<'_> {
    /// The frame with this number, if it is a whole Ethernet frame.
    fn frame(
        &self,
        file: &str,
        number: usize,
        links: &[Linktype],
    ) -> Result<FrameBytes, CaptureError> {
        let file = file.to_owned();
        let Some(&linktype) = links.get(self.interface as usize) else {
            return Err(CaptureError::Format { file });
        };
        if linktype != Linktype::ETHERNET {
            return Err(CaptureError::LinkType { file, linktype });
        }
        if self.kept < self.len {
            return Err(CaptureError::Cut {
                file,
                number,
                kept: self.kept as usize,
                len: self.len as usize,
            });
        }
        let Some(bytes) = self.data.get(..self.len as usize) else {
            return Err(CaptureError::Format { file });
        };
        FrameBytes::new(bytes.to_vec()).map_err(|source| CaptureError::Frame {
            file,
            number,
            source,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::model::TraceStep;

    /// A capture with a header of the old format and these packets, each with the length that it had.
    fn pcap(linktype: u32, packets: &[(&[u8], u32)]) -> Cursor<Vec<u8>> {
        let mut bytes = Vec::new();
        for word in [0xa1b2_c3d4, 0x0004_0002, 0, 0, 65_535, linktype] {
            bytes.extend(u32::to_le_bytes(word));
        }
        for (data, len) in packets {
            let kept = u32::try_from(data.len()).unwrap();
            for word in [0, 0, kept, *len] {
                bytes.extend(u32::to_le_bytes(word));
            }
            bytes.extend(*data);
        }
        Cursor::new(bytes)
    }

    /// One of the new format: a section, an interface of Ethernet, and a packet, padded to whole words.
    fn pcapng(data: &[u8]) -> Cursor<Vec<u8>> {
        let mut bytes = Vec::new();
        let mut block = |kind: u32, body: &[u8]| {
            let len = u32::try_from(12 + body.len()).unwrap();
            bytes.extend(kind.to_le_bytes());
            bytes.extend(len.to_le_bytes());
            bytes.extend(body);
            bytes.extend(len.to_le_bytes());
        };
        let mut section = Vec::from(0x1a2b_3c4d_u32.to_le_bytes());
        section.extend([1, 0, 0, 0]);
        section.extend([0xff; 8]);
        block(0x0a0d_0d0a, &section);
        block(1, &[1, 0, 0, 0, 0, 0, 4, 0]);
        let len = u32::try_from(data.len()).unwrap().to_le_bytes();
        let mut packet = [[0; 4], [0; 4], [0; 4], len, len].concat();
        packet.extend(data);
        packet.resize(packet.len().next_multiple_of(4), 0);
        block(6, &packet);
        Cursor::new(bytes)
    }

    fn read(capture: impl io::Read + Send + 'static) -> Result<Vec<Vec<u8>>, CaptureError> {
        let mut reader = CaptureReader::new("a.pcap".into(), capture)?;
        let mut frames = Vec::new();
        while let Some(frame) = reader.next()? {
            frames.push(frame.bytes().to_vec());
        }
        Ok(frames)
    }

    #[test]
    fn the_frames_of_a_capture_are_read_in_either_format() {
        let frame = (0..61).collect::<Vec<u8>>();
        let (one, other): (&[u8], &[u8]) = (&frame, &frame[..17]);

        let old = read(pcap(1, &[(one, 61), (other, 17)])).unwrap();
        assert_eq!(old, [one, other]);
        assert_eq!(read(pcapng(one)).unwrap(), [one]);
    }

    #[test]
    fn a_capture_that_has_no_whole_frames_is_refused_with_what_to_do() {
        let frame: &[u8] = &[0; 60];
        for (capture, says) in [
            (pcap(1, &[(frame, 1_500)]), "tcpdump -s 0"),
            (pcap(113, &[(frame, 60)]), "link type 113"),
            (pcap(1, &[]), "has no frames"),
            (Cursor::new(b"02000000000b".to_vec()), "is no capture"),
            (Cursor::new(Vec::new()), "is no capture"),
        ] {
            let refused = read(capture).unwrap_err().to_string();
            assert!(refused.contains(says), "{refused}");
        }
    }

    /// A capture that never ends, of which it is counted how much was read.
    struct Endless {
        packet: Vec<u8>,
        given: Arc<AtomicUsize>,
    }

    impl io::Read for Endless {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let before = self.given.fetch_add(buffer.len(), Ordering::Relaxed);
            for (at, byte) in (before..).zip(buffer.iter_mut()) {
                *byte = match at.checked_sub(24) {
                    Some(at) => self.packet[at % self.packet.len()],
                    None => pcap(1, &[]).get_ref()[at],
                };
            }
            Ok(buffer.len())
        }
    }

    #[test]
    fn of_a_capture_no_more_is_read_than_is_traced() {
        let given = Arc::new(AtomicUsize::new(0));
        let packet = pcap(1, &[(&[7; 60], 60)]).into_inner().split_off(24);
        let endless = Endless {
            packet,
            given: Arc::clone(&given),
        };
        let mut reader = CaptureReader::new("a.pcap".into(), endless).unwrap();

        for _ in 0..3 {
            let frame = reader.next().unwrap().unwrap();
            assert_eq!(frame.bytes(), [7; 60]);
        }

        let given = given.load(Ordering::Relaxed);
        assert!(given <= BUFFER, "{given} bytes were read");
    }

    fn row(text: &str) -> TraceRow {
        TraceRow {
            frame: 1,
            hook: "port".into(),
            step: TraceStep::Frame,
            text: text.into(),
            reason: None,
            vteps: vec![],
            ports: vec![],
            outer: None,
        }
    }

    #[test]
    fn the_frames_of_a_capture_are_one_array_however_many_are_traced() {
        let printed = |frames: &[&str]| {
            let mut printer = Printer {
                out: Vec::new(),
                output: Output::Json,
                frames: 0,
            };
            for text in frames {
                printer.print(vec![row(text), row("end")]).unwrap();
            }
            printer.end().unwrap();
            printer.out
        };

        assert_eq!(printed(&[]), b"");
        for frames in [&["a"][..], &["a", "b", "c"]] {
            let rows: Vec<TraceRow> = serde_json::from_slice(&printed(frames)).unwrap();
            let numbers: Vec<_> = rows.iter().map(|row| row.frame as usize).collect();
            let wanted: Vec<_> = (1..=frames.len()).flat_map(|n| [n, n]).collect();
            assert_eq!(numbers, wanted);
        }
    }
}
