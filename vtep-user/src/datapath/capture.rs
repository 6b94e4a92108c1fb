//! Programs that hand over frames at their end, in the place of those that only forward (ADR 22).
//!
//! They are an object of their own, which has the same programs, built to capture, over the same maps. A capture has every link run its
//! capturing program, and gives the links back at its end. What is attached in between is found by looking again.

use std::{
    ffi::CString,
    fs, io,
    net::IpAddr,
    os::fd::{AsFd as _, BorrowedFd, OwnedFd},
    path::{Path, PathBuf},
};

use aya::{
    Ebpf, EbpfLoader, include_bytes_aligned,
    maps::{Array, IterableMap as _, Map, MapData, MapError, ProgramArray, RingBuf},
    programs::{Program, ProgramError, ProgramFd, SchedClassifier, Xdp},
};
use tokio::io::unix::AsyncFd;
use vtep_common::abi::{
    capture::{CaptureCount, CaptureOrder, Captured},
    id::{Ifindex, PeerId, PortSlot, SegmentId},
    map::name,
    peer::Peer,
    port::PortName,
    segment::Segment,
    tail_call::TailCall,
};

use super::{
    Datapath, XDP_PROGRAMS, attached, bpf,
    error::DatapathError,
    event_ring::{ready, records},
    link, pins, tc_programs,
};

/// The compiled programs that capture.
static OBJECT: &[u8] = include_bytes_aligned!(env!("VTEP_EBPF_CAPTURE_OBJECT"));

/// Maps that are not pinned, since each daemon's programs have their own: those of a capture share them.
const SHARED: [&str; 3] = [name::CLOCK, name::UPLINKS, name::TOO_BIG];

/// What captures of an instance start from.
pub struct CaptureGround {
    dir: PathBuf,
    shared: Vec<(&'static str, OwnedFd)>,
}

impl Datapath {
    /// What captures start from.
    pub fn capture_ground(&self) -> Result<CaptureGround, DatapathError> {
        let failed =
            |name| move |source| DatapathError::map("open", name, MapError::IoError(source));
        let clock = match self.ebpf.map(name::CLOCK) {
            Some(Map::Array(clock)) => clock.fd().as_fd().try_clone_to_owned(),
            _ => return Err(DatapathError::Missing(name::CLOCK)),
        };
        let uplinks = self.maps.uplinks.map().fd().as_fd().try_clone_to_owned();
        let too_big = self.maps.too_big.as_fd().try_clone_to_owned();
        let mut shared = Vec::new();
        for (name, fd) in SHARED.into_iter().zip([clock, uplinks, too_big]) {
            shared.push((name, fd.map_err(failed(name))?));
        }
        Ok(CaptureGround {
            dir: self.dir.clone(),
            shared,
        })
    }
}

/// The programs of one capture.
pub struct Recorder {
    dir: PathBuf,
    ebpf: Ebpf,
    ring: RingBuf<MapData>,
    order: Array<MapData, CaptureOrder>,
    counts: Array<MapData, u64>,
    parts: ProgramArray<MapData>,
    segments: Array<MapData, Segment>,
    port_names: Array<MapData, PortName>,
    peers: Array<MapData, Peer>,
}

impl CaptureGround {
    /// Loads the programs that capture. None runs yet.
    pub fn load(&self) -> Result<Recorder, DatapathError> {
        let place = pins::capture_dir(&self.dir);
        clear(&self.dir)?;
        fs::create_dir(&place)
            .map_err(|source| DatapathError::file("make the directory", &place, source))?;
        let loaded = self.load_over(&place);
        clear(&self.dir)?;
        let mut ebpf = loaded?;
        let mut recorder = Recorder {
            ring: take(&mut ebpf, name::CAPTURED)?,
            order: take(&mut ebpf, name::CAPTURE_ORDER)?,
            counts: take(&mut ebpf, name::CAPTURE_COUNTS)?,
            parts: take(&mut ebpf, name::PARTS)?,
            segments: take(&mut ebpf, name::SEGMENTS)?,
            port_names: take(&mut ebpf, name::PORT_NAMES)?,
            peers: take(&mut ebpf, name::PEERS)?,
            ebpf,
            dir: self.dir.clone(),
        };
        for program in tc_programs() {
            let loaded = recorder.tc(program)?.load();
            loaded.map_err(|source| DatapathError::program("load", program, source))?;
        }
        for program in XDP_PROGRAMS {
            let xdp: &mut Xdp = recorder.program(program)?;
            let loaded = xdp.load();
            loaded.map_err(|source| DatapathError::program("load", program, source))?;
        }
        recorder.ask(CaptureOrder::NOTHING)?;
        Ok(recorder)
    }

