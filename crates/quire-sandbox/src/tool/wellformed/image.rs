//! Whether a picture is one, as far as its form tells: its parts lie as its kind has them, none is cut short, and it has a size.
//! What it shows is for eyes.

/// Endings of the pictures that are looked at.
pub(super) const KINDS: &[&str] = &["png", "jpg", "jpeg", "gif", "webp"];

const SHORT: &str = "it is cut short";

/// Returns what is wrong with a picture whose name has this ending.
pub(super) fn problem(ending: &str, content: &[u8]) -> Result<(), String> {
    // The picture is elsewhere, and this is what git keeps in its place.
    if content.starts_with(b"version https://git-lfs.github.com/spec/") {
        return Ok(());
    }
    let named = if ending == "jpg" { "jpeg" } else { ending };
    let kind = kind_of(content).ok_or_else(|| format!("it is no {}", named.to_uppercase()))?;
    if kind != named {
        return Err(format!("it is a {}, and is called {ending}", kind.to_uppercase()));
    }
    match kind {
        "png" => png(content),
        "jpeg" => jpeg(content),
        "gif" => gif(content),
        _ => webp(content),
    }
    .ok_or_else(|| SHORT.to_owned())?
    .map_err(str::to_owned)
}

fn kind_of(content: &[u8]) -> Option<&'static str> {
    let begins = |with: &[u8]| content.starts_with(with);
    match () {
        () if begins(b"\x89PNG\r\n\x1a\n") => Some("png"),
        () if begins(b"\xff\xd8\xff") => Some("jpeg"),
        () if begins(b"GIF87a") || begins(b"GIF89a") => Some("gif"),
        () if begins(b"RIFF") && content.get(8..12) == Some(b"WEBP") => Some("webp"),
        () => None,
    }
}

/// What a look comes to: nothing where the picture is cut short, else whether something is wrong with it.
type Looked = Option<Result<(), &'static str>>;

/// Where one is in a picture.
struct At<'a>(&'a [u8]);

impl<'a> At<'a> {
    fn take(&mut self, bytes: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(bytes)?;
        self.0 = rest;
        Some(taken)
    }

    fn byte(&mut self) -> Option<u8> {
        Some(self.take(1)?[0])
    }

    /// Two bytes, the higher first.
    fn pair(&mut self) -> Option<usize> {
        let two = self.take(2)?;
        Some(usize::from(two[0]) << 8 | usize::from(two[1]))
    }
}

fn four(bytes: &[u8]) -> Option<[u8; 4]> {
    bytes.try_into().ok()
}

fn sized(width: usize, height: usize) -> Result<(), &'static str> {
    if width == 0 || height == 0 { Err("it has no size") } else { Ok(()) }
}

/// Chunks, each with its sum.
fn png(content: &[u8]) -> Looked {
    let (mut at, mut first, mut has_data) = (At(&content[8..]), true, false);
    loop {
        let length = u32::from_be_bytes(four(at.take(4)?)?) as usize;
        let summed = at.0.get(..length.checked_add(4)?)?;
        let (name, data) = (at.take(4)?, at.take(length)?);
        if u32::from_be_bytes(four(at.take(4)?)?) != crc32fast::hash(summed) {
            return Some(Err("a part of it is not what its sum says"));
        }
        if first {
            if name != b"IHDR" || length != 13 {
                return Some(Err("it does not begin with its size"));
            }
            let number = |range| four(&data[range]).map(|four| u32::from_be_bytes(four) as usize);
            if let Err(none) = sized(number(0..4)?, number(4..8)?) {
                return Some(Err(none));
            }
        }
        (first, has_data) = (false, has_data || name == b"IDAT");
        if name == b"IEND" {
            return Some(if has_data { Ok(()) } else { Err("there is no picture in it") });
        }
    }
}

/// Segments, then what is coded, up to a mark that ends it.
fn jpeg(content: &[u8]) -> Looked {
    let (mut at, mut size) = (At(&content[2..]), None);
    loop {
        if at.byte()? != 0xff {
            return Some(Err("its parts do not follow each other"));
        }
        let mut mark = at.byte()?;
        while mark == 0xff {
            mark = at.byte()?;
        }
        match mark {
            0xd9 => return Some(size.unwrap_or(Err("there is no picture in it"))),
            0x01 | 0xd0..=0xd7 => continue,
            _ => {}
        }
        let length = at.pair()?.checked_sub(2)?;
        let mut data = At(at.take(length)?);
        // The beginnings of a frame, of which none has these numbers.
        if (0xc0..=0xcf).contains(&mark) && ![0xc4, 0xc8, 0xcc].contains(&mark) {
            data.byte()?;
            let (height, width) = (data.pair()?, data.pair()?);
            // A height of none may be told later.
            size = Some(sized(width, height.max(1)));
        }
        if mark == 0xda {
            // In what is coded, a mark's first byte is followed by none or a restart.
            let is_mark = |two: &[u8]| two[0] == 0xff && !matches!(two[1], 0 | 0xff | 0xd0..=0xd7);
            let next = at.0.windows(2).position(is_mark)?;
            at.take(next)?;
        }
    }
}

