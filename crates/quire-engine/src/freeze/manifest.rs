//! The manifest of a copy: what every path was when it was last copied, so that one look at the folder tells what changed.
//!
//! It is read before each task, and a folder may hold hundreds of thousands of files; so it is one flat file, a block for
//! each directory, and a directory in which nothing changed is one comparison of bytes. Numbers are little-endian.
//!
//! ```text
//! file:  MAGIC, BLAKE3 of all that follows, number of the copy u64, mode of the folder u32, blocks by path
//! block: bytes of the path u16, path (empty for the folder itself), bytes of the entries u32, entries by name
//! entry: kind u8, mode u16, bytes u64, mtime i64, ctime i64, ino u64, dev u64 (of a directory kind and mode alone, else 0),
//!        bytes of the name u16, name
//! ```
//!
//! A file that is not exactly this is no manifest, and the folder is copied anew: what it says is what is not looked at.

use crate::rooted::{Kind, PATH_MAX, Print, replace_file};
use quire_core::{Hash, RelPath};
use std::io;
use std::ops::Range;
use std::path::Path;

const MAGIC: &[u8] = b"quire manifest 2\n";
/// Where the blocks begin.
const HEAD: usize = MAGIC.len() + 32 + 8 + 4;
const NAME: &str = "manifest";

/// What tells whether a path changed. Of a directory only kind and mode count, the rest is 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    pub kind: Kind,
    pub mode: u32,
    pub bytes: u64,
    pub mtime_ns: i64,
    /// 0 where it says nothing: the file changed too shortly before it was looked at.
    pub ctime_ns: i64,
    pub ino: u64,
    pub dev: u64,
}

impl Stamp {
    pub fn of(print: &Print) -> Stamp {
        let &Print { kind, mode, bytes, mtime_ns, ctime_ns, ino, dev, .. } = print;
        match kind {
            Kind::Dir => Stamp { kind, mode, bytes: 0, mtime_ns: 0, ctime_ns: 0, ino: 0, dev: 0 },
            _ => Stamp { kind, mode, bytes, mtime_ns, ctime_ns, ino, dev },
        }
    }
}

/// A manifest in memory, as it is on the disk.
pub struct Manifest {
    /// The copy that it is of.
    pub delta: u64,
    /// Permission bits of the folder itself.
    pub mode: u32,
    raw: Vec<u8>,
    /// In the order of their paths.
    blocks: Vec<Block>,
}

struct Block {
    path: Range<usize>,
    entries: Range<usize>,
}

