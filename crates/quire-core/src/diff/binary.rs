//! Contents that are no text in a diff that `git apply` takes: git's binary patch (the format is what git's `apply.c` reads: a
//! line `literal SIZE`, then a zlib stream in base 85, once for each side). The stream is stored, not compressed: a patch is for carrying
//! over, and so needs no compressor.

const DIGITS: &[u8; 85] =
    b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz!#$%&()*+-;<=>?@^_`{|}~";
/// Bytes in a line.
const LINE: usize = 52;
/// Bytes in a stored block.
const BLOCK: usize = 65_535;

/// Appends the patch that makes `now` of `was`, and the one that takes it back.
pub(super) fn write(out: &mut Vec<u8>, was: &[u8], now: &[u8]) {
    out.extend_from_slice(b"GIT binary patch\n");
    for content in [now, was] {
        out.extend_from_slice(format!("literal {}\n", content.len()).as_bytes());
        let stream = stored(content);
        for line in stream.chunks(LINE) {
            let count = line.len() as u8;
            out.push(if count <= 26 { b'A' + count - 1 } else { b'a' + count - 27 });
            for four in line.chunks(4) {
                let mut word = [0; 4];
                word[..four.len()].copy_from_slice(four);
                let word = u32::from_be_bytes(word);
                let digit = |n: u32| DIGITS[(word / 85u32.pow(n) % 85) as usize];
                out.extend([digit(4), digit(3), digit(2), digit(1), digit(0)]);
            }
            out.push(b'\n');
        }
        out.push(b'\n');
    }
}

/// Returns a zlib stream (RFC 1950) that holds `content` in stored blocks (RFC 1951, 3.2.4).
fn stored(content: &[u8]) -> Vec<u8> {
    let mut stream = vec![0x78, 0x01];
    let mut blocks = content.chunks(BLOCK).peekable();
    if blocks.peek().is_none() {
        stream.extend([1, 0, 0, 0xff, 0xff]);
    }
    while let Some(block) = blocks.next() {
        let length = block.len() as u16;
        stream.push(u8::from(blocks.peek().is_none()));
        stream.extend(length.to_le_bytes());
        stream.extend((!length).to_le_bytes());
        stream.extend_from_slice(block);
    }
    let (mut a, mut b) = (1u32, 0u32);
    // So many bytes that neither sum can overflow before it is reduced.
    for some in content.chunks(5552) {
        for byte in some {
            a += u32::from(*byte);
            b += a;
        }
        (a, b) = (a % 65_521, b % 65_521);
    }
    stream.extend((b << 16 | a).to_be_bytes());
    stream
}