/// Blocks of blocks.
fn gif(content: &[u8]) -> Looked {
    fn blocks(at: &mut At<'_>) -> Option<()> {
        loop {
            match at.byte()? {
                0 => return Some(()),
                length => drop(at.take(usize::from(length))?),
            }
        }
    }
    fn colours(at: &mut At<'_>, flags: u8) -> Option<()> {
        if flags & 0x80 != 0 {
            at.take(3 << ((flags & 7) + 1))?;
        }
        Some(())
    }
    let mut at = At(&content[6..]);
    let screen = at.take(7)?;
    colours(&mut at, screen[4])?;
    let mut pictures = 0;
    loop {
        match at.byte()? {
            0x21 => {
                at.byte()?;
                blocks(&mut at)?;
            }
            0x2c => {
                let picture = at.take(9)?;
                colours(&mut at, picture[8])?;
                at.byte()?;
                blocks(&mut at)?;
                pictures += 1;
            }
            0x3b => return Some(if pictures > 0 { Ok(()) } else { Err("there is no picture in it") }),
            _ => return Some(Err("its parts do not follow each other")),
        }
    }
}

/// Chunks within one that says how long all of them are.
fn webp(content: &[u8]) -> Looked {
    let whole = u32::from_le_bytes(four(&content[4..8])?) as usize;
    let mut at = At(content.get(12..whole.checked_add(8)?)?);
    let mut pictures = 0;
    while !at.0.is_empty() {
        let name = at.take(4)?;
        let length = u32::from_le_bytes(four(at.take(4)?)?) as usize;
        at.take(length)?;
        if length % 2 == 1 && !at.0.is_empty() {
            at.byte()?;
        }
        pictures += usize::from([b"VP8 ", b"VP8L", b"ANMF"].iter().any(|kind| *kind == name));
    }
    Some(if pictures > 0 { Ok(()) } else { Err("there is no picture in it") })
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::Engine as _;

    /// One of each kind, two pixels wide and high, as an encoder makes them.
    const PICTURES: &[(&str, &str)] = &[
        (
            "png",
            "iVBORw0KGgoAAAANSUhEUgAAAAIAAAACCAIAAAD91JpzAAAAFklEQVR4nGM8IafBwMDAxMDAwMDAAAANcgESOXKF8gAAAABJRU5ErkJggg==",
        ),
        (
            "jpg",
            "/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDAKBueIx4ZKCMgoy0qqC+8P//8Nzc8P//////////////////////////////////////////////////////\
             ////2wBDAaq0tPDS8P//////////////////////////////////////////////////////////////////////////////wAARCAACAAIDASIAAhEB\
             AxEB/8QAFQABAQAAAAAAAAAAAAAAAAAAAAL/xAAUEAEAAAAAAAAAAAAAAAAAAAAA/8QAFQEBAQAAAAAAAAAAAAAAAAAAAQP/xAAUEQEAAAAAAAAAAAAA\
             AAAAAAAA/9oADAMBAAIRAxEAPwCQAo//2Q==",
        ),
        (
            "jpeg",
            "/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDAKBueIx4ZKCMgoy0qqC+8P//8Nzc8P//////////////////////////////////////////////////////\
             ////2wBDAaq0tPDS8P//////////////////////////////////////////////////////////////////////////////wgARCAACAAIDASIAAhEB\
             AxEB/8QAFQABAQAAAAAAAAAAAAAAAAAAAAH/xAAVAQEBAAAAAAAAAAAAAAAAAAABAv/aAAwDAQACEAMQAAABgK//xAAUEAEAAAAAAAAAAAAAAAAAAAAA\
             /9oACAEBAAEFAn//xAAUEQEAAAAAAAAAAAAAAAAAAAAA/9oACAEDAQE/AX//xAAUEQEAAAAAAAAAAAAAAAAAAAAA/9oACAECAQE/AX//xAAUEAEAAAAA\
             AAAAAAAAAAAAAAAA/9oACAEBAAY/An//xAAUEAEAAAAAAAAAAAAAAAAAAAAA/9oACAEBAAE/IX//2gAMAwEAAgADAAAAEAv/xAAUEQEAAAAAAAAAAAAA\
             AAAAAAAA/9oACAEDAQE/EH//xAAUEQEAAAAAAAAAAAAAAAAAAAAA/9oACAECAQE/EH//xAAUEAEAAAAAAAAAAAAAAAAAAAAA/9oACAEBAAE/EH//2Q==",
        ),
        ("gif", "R0lGODdhAgACAIEAAMgeKAAAAAAAAAAAACwAAAAAAgACAAAIBgABCAQQEAA7"),
        (
            "gif",
            "R0lGODlhAgACAIEAAMgeKAAAAAAAAAAAACH/C05FVFNDQVBFMi4wAwEAAAAh+QQABQAAACwAAAAAAgACAAAIBgABCAQQEAAh+QQBBQABACwAAAAAAgACAIEB\
             AgMAAAAAAAAAAAAIBgABCAQQEAA7",
        ),
        ("webp", "UklGRi4AAABXRUJQVlA4ICIAAABwAQCdASoCAAIADMDOJaACdAFAAAD+2iYLtH4u7EcZJAAA"),
        ("webp", "UklGRh4AAABXRUJQVlA4TBEAAAAvAUAAAAdQjyIXpf+BiOh/AAA="),
        (
            "webp",
            "UklGRqoAAABXRUJQVlA4WAoAAAACAAAAAQAAAQAAQU5JTQYAAAAAAAAAAABBTk1GRgAAAAAAAAAAAAEAAAEAAAAAAAJWUDggLgAAADABAJ0BKgIAAgABQCYl\
             oAADcAD+8U2v/62/HP5rqb//94z//7jP//uM/+RAAABBTk1GMAAAAAAAAAAAAAEAAAEAAAAAAABWUDggGAAAADQBAJ0BKgIAAgAAACYlpAADcAD+/SBQAA==",
        ),
    ];

    fn bytes(text: &str) -> Vec<u8> {
        base64::engine::general_purpose::STANDARD.decode(text).unwrap()
    }

    #[test]
    fn a_picture_is_whole_at_its_full_length_and_at_no_other() {
        assert_eq!(problem("png", b"version https://git-lfs.github.com/spec/v1\noid x\n"), Ok(()));
        for (ending, text) in PICTURES {
            let whole = bytes(text);
            assert_eq!(problem(ending, &whole), Ok(()), "{ending}");
            assert!(KINDS.contains(ending));
            for length in 0..whole.len() {
                assert!(
                    problem(ending, &whole[..length]).is_err(),
                    "{ending}, {length} of {} bytes",
                    whole.len()
                );
            }
        }
    }

    #[test]
    fn what_is_no_picture_or_another_is_told() {
        let png = bytes(PICTURES[0].1);
        let with = |at: usize, byte: u8| {
            let mut png = png.clone();
            png[at] = byte;
            png
        };
        let summed = |mut png: Vec<u8>| {
            let sum = crc32fast::hash(&png[12..29]).to_be_bytes();
            png[29..33].copy_from_slice(&sum);
            png
        };
        for (ending, content, said) in [
            ("png", b"x\n".to_vec(), "it is no PNG"),
            ("jpg", vec![], "it is no JPEG"),
            ("webp", b"RIFF\x04\0\0\0WEBP".to_vec(), "there is no picture in it"),
            ("jpg", png.clone(), "it is a PNG, and is called jpg"),
            ("png", with(45, 0), "a part of it is not what its sum says"),
            ("png", summed(with(19, 0)), "it has no size"),
            ("png", [&png[..33], &png[png.len() - 12..]].concat(), "there is no picture in it"),
            ("gif", b"GIF89a\x02\0\x02\0\0\0\0;".to_vec(), "there is no picture in it"),
            ("gif", b"GIF89a\x02\0\x02\0\0\0\0?".to_vec(), "its parts do not follow each other"),
            ("jpeg", b"\xff\xd8\xff\xd9".to_vec(), "there is no picture in it"),
            ("jpeg", b"\xff\xd8\xff\xe0\0\x02x".to_vec(), "its parts do not follow each other"),
            ("jpeg", b"\xff\xd8\xff\xe0\0\x01".to_vec(), SHORT),
        ] {
            assert_eq!(problem(ending, &content), Err(said.to_owned()), "{ending} {content:?}");
        }
    }
}
