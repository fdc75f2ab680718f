//! Names for bytes: content by its hash, files by their path. Paths are bytes, because a folder may hold names that are
//! not UTF-8 and quire must carry them unharmed through JSON.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::fmt;

/// BLAKE3 hash of a blob's content; 64 lower-case hex digits in JSON.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Hash(pub [u8; 32]);

impl Hash {
    /// Returns the hash of `content`.
    pub fn of(content: &[u8]) -> Hash {
        Hash(*blake3::hash(content).as_bytes())
    }

    /// Returns the hash written as 64 hex digits, or `None` for anything else.
    pub fn parse(hex: &str) -> Option<Hash> {
        let hex = hex.as_bytes();
        if hex.len() != 64 {
            return None;
        }
        let digit = |c: u8| (c as char).to_digit(16).filter(|_| !c.is_ascii_uppercase());
        let mut out = [0; 32];
        for (byte, pair) in out.iter_mut().zip(hex.chunks(2)) {
            *byte = (digit(pair[0])? * 16 + digit(pair[1])?) as u8;
        }
        Some(Hash(out))
    }

    /// Returns the first 12 hex digits: enough for a person to tell versions apart.
    pub fn short(&self) -> String {
        self.to_string()[..12].to_owned()
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|b| write!(f, "{b:02x}"))
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.short())
    }
}

impl Serialize for Hash {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Hash {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Hash, D::Error> {
        let text = String::deserialize(d)?;
        Hash::parse(&text).ok_or_else(|| de::Error::custom("not a BLAKE3 hash in hex"))
    }
}

/// A path below a folder: components joined by `/`, none of them empty, `.` or `..`, and no NUL.
///
/// In JSON and on screen it is a string in which a backslash is `\\` and every byte that is not part of valid UTF-8, or
/// is a control character, is `\xNN`; so it survives any round trip and cannot move a terminal's cursor.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RelPath(Vec<u8>);

impl RelPath {
    /// Returns the path, or `None` where `raw` is absolute, empty, or holds `.`, `..`, an empty component or NUL.
    pub fn new(raw: impl Into<Vec<u8>>) -> Option<RelPath> {
        let raw = raw.into();
        let fine = !raw.contains(&0)
            && raw.split(|b| *b == b'/').all(|part| !part.is_empty() && part != b"." && part != b"..");
        fine.then_some(RelPath(raw))
    }

    /// Returns the bytes as the file system has them.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Returns the path of `name` within this directory.
    pub fn join(&self, name: &[u8]) -> Option<RelPath> {
        RelPath::new([&self.0, b"/".as_slice(), name].concat())
    }

    /// Returns the last component.
    pub fn name(&self) -> &[u8] {
        self.0.rsplit(|b| *b == b'/').next().unwrap_or(&self.0)
    }

    /// Returns the directory that holds this, or `None` at the folder's top.
    pub fn parent(&self) -> Option<RelPath> {
        let cut = self.0.iter().rposition(|b| *b == b'/')?;
        Some(RelPath(self.0[..cut].to_vec()))
    }

    /// Returns whether this is `dir` itself or lies below it.
    pub fn is_within(&self, dir: &RelPath) -> bool {
        self.0.strip_prefix(dir.as_bytes()).is_some_and(|rest| rest.is_empty() || rest[0] == b'/')
    }
}

/// Returns `raw` as text in which a backslash is `\\` and every byte that is a control character or no UTF-8 is `\xNN`.
pub fn escape(raw: &[u8]) -> String {
    let mut out = String::with_capacity(raw.len());
    for chunk in raw.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '\\' => out.push_str("\\\\"),
                c if c.is_control() => {
                    let mut raw = [0; 4];
                    c.encode_utf8(&mut raw).bytes().for_each(|byte| out.push_str(&format!("\\x{byte:02x}")));
                }
                c => out.push(c),
            }
        }
        for byte in chunk.invalid() {
            out.push_str(&format!("\\x{byte:02x}"));
        }
    }
    out
}

/// Returns the bytes that [`escape`] was given, or `None` where `text` holds an escape it never writes.
pub fn unescape(text: &str) -> Option<Vec<u8>> {
    let mut raw = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        if byte != b'\\' {
            raw.push(byte);
        } else if let Some(tail) = rest.strip_prefix(b"\\") {
            raw.push(b'\\');
            rest = tail;
        } else {
            let hex = rest.strip_prefix(b"x")?.get(..2)?;
            raw.push(u8::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok()?);
            rest = &rest[3..];
        }
    }
    Some(raw)
}

impl fmt::Display for RelPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&escape(&self.0))
    }
}

impl fmt::Debug for RelPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl Serialize for RelPath {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for RelPath {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<RelPath, D::Error> {
        let text = String::deserialize(d)?;
        unescape(&text).and_then(RelPath::new).ok_or_else(|| de::Error::custom("not a path below a folder"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn paths_that_leave_the_folder_are_no_paths() {
        for raw in ["", "/", "/etc", "a//b", "a/", "./a", "a/../b", "..", "a\0b"] {
            assert_eq!(RelPath::new(raw), None, "{raw:?}");
        }
    }

    #[test]
    fn no_control_character_is_shown_as_it_is_and_each_comes_back() {
        let rows = [
            ("a\x1b[", "a\\x1b["),
            ("a\u{9b}31m", "a\\xc2\\x9b31m"),
            ("ä\u{85}", "ä\\xc2\\x85"),
            ("\\", "\\\\"),
        ];
        for (raw, shown) in rows {
            assert_eq!(escape(raw.as_bytes()), shown);
            assert_eq!(unescape(shown).as_deref(), Some(raw.as_bytes()));
        }
    }

    #[test]
    fn within_is_by_component() {
        let p = |s: &str| RelPath::new(s).unwrap();
        assert!(p("a/b").is_within(&p("a")) && p("a").is_within(&p("a")));
        assert!(!p("ab").is_within(&p("a")));
    }

    proptest! {
        #[test]
        fn any_name_survives_json(parts in prop::collection::vec(prop::collection::vec(1u8.., 1..9), 1..4)) {
            if let Some(path) = RelPath::new(parts.join(&b'/')) {
                let json = serde_json::to_string(&path).unwrap();
                prop_assert_eq!(serde_json::from_str::<RelPath>(&json).unwrap(), path);
            }
        }

        #[test]
        fn hashes_survive_json(content: Vec<u8>) {
            let hash = Hash::of(&content);
            prop_assert_eq!(Hash::parse(&hash.to_string()), Some(hash));
        }
    }
}
