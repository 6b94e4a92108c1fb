//! `vtep trace`

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

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
    let specs = match pcap {
        None => vec![spec],
        Some(file) => frames_of(&file)?,
    };
    let mut out = io::BufWriter::new(io::stdout().lock());
    block_on(async {
        let mut client = daemon.connect().await?;
        for (number, spec) in (1..).zip(specs) {
            let at = Box::new(TraceAt {
                dev: dev.to_owned(),
                spec,
            });
            let mut rows: Vec<TraceRow> = client.rows(Query::Trace(at)).await?;
            for row in &mut rows {
                row.frame = number;
            }
            print(&mut out, number, &rows, output)?;
        }
        Ok::<_, Failure>(())
    })?;
    if output == Output::Json {
        writeln!(out, "]")?;
    }
    Ok(out.flush()?)
}

/// Prints the rows of a frame: a table of its own, or a part of the one array.
fn print(
    mut out: impl Write,
    number: u32,
    rows: &[TraceRow],
    output: Output,
) -> Result<(), io::Error> {
    if output == Output::Json {
        for (at, row) in rows.iter().enumerate() {
            let is_first = number == 1 && at == 0;
            write!(out, "{}", if is_first { '[' } else { ',' })?;
            serde_json::to_writer(&mut out, row)?;
        }
        return Ok(());
    }
    if number != 1 {
        writeln!(out)?;
    }
    write!(out, "{}", show::lay_out(&Cells::of(rows), output))
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

/// Bytes of a capture that are read at once: a packet of it fits.
const BUFFER: usize = 1 << 20;

/// The frames of a capture.
fn frames_of(path: &Path) -> Result<Vec<TraceSpec>, Failure> {
    let file = path.display().to_string();
    let frames = File::open(path)
        .map_err(|source| CaptureError::File {
            file: file.clone(),
            source,
        })
        .and_then(|from| read_frames(&file, from));
    frames.map_err(|error| Failure::Failed(error.into()))
}

fn read_frames(
    file: &str,
    from: impl io::Read + Send + 'static,
) -> Result<Vec<TraceSpec>, CaptureError> {
    let format = || CaptureError::Format {
        file: file.to_owned(),
    };
    let mut reader = create_reader(BUFFER, from).map_err(|_| format())?;
    let mut links = Vec::new();
    let mut frames = Vec::new();
    loop {
        let (taken, block) = match reader.next() {
            Ok(next) => next,
            Err(PcapError::Eof) => break,
            Err(PcapError::Incomplete(_)) => {
                reader.refill().map_err(|_| format())?;
                continue;
            }
            Err(_) => return Err(format()),
        };
        let packet = match &block {
            PcapBlockOwned::LegacyHeader(header) => {
                links = vec![header.network];
                None
            }
            PcapBlockOwned::NG(Block::SectionHeader(_)) => {
                links.clear();
                None
            }
            PcapBlockOwned::NG(Block::InterfaceDescription(interface)) => {
                links.push(interface.linktype);
                None
            }
            PcapBlockOwned::Legacy(packet) => Some((0, packet.caplen, packet.origlen, packet.data)),
            PcapBlockOwned::NG(Block::EnhancedPacket(packet)) => {
                Some((packet.if_id, packet.caplen, packet.origlen, packet.data))
            }
            PcapBlockOwned::NG(Block::SimplePacket(packet)) => {
                let len = packet.data.len().min(packet.origlen as usize);
                let len = u32::try_from(len).unwrap_or(u32::MAX);
                Some((0, len, packet.origlen, packet.data))
            }
            PcapBlockOwned::NG(_) => None,
        };
        if let Some((interface, kept, len, data)) = packet {
            let linktype = links.get(interface as usize).ok_or_else(format)?;
            if *linktype != Linktype::ETHERNET {
                return Err(CaptureError::LinkType {
                    file: file.to_owned(),
                    linktype: *linktype,
                });
            }
            let number = frames.len() + 1;
            if kept < len {
                return Err(CaptureError::Cut {
                    file: file.to_owned(),
                    number,
                    kept: kept as usize,
                    len: len as usize,
                });
            }
            // Behind the packet there can be padding.
            let bytes = data.get(..len as usize).ok_or_else(format)?;
            let frame = FrameBytes::new(bytes.to_vec());
            let frame = frame.map_err(|source| CaptureError::Frame {
                file: file.to_owned(),
                number,
                source,
            })?;
            frames.push(TraceSpec {
                frame: Some(frame),
                ..TraceSpec::default()
            });
        }
        reader.consume(taken);
    }
    if frames.is_empty() {
        return Err(CaptureError::Empty {
            file: file.to_owned(),
        });
    }
    Ok(frames)
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

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

    fn frames(capture: Cursor<Vec<u8>>) -> Vec<Vec<u8>> {
        let specs = read_frames("a.pcap", capture).unwrap();
        let bytes = specs
            .into_iter()
            .map(|spec| spec.frame.unwrap().bytes().to_vec());
        bytes.collect()
    }

    #[test]
    fn the_frames_of_a_capture_are_read_in_either_format() {
        let frame = (0..61).collect::<Vec<u8>>();
        let (one, other): (&[u8], &[u8]) = (&frame, &frame[..17]);

        assert_eq!(frames(pcap(1, &[(one, 61), (other, 17)])), [one, other]);
        assert_eq!(frames(pcapng(one)), [one]);
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
            let refused = read_frames("a.pcap", capture).unwrap_err().to_string();
            assert!(refused.contains(says), "{refused}");
        }
    }
}
