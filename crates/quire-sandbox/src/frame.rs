//! Frames on a socket: a little-endian `u32` length and that many bytes of JSON. Read unbuffered, because the socket
//! passes from the spawner to the hand between two frames.

use crate::protocol::FRAME_MAX;
use serde::{Serialize, de::DeserializeOwned};
use std::io::{self, Read, Write};

/// Writes one frame in one call; a message that would not fit is an error and nothing is sent.
pub fn write(mut to: impl Write, message: &impl Serialize) -> io::Result<()> {
    let mut frame = vec![0; 4];
    serde_json::to_writer(&mut frame, message)?;
    let length = u32::try_from(frame.len() - 4).ok().filter(|length| *length <= FRAME_MAX);
    let length =
        length.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "the message is too long"))?;
    frame[..4].copy_from_slice(&length.to_le_bytes());
    to.write_all(&frame)
}

/// Reads one frame; `None` where the other side closed between two frames.
pub fn read<T: DeserializeOwned>(mut from: impl Read) -> io::Result<Option<T>> {
    let mut length = [0; 4];
    match from.read(&mut length)? {
        0 => return Ok(None),
        got => from.read_exact(&mut length[got..])?,
    }
    let length = u32::from_le_bytes(length);
    if length > FRAME_MAX {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "the frame is too long"));
    }
    let mut json = vec![0; length as usize];
    from.read_exact(&mut json)?;
    Ok(Some(serde_json::from_slice(&json)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let mut wire = Vec::new();
        write(&mut wire, &"one").unwrap();
        write(&mut wire, &"two").unwrap();
        let mut from = wire.as_slice();
        assert_eq!(read::<String>(&mut from).unwrap().as_deref(), Some("one"));
        assert_eq!(read::<String>(&mut from).unwrap().as_deref(), Some("two"));
        assert_eq!(read::<String>(&mut from).unwrap(), None);
    }

    #[test]
    fn a_length_that_lies_is_an_error() {
        for wire in [&[255, 255, 255, 255, 1][..], &[2, 0], &[4, 0, 0, 0, b'"', b'a']] {
            assert!(read::<String>(wire).is_err(), "{wire:?}");
        }
    }
}