    /// Loads the object over the maps that are pinned, and those that are pinned at `place` for the while.
    fn load_over(&self, place: &Path) -> Result<Ebpf, DatapathError> {
        let mut loader = EbpfLoader::new();
        loader.default_map_pin_directory(&self.dir);
        for (name, map) in &self.shared {
            let path = place.join(name);
            bpf::pin(map, &path).map_err(|source| DatapathError::file("pin", &path, source))?;
            loader.map_pin_path(name, path);
        }
        loader.load(OBJECT).map_err(DatapathError::load)
    }
}

/// Removes the pins of a load: of one that has just been made, or of a daemon that was killed meanwhile.
pub(super) fn clear(dir: &Path) -> Result<(), DatapathError> {
    let place = pins::capture_dir(dir);
    match fs::remove_dir_all(&place) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(DatapathError::file("remove", &place, error))
        }
        _ => Ok(()),
    }
}

/// Takes a map out of the object as the type that it is.
fn take<T>(ebpf: &mut Ebpf, name: &'static str) -> Result<T, DatapathError>
where
    T: TryFrom<Map, Error = MapError>,
{
    let map = ebpf.take_map(name).ok_or(DatapathError::Missing(name))?;
    T::try_from(map).map_err(|source| DatapathError::map("open", name, source))
}

impl Recorder {
    fn program<'a, P>(&'a mut self, name: &'static str) -> Result<P, DatapathError>
    where
        P: TryFrom<&'a mut Program, Error = ProgramError>,
    {
        let program = self.ebpf.program_mut(name);
        let program = program.ok_or(DatapathError::Missing(name))?;
        P::try_from(program).map_err(|source| DatapathError::program("open", name, source))
    }

    fn tc(&mut self, name: &'static str) -> Result<&mut SchedClassifier, DatapathError> {
        self.program(name)
    }

    fn fd(&mut self, name: &'static str) -> Result<ProgramFd, DatapathError> {
        let program = self.ebpf.program(name);
        let program = program.ok_or(DatapathError::Missing(name))?;
        let fd = program.fd().and_then(|fd| Ok(fd.try_clone()?));
        fd.map_err(|source| DatapathError::program("open", name, source))
    }

    /// Says which frames are wanted from now on.
    pub fn ask(&mut self, order: CaptureOrder) -> Result<(), DatapathError> {
        let written = self.order.set(0, order, 0);
        written.map_err(|source| DatapathError::map("write", name::CAPTURE_ORDER, source))
    }

    /// How many frames were counted so.
    pub fn counted(&self, what: CaptureCount) -> Result<u64, DatapathError> {
        let counted = self.counts.get(&(what as u32), 0);
        counted.map_err(|source| DatapathError::map("read", name::CAPTURE_COUNTS, source))
    }

    /// Has every link, filter and tail call run its capturing program.
    pub fn put_in(&mut self) -> Result<(), DatapathError> {
        for (stage, name) in TailCall::ALL {
            let program = self.fd(name)?;
            let set = self.parts.set(stage as u32, &program, 0);
            set.map_err(|source| DatapathError::map("write", name::PARTS, source))?;
        }
        self.put_in_links()
    }

    /// Has those links and filters run their capturing programs that run others: those that have come since.
    pub fn put_in_links(&mut self) -> Result<(), DatapathError> {
        self.each_link(|recorder, path, name, ifindex| {
            let program = recorder.fd(name)?;
            if runs(path, program.as_fd()) {
                return Ok(());
            }
            if hangs_on_link(name) {
                return turned(link::update_to(path, program.as_fd()), path);
            }
            let Some(device) = attached::name_of(ifindex) else {
                return Ok(());
            };
            let dir = recorder.dir.clone();
            attached::attach_tc(&dir, recorder.tc(name)?, name, (&device, ifindex))
        })
    }

    /// Gives every link, filter and tail call back the program that it had. What fails for one does not keep others from it; and where everything
    /// has been removed meanwhile, there is nothing to do.
    pub fn take_out(&mut self) -> Result<(), DatapathError> {
        if !pins::programs_dir(&self.dir).exists() {
            return Ok(());
        }
        let pin = |dir: &Path, name: &str| pins::programs_dir(dir).join(name);
        let opened = |dir: &Path, name: &'static str| {
            SchedClassifier::from_pin(pin(dir, name))
                .map_err(|source| DatapathError::program("open", name, source))
        };
        let mut given_back = self.each_link(|recorder, path, name, ifindex| {
            if hangs_on_link(name) {
                return turned(link::update(path, &pin(&recorder.dir, name)), path);
            }
            let Some(device) = attached::name_of(ifindex) else {
                return Ok(());
            };
            let mut program = opened(&recorder.dir, name)?;
            attached::attach_tc(&recorder.dir, &mut program, name, (&device, ifindex))
        });
        for (stage, name) in TailCall::ALL {
            let set = opened(&self.dir, name).and_then(|program| {
                let program = program
                    .fd()
                    .map_err(|source| DatapathError::program("open", name, source))?;
                let set = self.parts.set(stage as u32, program, 0);
                set.map_err(|source| DatapathError::map("write", name::PARTS, source))
            });
            given_back = given_back.and(set);
        }
        given_back
    }

    /// Does something for each interface that a program is attached to. What fails for one does not keep others from it.
    fn each_link(
        &mut self,
        mut act: impl FnMut(&mut Self, &Path, &'static str, Ifindex) -> Result<(), DatapathError>,
    ) -> Result<(), DatapathError> {
        let mut end = Ok(());
        for entry in pins::entries(&pins::links_dir(&self.dir))? {
            let path = match entry {
                Ok(entry) => entry.path(),
                Err(source) => return Err(DatapathError::file("read", &self.dir, source)),
            };
            let file_name = path.file_name().and_then(|name| name.to_str());
            let Some((program, ifindex)) = file_name.and_then(attached::parts) else {
                continue;
            };
            let mut known = super::programs();
            let Some(name) = known.find(|name| *name == program) else {
                continue;
            };
            end = end.and(act(self, &path, name, ifindex));
        }
        end
    }

    /// Takes frames that wait, the oldest first and `most` of them at most.
    pub fn frames(&mut self, most: usize) -> Vec<Captured> {
        records(&mut self.ring, most)
    }

    /// Something to wait at until frames wait. Must be called within a tokio runtime.
    pub fn ready(&self) -> Result<AsyncFd<OwnedFd>, DatapathError> {
        ready(&self.ring, Path::new(name::CAPTURED))
    }

    /// The VNI of a segment that is in use.
    #[must_use]
    pub fn vni(&self, segment: SegmentId) -> Option<u32> {
        let segment = self.segments.get(&segment.get(), 0).ok()?;
        segment.has(Segment::IN_USE).then_some(segment.vni)
    }

    /// The interface of a port.
    #[must_use]
    pub fn port(&self, slot: PortSlot) -> Option<String> {
        let name = self.port_names.get(&slot.get(), 0).ok()?;
        (!name.is_none()).then(|| name.as_str().to_owned())
    }

    /// The address of a peer.
    #[must_use]
    pub fn peer(&self, peer: PeerId) -> Option<IpAddr> {
        let peer = self.peers.get(&peer.get(), 0).ok()?;
        peer.has(Peer::IN_USE).then(|| peer.addr.into())
    }

    /// The number of an interface; none where there is none of that name.
    #[must_use]
    pub fn index_of(name: &str) -> Option<Ifindex> {
        let name = CString::new(name).ok()?;
        // SAFETY: the name ends in a zero byte.
        let ifindex = unsafe { libc::if_nametoindex(name.as_ptr()) };
        (ifindex != 0).then(|| Ifindex::new(ifindex))
    }

    /// The name of an interface.
    #[must_use]
    pub fn interface(ifindex: Ifindex) -> Option<String> {
        attached::name_of(ifindex)
    }
}

/// Whether the link, or the filter, that is pinned at `path` runs this program. One that cannot be looked at does not.
fn runs(path: &Path, program: BorrowedFd<'_>) -> bool {
    let number = |fd: BorrowedFd<'_>| fd.try_clone_to_owned().and_then(|fd| bpf::program(&fd));
    let found = bpf::open(path).and_then(|found| bpf::program(&found));
    matches!((found, number(program)), (Ok(found), Ok(own)) if found == own)
}

/// Whether a program hangs on links here. TC has none before tcx.
fn hangs_on_link(name: &str) -> bool {
    name.starts_with("xdp") || attached::has_tcx()
}

/// Whether a link runs another program by now. One whose interface is gone, or that is gone itself, runs none.
fn turned(updated: io::Result<()>, path: &Path) -> Result<(), DatapathError> {
    match updated {
        Err(error)
            if matches!(
                error.raw_os_error(),
                Some(libc::ENOLINK | libc::ENODEV | libc::ENOENT)
            ) =>
        {
            tracing::debug!(path = %path.display(), %error, "not replaced");
            Ok(())
        }
        updated => {
            updated.map_err(|source| DatapathError::file("replace the program of", path, source))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_programs_of_a_capture_hand_over_frames() {
        let has = |object: &[u8], name: &str| {
            let mut windows = object.windows(name.len());
            windows.any(|window| window == name.as_bytes())
        };

        for name in ["capture_skb", "capture_xdp"] {
            assert!(has(OBJECT, name), "{name}");
            assert!(!has(super::super::OBJECT, name), "{name}");
        }
    }
}
