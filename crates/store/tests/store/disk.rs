//! A disk in memory that does what disks do: it keeps what was synced, loses any part of what was not when the
//! power goes, is full, and fails.

use std::{io, ops::Range, sync::Arc};

use parking_lot::Mutex;
use rand::{RngExt, SeedableRng, rngs::StdRng};
use redb::StorageBackend;

/// What is written at once, whole or not at all.
const SECTOR: usize = 512;

/// A disk. Clones are the same one.
#[derive(Clone, Debug, Default)]
pub(crate) struct Disk(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    /// What survives.
    durable: Vec<u8>,
    /// What is read: with all that was written since.
    current: Vec<u8>,
    /// The pieces that were written since the last sync, in their order.
    pending: Vec<(usize, Vec<u8>)>,
    /// Counts for tests that look at what a disk is asked for.
    syncs: usize,
    bytes_read: usize,
    faults: Faults,
}

/// What goes wrong.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Faults {
    /// The disk takes no more than so many bytes.
    pub(crate) capacity: Option<usize>,
    /// Each write fails.
    pub(crate) writes: bool,
    /// Each sync fails. What was written until then is lost, though it can be read.
    pub(crate) syncs: bool,
    /// A sync says that it is done, and does nothing: as if it were not called.
    pub(crate) lies: bool,
}

impl Disk {
    pub(crate) fn set(&self, faults: Faults) {
        self.0.lock().faults = faults;
    }

    pub(crate) fn len(&self) -> usize {
        self.0.lock().current.len()
    }

    pub(crate) fn syncs(&self) -> usize {
        self.0.lock().syncs
    }

    pub(crate) fn bytes_read(&self) -> usize {
        self.0.lock().bytes_read
    }

    /// The disk as it is found after the power was cut now: of each sector that was written and not synced, the
    /// old or the new contents, as chance will have it.
    pub(crate) fn after_power_cut(&self, seed: u64) -> Self {
        let state = self.0.lock();
        let mut rng = StdRng::seed_from_u64(seed);
        // Sometimes all is lost, or nothing.
        let chance = [0.0, 0.1, 0.5, 0.9, 1.0][rng.random_range(0..5_usize)];
        let mut durable = state.durable.clone();
        for (offset, bytes) in &state.pending {
            for sector in sectors(*offset, bytes.len()) {
                if rng.random_bool(chance) {
                    let from = sector.start - offset..sector.end - offset;
                    write(&mut durable, sector.start, &bytes[from]);
                }
            }
        }
        let length = if rng.random_bool(0.5) { state.current.len() } else { durable.len() };
        durable.resize(length.max(state.durable.len()), 0);
        Self(Arc::new(Mutex::new(State { current: durable.clone(), durable, ..State::default() })))
    }

    /// What the system reads from the disk after it has given up its own memory of it.
    pub(crate) fn open(&self) -> io::Result<Self> {
        let mut state = self.0.lock();
        if state.faults.syncs {
            state.current = state.durable.clone();
            state.pending.clear();
        }
        drop(state);
        Ok(self.clone())
    }
}

impl State {
    fn check(&self, length: usize) -> io::Result<()> {
        if self.faults.writes {
            return Err(io::Error::other("the disk is broken"));
        }
        if self.faults.capacity.is_some_and(|capacity| length > capacity) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        Ok(())
    }
}

/// The parts of a range that are in one sector each.
fn sectors(offset: usize, length: usize) -> impl Iterator<Item = Range<usize>> {
    let end = offset + length;
    let first = offset / SECTOR;
    (first..end.div_ceil(SECTOR))
        .map(move |sector| (sector * SECTOR).max(offset)..((sector + 1) * SECTOR).min(end))
}

fn write(bytes: &mut Vec<u8>, offset: usize, data: &[u8]) {
    let end = offset + data.len();
    if bytes.len() < end {
        bytes.resize(end, 0);
    }
    bytes[offset..end].copy_from_slice(data);
}

fn position(offset: u64) -> usize {
    usize::try_from(offset).unwrap()
}

impl StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.lock().current.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let offset = position(offset);
        let mut state = self.0.lock();
        state.bytes_read += out.len();
        let found = state.current.get(offset..offset + out.len());
        out.copy_from_slice(found.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        let length = position(length);
        let mut state = self.0.lock();
        state.check(length)?;
        state.current.resize(length, 0);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut state = self.0.lock();
        state.syncs += 1;
        if state.faults.syncs {
            return Err(io::Error::other("the disk did not take it"));
        }
        if !state.faults.lies {
            state.pending.clear();
            state.durable = state.current.clone();
        }
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let offset = position(offset);
        let mut state = self.0.lock();
        state.check(offset + data.len())?;
        write(&mut state.current, offset, data);
        state.pending.push((offset, data.to_vec()));
        Ok(())
    }
}
