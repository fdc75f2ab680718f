//! Name service for the inside, which tells nothing of the outside. Every name has the one address where the transparent
//! listeners are; what a program then asks for there (SNI, `Host`) is judged. Nothing is ever forwarded, so a name cannot carry
//! a message out.
//!
//! Written by hand because it reads so little: of a question only the header and one name, of which nothing is decoded.

use crate::gate::TRANSPARENT;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::Semaphore;
use tokio::time::timeout;

const HEADER_BYTES: usize = 12;
const NAME_BYTES_MAX: usize = 255;
/// Flags, of the header's second word (RFC 1035, 4.1.1).
const RESPONSE: u16 = 1 << 15;
const OPCODE: u16 = 0xf << 11;
const RECURSION_DESIRED: u16 = 1 << 8;
const RECURSION_AVAILABLE: u16 = 1 << 7;
const NOT_IMPLEMENTED: u16 = 4;
const A: u16 = 1;
const ANY: u16 = 255;
const IN: u16 = 1;
/// Seconds. The answer never changes within a sandbox.
const TTL: u32 = 300;

/// Returns the answer to a question, or `None` where `question` is none and nothing is owed.
pub fn answer(question: &[u8]) -> Option<Vec<u8>> {
    let word = |at: usize| Some(u16::from_be_bytes([*question.get(at)?, *question.get(at + 1)?]));
    let flags = word(2)?;
    if question.len() < HEADER_BYTES || flags & RESPONSE != 0 {
        return None;
    }
    let head = |flags: u16, questions: u16, answers: u16| {
        let mut head = question[..2].to_vec();
        for word in [flags, questions, answers, 0, 0] {
            head.extend(word.to_be_bytes());
        }
        head
    };
    let ours = RESPONSE | RECURSION_AVAILABLE | (flags & (OPCODE | RECURSION_DESIRED));
    if flags & OPCODE != 0 {
        return Some(head(ours | NOT_IMPLEMENTED, 0, 0));
    }
    if word(4)? != 1 {
        return None;
    }
    let name_end = name_end(question)?;
    let (kind, class) = (word(name_end)?, word(name_end + 2)?);
    let has_address = matches!(kind, A | ANY) && matches!(class, IN | ANY);
    // The root itself has no address.
    let has_address = has_address && name_end > HEADER_BYTES + 1;
    let mut answer = head(ours, 1, has_address.into());
    answer.extend(&question[HEADER_BYTES..name_end + 4]);
    if has_address {
        answer.extend((0xc000 | HEADER_BYTES as u16).to_be_bytes()); // the name of the question
        answer.extend(A.to_be_bytes());
        answer.extend(IN.to_be_bytes());
        answer.extend(TTL.to_be_bytes());
        answer.extend(4u16.to_be_bytes());
        answer.extend(TRANSPARENT.octets());
    }
    Some(answer)
}

/// Returns where the question's name ends. A question has no pointers in its name.
fn name_end(question: &[u8]) -> Option<usize> {
    let mut at = HEADER_BYTES;
    loop {
        match usize::from(*question.get(at)?) {
            0 => return (at + 1 - HEADER_BYTES <= NAME_BYTES_MAX).then_some(at + 1),
            label @ 1..=63 => at += 1 + label,
            _ => return None,
        }
        if at - HEADER_BYTES > NAME_BYTES_MAX {
            return None;
        }
    }
}

