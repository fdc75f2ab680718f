//! Frames on a socket: a little-endian `u32` length and that many bytes of JSON. Read unbuffered, because the socket
//! passes from the spawner to the hand between two frames.

use crate::protocol::FRAME_MAX;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recvmsg, sendmsg,
};
use serde::{Serialize, de::DeserializeOwned};
use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;

/// Writes one frame in one call; a message that would not fit is an error and nothing is sent.
pub fn write(mut to: impl Write, message: &impl Serialize) -> io::Result<()> {
    to.write_all(&framed(message)?)
}

/// As [`write`], with descriptors.
pub fn write_with<const N: usize>(
    mut to: &UnixStream,
    message: &impl Serialize,
    descriptors: &[OwnedFd; N],
) -> io::Result<()> {
    let frame = framed(message)?;
    let descriptors = descriptors.each_ref().map(AsFd::as_fd);
    let mut space = vec![MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(N))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    control.push(SendAncillaryMessage::ScmRights(&descriptors));
    let sent = sendmsg(to, &[IoSlice::new(&frame)], &mut control, SendFlags::NOSIGNAL)?;
    to.write_all(&frame[sent..])
}

fn framed(message: &impl Serialize) -> io::Result<Vec<u8>> {
    let mut frame = vec![0; 4];
    serde_json::to_writer(&mut frame, message)?;
    let length = u32::try_from(frame.len() - 4).ok().filter(|length| *length <= FRAME_MAX);
    let length =
        length.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "the message is too long"))?;
    frame[..4].copy_from_slice(&length.to_le_bytes());
    Ok(frame)
}

/// Reads one frame; `None` where the other side closed between two frames.
pub fn read<T: DeserializeOwned>(mut from: impl Read) -> io::Result<Option<T>> {
    let mut length = [0; 4];
    match from.read(&mut length)? {
        0 => return Ok(None),
        got => from.read_exact(&mut length[got..])?,
    }
    rest(from, length).map(Some)
}

/// As [`read`], with the descriptors that came with the frame, of which there are at most `N`.
pub fn read_with<T: DeserializeOwned, const N: usize>(
    mut from: &UnixStream,
) -> io::Result<Option<(T, Vec<OwnedFd>)>> {
    let mut length = [0; 4];
    let mut space = vec![MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(N))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let got = recvmsg(from, &mut [IoSliceMut::new(&mut length)], &mut control, RecvFlags::CMSG_CLOEXEC)?;
    let passed = |message| match message {
        RecvAncillaryMessage::ScmRights(descriptors) => Some(descriptors),
        _ => None,
    };
    let descriptors = control.drain().filter_map(passed).flatten().collect();
    match got.bytes {
        0 => return Ok(None),
        got => from.read_exact(&mut length[got..])?,
    }
    Ok(Some((rest(from, length)?, descriptors)))
}

fn rest<T: DeserializeOwned>(mut from: impl Read, length: [u8; 4]) -> io::Result<T> {
    let length = u32::from_le_bytes(length);
    if length > FRAME_MAX {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "the frame is too long"));
    }
    let mut json = vec![0; length as usize];
    from.read_exact(&mut json)?;
    Ok(serde_json::from_slice(&json)?)
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
    fn descriptors_come_with_their_frame() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let files = [(); 2].map(|()| OwnedFd::from(std::fs::File::open("/dev/null").unwrap()));
        write_with(&theirs, &"two", &files).unwrap();
        write(&theirs, &"none").unwrap();
        drop(theirs);
        let (said, passed) = read_with::<String, 2>(&ours).unwrap().unwrap();
        assert_eq!((said.as_str(), passed.len()), ("two", 2));
        let (said, passed) = read_with::<String, 2>(&ours).unwrap().unwrap();
        assert_eq!((said.as_str(), passed.len()), ("none", 0));
        assert!(read_with::<String, 2>(&ours).unwrap().is_none());
    }

    proptest::proptest! {
        /// What a hand may send: any bytes, and whole messages with a byte of them changed.
        #[test]
        fn whatever_comes_is_a_message_or_an_error(bytes: Vec<u8>, at: u16, with: u8) {
            use crate::protocol::FromHand;
            let outcome = r#"{"done":{"id":1,"outcome":{"text":"t","ok":true,"exit":0,"millis":1,"whole":"w","images":[]}}}"#;
            let mut wire = (outcome.len() as u32).to_le_bytes().to_vec();
            wire.extend(outcome.bytes());
            assert!(read::<FromHand>(&*wire).is_ok());
            let at = usize::from(at) % wire.len();
            wire[at] = with;
            for mut wire in [wire, bytes] {
                // As much as was announced and cannot be there is not waited for.
                let (ours, mut theirs) = UnixStream::pair().unwrap();
                wire.truncate(60_000);
                theirs.write_all(&wire).unwrap();
                drop(theirs);
                while let Ok(Some(_)) = read_with::<FromHand, 1>(&ours) {}
            }
        }
    }

    #[test]
    fn a_length_that_lies_is_an_error() {
        for wire in [&[255, 255, 255, 255, 1][..], &[2, 0], &[4, 0, 0, 0, b'"', b'a']] {
            assert!(read::<String>(wire).is_err(), "{wire:?}");
        }
    }
}
