//! Sparse files: of what was never written in one nothing is read from the disk, and nothing is written on the other side.

use rustix::fs::SeekFrom;
use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{FileExt, MetadataExt};

/// Zeros of this length at least become a hole, in bytes.
const RUN: usize = 32 << 10;
static ZEROS: [u8; RUN] = [0; RUN];
/// What a file's blocks are counted in, in bytes (stat(2)).
const BLOCK: u64 = 512;
/// Copied at a time, in bytes.
const PART: usize = 256 << 10;

/// Where in a file data and holes lie, as far as was asked. Holes are zeros that no disk is asked for.
#[derive(Debug, Default)]
pub struct Map {
    /// What lies before this is data.
    data: u64,
    /// What lies before this, and is no data, is a hole.
    hole: u64,
}

impl Map {
    /// Reads what lies at `at`, as `read_at` does. From one call to the next that may only grow.
    pub fn read(&mut self, file: &File, at: u64, into: &mut [u8]) -> io::Result<usize> {
        if at >= self.data && at >= self.hole && !self.look(file, at)? {
            return Ok(0);
        }
        let left = |end: u64| usize::try_from(end - at).unwrap_or(usize::MAX).min(into.len());
        if at < self.data {
            let most = left(self.data);
            return file.read_at(&mut into[..most], at);
        }
        let most = left(self.hole);
        into[..most].fill(0);
        Ok(most)
    }

    /// Finds out what begins here. Returns false at the end.
    fn look(&mut self, file: &File, at: u64) -> io::Result<bool> {
        // Most files have no holes, and to ask where they are takes longer than to read a small one.
        if self.data == 0 && self.hole == 0 {
            let stat = file.metadata()?;
            if stat.blocks() * BLOCK >= stat.len() {
                self.data = u64::MAX;
                return Ok(at < stat.len());
            }
        }
        match rustix::fs::seek(file, SeekFrom::Data(at)) {
            Ok(data) if data > at => self.hole = data,
            Ok(_) => self.data = rustix::fs::seek(file, SeekFrom::Hole(at))?.max(at + 1),
            // No data any more; what is left is a hole.
            Err(rustix::io::Errno::NXIO) => self.hole = file.metadata()?.len(),
            // Neither holes nor data are told of.
            Err(_) => self.data = u64::MAX,
        }
        Ok(at < self.hole.max(self.data))
    }
}

/// Reads a whole file from its beginning, whatever its position.
pub struct Sparse<'f> {
    file: &'f File,
    at: u64,
    map: Map,
}

impl Sparse<'_> {
    pub fn new(file: &File) -> Sparse<'_> {
        Sparse { file, at: 0, map: Map::default() }
    }
}

impl Read for Sparse<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let got = self.map.read(self.file, self.at, into)?;
        self.at += got as u64;
        Ok(got)
    }
}

/// Writes at the file's position; long runs of zeros are passed over. Where the file ended before, its length is right only
/// after it was set ([`File::set_len`]).
pub fn write(file: &mut File, bytes: &[u8]) -> io::Result<()> {
    let is_hole = |part: &[u8]| part.len() == RUN && part == ZEROS;
    let mut parts = bytes.chunks(RUN).peekable();
    let mut at = 0;
    while let Some(first) = parts.next() {
        let hole = is_hole(first);
        let mut end = at + first.len();
        while let Some(next) = parts.next_if(|next| is_hole(next) == hole) {
            end += next.len();
        }
        if hole {
            file.seek(io::SeekFrom::Current((end - at) as i64))?;
        } else {
            file.write_all(&bytes[at..end])?;
        }
        at = end;
    }
    Ok(())
}

/// Writes all that `from` gives into a new file.
pub fn copy(mut from: impl Read, to: &mut File) -> io::Result<()> {
    let mut buffer = Vec::with_capacity(PART);
    let mut bytes = 0;
    loop {
        buffer.clear();
        let got = from.by_ref().take(PART as u64).read_to_end(&mut buffer)?;
        write(to, &buffer)?;
        bytes += got as u64;
        if got < PART {
            return to.set_len(bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holes_stay_holes_and_every_byte_stays_itself() {
        let dir = tempfile::tempdir_in("/var/tmp").unwrap();
        let (mib, kib) = (1u64 << 20, 1u64 << 10);
        // Where data lie, and the whole length.
        let rows: [(&[(u64, usize)], u64); 7] = [
            (&[], 0),
            (&[(0, 5)], 5),
            (&[], 3 * mib),
            (&[(0, 10), (2 * mib + 7, 100_000)], 8 * mib),
            (&[(5 * mib, 1)], 5 * mib + 1),
            (&[(32 * kib - 1, 2), (300 * kib, 5)], mib + 1),
            (&[(0, 700_000)], 700_000),
        ];
        for (number, (data, length)) in rows.into_iter().enumerate() {
            let path = dir.path().join(number.to_string());
            let file = File::options().create_new(true).read(true).write(true).open(&path).unwrap();
            data.iter().for_each(|(at, bytes)| file.write_all_at(&vec![7; *bytes], *at).unwrap());
            file.set_len(length).unwrap();
            let mut read = vec![];
            Sparse::new(&file).read_to_end(&mut read).unwrap();
            assert!(read == std::fs::read(&path).unwrap(), "{number}");
            let made = dir.path().join(format!("{number}-made"));
            copy(Sparse::new(&file), &mut File::create(&made).unwrap()).unwrap();
            assert!(read == std::fs::read(&made).unwrap(), "{number}");
            let most = data.iter().map(|(_, bytes)| *bytes as u64 + 4 * RUN as u64).sum::<u64>();
            assert!(made.metadata().unwrap().blocks() * BLOCK <= most, "{number}");
        }
    }
}