/// Answers until it is dropped.
pub async fn serve_udp(socket: UdpSocket) {
    let mut question = [0; 1232]; // what DNS over UDP is kept to, since the flag day of 2020
    loop {
        match socket.recv_from(&mut question).await {
            // An answer that cannot be taken is not waited for.
            Ok((bytes, from)) => {
                if let Some(answer) = answer(&question[..bytes]) {
                    let _ = socket.try_send_to(&answer, from);
                }
            }
            // An error that lasts must not keep a processor busy.
            Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
}

/// Questions over TCP at one time.
const TCP_MAX: usize = 16;

/// As [`serve_udp`], with the length before each message.
pub async fn serve_tcp(listener: TcpListener, patience: Duration) {
    let places = Arc::new(Semaphore::new(TCP_MAX));
    let mut connections = tokio::task::JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        if let Ok(place) = places.clone().try_acquire_owned() {
            connections.spawn(async move {
                let _ = timeout(patience, converse(stream)).await;
                drop(place);
            });
        }
    }
}

async fn converse(mut stream: TcpStream) -> io::Result<()> {
    let mut question = Vec::new();
    loop {
        let bytes = stream.read_u16().await?;
        question.resize(bytes.into(), 0);
        stream.read_exact(&mut question).await?;
        let Some(answer) = answer(&question) else { return Ok(()) };
        stream.write_all(&[&(answer.len() as u16).to_be_bytes()[..], &answer].concat()).await?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn question(flags: u16, name: &[u8], kind: u16, class: u16) -> Vec<u8> {
        let mut bytes = vec![0xab, 0xcd];
        for word in [flags, 1, 0, 0, 0] {
            bytes.extend(word.to_be_bytes());
        }
        bytes.extend(name);
        bytes.extend(kind.to_be_bytes());
        bytes.extend(class.to_be_bytes());
        bytes
    }

    const NAME: &[u8] = b"\x07example\x03org\0";

    #[test]
    fn a_name_has_the_one_address() {
        let asked = question(RECURSION_DESIRED, NAME, A, IN);
        let answer = answer(&asked).unwrap();
        assert_eq!(answer[..2], [0xab, 0xcd]);
        assert_eq!(answer[2..12], [0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0]);
        assert_eq!(answer[12..asked.len()], asked[12..], "the question is repeated");
        assert_eq!(answer[asked.len()..], [0xc0, 12, 0, 1, 0, 1, 0, 0, 1, 44, 0, 4, 198, 18, 0, 1]);
    }

    #[test]
    fn what_is_asked_and_what_is_answered() {
        const NO_ERROR: u8 = 0;
        // what, question, (code, answers)
        let rows = [
            ("A", question(0, NAME, A, IN), Some((NO_ERROR, 1))),
            ("any", question(0, NAME, ANY, IN), Some((NO_ERROR, 1))),
            ("AAAA", question(0, NAME, 28, IN), Some((NO_ERROR, 0))),
            ("HTTPS", question(0, NAME, 65, IN), Some((NO_ERROR, 0))),
            ("TXT", question(0, NAME, 16, IN), Some((NO_ERROR, 0))),
            ("chaos", question(0, NAME, A, 3), Some((NO_ERROR, 0))),
            ("the root", question(0, b"\0", A, IN), Some((NO_ERROR, 0))),
            ("notify", question(4 << 11, NAME, A, IN), Some((4, 0))),
            ("an answer", question(RESPONSE, NAME, A, IN), None),
            ("a pointer", question(0, b"\xc0\x0c", A, IN), None),
            ("a label too long", question(0, &[b"\x40", &[b'a'; 64][..], b"\0"].concat(), A, IN), None),
            ("a name too long", question(0, &[[1, b'a'].repeat(128), vec![0]].concat(), A, IN), None),
            ("cut", question(0, NAME, A, IN)[..20].to_vec(), None),
            ("nothing", Vec::new(), None),
        ];
        for (what, asked, expected) in rows {
            let found = answer(&asked).map(|answer| (answer[3] & 0xf, answer[7]));
            assert_eq!(found, expected, "{what}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_are_answered_with_more_than_the_question_and_an_address(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
            if let Some(answer) = answer(&bytes) {
                prop_assert!(answer.len() <= bytes.len() + 16);
                prop_assert_eq!(&answer[..2], &bytes[..2]);
                prop_assert!(answer[2] & 0x80 != 0);
            }
        }
    }
}