impl Manifest {
    /// Reads the manifest in `dir`; `None` where there is none that is whole.
    pub fn read(dir: &Path) -> io::Result<Option<Manifest>> {
        match std::fs::read(dir.join(NAME)) {
            Ok(raw) => Ok(parse(raw)),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// Returns the entries of a directory, in the order of their names; `None` where it was none, or was ignored.
    pub fn entries(&self, dir: Option<&RelPath>) -> Option<&[u8]> {
        let dir = dir.map_or(b"".as_slice(), RelPath::as_bytes);
        let at = self.blocks.binary_search_by(|block| self.raw[block.path.clone()].cmp(dir)).ok()?;
        Some(&self.raw[self.blocks[at].entries.clone()])
    }

    /// Returns what a path was.
    pub fn find(&self, path: &RelPath) -> Option<Stamp> {
        let mut entries = entries(self.entries(path.parent().as_ref())?);
        entries.find(|(name, _)| *name == path.name()).map(|(_, stamp)| stamp)
    }

    /// Returns each directory with its entries.
    pub fn dirs(&self) -> impl Iterator<Item = (Option<RelPath>, &[u8])> {
        self.blocks
            .iter()
            .map(|block| (RelPath::new(&self.raw[block.path.clone()]), &self.raw[block.entries.clone()]))
    }

    /// Makes it the manifest in `dir`.
    pub fn write(&self, dir: &Path) -> io::Result<()> {
        replace_file(dir, NAME, &self.raw)
    }

    /// Returns it as that of another copy which shows the same.
    pub fn renamed(mut self, delta: u64) -> Manifest {
        self.delta = delta;
        self.raw[HEAD - 12..HEAD - 4].copy_from_slice(&delta.to_le_bytes());
        seal(&mut self.raw);
        self
    }
}

/// Iterates over entries as [`Manifest::entries`] returns them.
pub fn entries(raw: &[u8]) -> impl Iterator<Item = (&[u8], Stamp)> {
    let mut rest = Rest(raw);
    // What was made by `push_entry`, or checked, ends where its last entry does.
    std::iter::from_fn(move || rest.entry())
}

/// Appends an entry.
pub fn push_entry(to: &mut Vec<u8>, name: &[u8], stamp: &Stamp) {
    to.push(match stamp.kind {
        Kind::File => b'f',
        Kind::Dir => b'd',
        Kind::Link => b'l',
        Kind::Whiteout | Kind::Other => b'?', // never copied, so never here; reading refuses it
    });
    to.extend((stamp.mode as u16).to_le_bytes());
    to.extend(stamp.bytes.to_le_bytes());
    to.extend(stamp.mtime_ns.to_le_bytes());
    to.extend(stamp.ctime_ns.to_le_bytes());
    to.extend(stamp.ino.to_le_bytes());
    to.extend(stamp.dev.to_le_bytes());
    to.extend((name.len() as u16).to_le_bytes());
    to.extend(name);
}

/// A manifest that is being made.
pub struct Making {
    manifest: Manifest,
}

impl Making {
    pub fn new(delta: u64, mode: u32) -> Making {
        let mut raw = MAGIC.to_vec();
        raw.extend([0; 32]);
        raw.extend(delta.to_le_bytes());
        raw.extend(mode.to_le_bytes());
        Making { manifest: Manifest { delta, mode, raw, blocks: vec![] } }
    }

    /// Adds a directory. They come in the order of their paths, the folder itself first.
    pub fn dir(&mut self, path: Option<&RelPath>, entries: &[u8]) {
        let Manifest { raw, blocks, .. } = &mut self.manifest;
        let path = path.map_or(b"".as_slice(), RelPath::as_bytes);
        raw.extend((path.len() as u16).to_le_bytes());
        let path_at = raw.len();
        raw.extend(path);
        raw.extend((entries.len() as u32).to_le_bytes());
        let at = raw.len();
        raw.extend(entries);
        blocks.push(Block { path: path_at..path_at + path.len(), entries: at..raw.len() });
    }

    pub fn done(mut self) -> Manifest {
        seal(&mut self.manifest.raw);
        self.manifest
    }
}

fn seal(raw: &mut [u8]) {
    let (head, rest) = raw.split_at_mut(MAGIC.len() + 32);
    head[MAGIC.len()..].copy_from_slice(&Hash::of(rest).0);
}

fn parse(raw: Vec<u8>) -> Option<Manifest> {
    let mut rest = Rest(raw.strip_prefix(MAGIC)?);
    let sum: [u8; 32] = rest.array()?;
    if Hash::of(rest.0).0 != sum {
        return None;
    }
    let (delta, mode) = (rest.u64()?, u32::from_le_bytes(rest.array()?));
    let mut blocks: Vec<Block> = vec![];
    let mut last: Option<&[u8]> = None;
    while !rest.0.is_empty() {
        let length = rest.u16()?;
        let path_at = raw.len() - rest.0.len();
        let path = rest.take(length)?;
        let fine = path.is_empty() || RelPath::new(path).is_some();
        if !fine || length > PATH_MAX || last.map_or(!path.is_empty(), |last| last >= path) {
            return None;
        }
        last = Some(path);
        let length = u32::from_le_bytes(rest.array()?) as usize;
        let at = raw.len() - rest.0.len();
        check_entries(rest.take(length)?)?;
        blocks.push(Block { path: path_at..path_at + path.len(), entries: at..at + length });
    }
    (!blocks.is_empty()).then_some(Manifest { delta, mode, raw, blocks })
}

/// Returns something where these are entries, each after the last by name.
fn check_entries(raw: &[u8]) -> Option<()> {
    let mut rest = Rest(raw);
    let mut last: &[u8] = b"";
    while !rest.0.is_empty() {
        let (name, _) = rest.entry()?;
        if name <= last || name.iter().any(|b| matches!(b, b'/' | 0)) || name == b"." || name == b".." {
            return None;
        }
        last = name;
    }
    Some(())
}

/// What was not read yet.
struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*taken)
    }

    fn u16(&mut self) -> Option<usize> {
        Some(u16::from_le_bytes(self.array()?).into())
    }

    fn u64(&mut self) -> Option<u64> {
        Some(u64::from_le_bytes(self.array()?))
    }

    fn i64(&mut self) -> Option<i64> {
        Some(i64::from_le_bytes(self.array()?))
    }

    fn entry(&mut self) -> Option<(&'a [u8], Stamp)> {
        let kind = match self.array()? {
            [b'f'] => Kind::File,
            [b'd'] => Kind::Dir,
            [b'l'] => Kind::Link,
            _ => return None,
        };
        let mode = self.u16()? as u32;
        let (bytes, mtime_ns, ctime_ns) = (self.u64()?, self.i64()?, self.i64()?);
        let (ino, dev) = (self.u64()?, self.u64()?);
        let length = self.u16()?;
        let name = self.take(length)?;
        Some((name, Stamp { kind, mode, bytes, mtime_ns, ctime_ns, ino, dev }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stamp(kind: Kind, n: u64) -> Stamp {
        let file =
            Stamp { kind, mode: 0o644, bytes: n, mtime_ns: -1, ctime_ns: i64::MAX, ino: n << 40, dev: n };
        match kind {
            Kind::Dir => Stamp { bytes: 0, mtime_ns: 0, ctime_ns: 0, ino: 0, dev: 0, ..file },
            _ => file,
        }
    }

    type Named<'a> = &'a [(&'a [u8], Kind)];

    /// Directories and what is in them, as a manifest.
    fn manifest(dirs: &[(&str, Named<'_>)]) -> Manifest {
        let mut making = Making::new(7, 0o750);
        for (path, names) in dirs {
            let mut raw = vec![];
            for (n, (name, kind)) in names.iter().enumerate() {
                push_entry(&mut raw, name, &stamp(*kind, n as u64));
            }
            making.dir(RelPath::new(*path).as_ref(), &raw);
        }
        making.done()
    }

    fn sample() -> Manifest {
        manifest(&[
            ("", &[(b"a", Kind::File), (b"bad\xff\nname", Kind::Link), (b"d", Kind::Dir)]),
            ("d", &[(b"e", Kind::Dir)]),
            ("d/e", &[]),
        ])
    }

    #[test]
    fn what_was_written_is_read() {
        let dir = tempfile::tempdir().unwrap();
        assert!(Manifest::read(dir.path()).unwrap().is_none());
        sample().renamed(9).write(dir.path()).unwrap();
        let read = Manifest::read(dir.path()).unwrap().unwrap();
        assert_eq!((read.delta, read.mode), (9, 0o750));
        let top: Vec<_> = entries(read.entries(None).unwrap()).collect();
        let expect = [
            (b"a".as_slice(), stamp(Kind::File, 0)),
            (b"bad\xff\nname", stamp(Kind::Link, 1)),
            (b"d", stamp(Kind::Dir, 2)),
        ];
        assert_eq!(top, expect);
        let path = |path: &str| RelPath::new(path).unwrap();
        assert_eq!(read.find(&path("d/e")), Some(stamp(Kind::Dir, 0)));
        assert_eq!(read.entries(Some(&path("d/e"))), Some(b"".as_slice()));
        for absent in ["d/f", "x/y", "a/b"] {
            assert_eq!(read.find(&path(absent)), None, "{absent}");
        }
        let dirs: Vec<_> = read.dirs().map(|(dir, _)| dir.map(|dir| dir.to_string())).collect();
        assert_eq!(dirs, [None, Some("d".into()), Some("d/e".into())]);
    }

    #[test]
    fn what_is_torn_or_changed_is_no_manifest() {
        let whole = sample().raw;
        assert!(parse(whole.clone()).is_some());
        for length in 0..whole.len() {
            assert!(parse(whole[..length].to_vec()).is_none(), "of {length} bytes");
        }
        for at in 0..whole.len() {
            let mut other = whole.clone();
            other[at] ^= 1;
            assert!(parse(other).is_none(), "byte {at} changed");
        }
        assert!(parse([&whole[..], b"x"].concat()).is_none());
        assert!(parse(br#"{"delta":0,"top":{},"nodes":[]}"#.to_vec()).is_none());
    }

    /// Its sum says only that it is whole.
    #[test]
    fn what_cannot_be_is_no_manifest_whatever_its_sum() {
        let one = |name: &'static [u8]| manifest(&[("", &[(name, Kind::File)])]);
        let sealed = |mut raw: Vec<u8>| {
            seal(&mut raw);
            raw
        };
        let cut = |by: usize| {
            let raw = sample().raw;
            sealed(raw[..raw.len() - by].to_vec())
        };
        let long = "x/".repeat(2500) + "x";
        for (what, raw) in [
            ("no directory", manifest(&[]).raw),
            ("not the folder itself", manifest(&[("d", &[])]).raw),
            ("a directory twice", manifest(&[("", &[]), ("d", &[]), ("d", &[])]).raw),
            ("out of order", manifest(&[("", &[]), ("e", &[]), ("d", &[])]).raw),
            ("a name twice", manifest(&[("", &[(b"a", Kind::File), (b"a", Kind::Dir)])]).raw),
            ("names out of order", manifest(&[("", &[(b"b", Kind::File), (b"a", Kind::File)])]).raw),
            ("no name", one(b"").raw),
            ("a name that leads up", one(b"..").raw),
            ("a name that stays", one(b".").raw),
            ("a path for a name", one(b"a/b").raw),
            ("a name with NUL", one(b"a\0").raw),
            ("a device", manifest(&[("", &[(b"a", Kind::Other)])]).raw),
            ("a path that is too long", manifest(&[("", &[]), (&long, &[])]).raw),
            ("an end within a block", cut(1)),
            ("an end within a number", cut(3)),
        ] {
            assert!(parse(raw).is_none(), "{what}");
        }
        let mut up = manifest(&[("", &[]), ("aa", &[])]).raw;
        let at = up.windows(2).position(|two| two == b"aa").unwrap();
        up[at..at + 2].copy_from_slice(b"..");
        assert!(parse(sealed(up)).is_none(), "a path that leads up");
    }
}
