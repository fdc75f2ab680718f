//! The beginning of a TLS connection: whom it asks for. The name (SNI) is sent in the clear, so a tunnel to one host cannot quietly
//! become a connection to another one on the same address. What comes inside of the tunnel stays unread.

use super::host::Host;
use super::stream::Io;
use rustls::server::Acceptor;
use std::io;
use tokio::io::AsyncReadExt;

/// What a client said first.
pub struct Hello {
    /// All that was read, to be sent on.
    pub bytes: Vec<u8>,
    /// The name that was asked for.
    pub name: Option<Host>,
}

/// Far more than any client's, with keys of post-quantum kinds.
const HELLO_BYTES_MAX: usize = 64 << 10;

/// Reads a client's hello, over as many records and packets as it comes in. Fails where it is none, or ends.
pub async fn read(client: &mut Io) -> io::Result<Hello> {
    let mut acceptor = Acceptor::default();
    let mut bytes = Vec::new();
    let mut chunk = [0; 4096];
    loop {
        let count = client.read(&mut chunk).await?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if bytes.len() + count > HELLO_BYTES_MAX {
            return Err(io::Error::other("a TLS hello that does not end"));
        }
        bytes.extend(&chunk[..count]);
        let mut rest = &chunk[..count];
        while !rest.is_empty() {
            acceptor.read_tls(&mut rest)?;
            match acceptor.accept() {
                Ok(None) => {}
                Ok(Some(accepted)) => {
                    // A name that is given and is none must not pass for no name.
                    let name = match accepted.client_hello().server_name() {
                        Some(name) => {
                            Some(Host::parse(name).ok_or_else(|| io::Error::other("a name that is none"))?)
                        }
                        None => None,
                    };
                    return Ok(Hello { bytes, name });
                }
                Err(_) => return Err(io::Error::other("not a TLS hello")),
            }
        }
    }
}

/// What a client is told that asked for what it may not have (RFC 8446, 6.2): all that can be said before keys are agreed on.
pub const ACCESS_DENIED: [u8; 7] = alert(49);
pub const UNRECOGNIZED_NAME: [u8; 7] = alert(112);

const fn alert(description: u8) -> [u8; 7] {
    const ALERT: u8 = 21;
    const FATAL: u8 = 2;
    [ALERT, 3, 3, 0, 2, FATAL, description]
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use proptest::prelude::*;
    use tokio::io::AsyncWriteExt;

    /// Returns a hello as a client would send it in one record; without a name for an address.
    pub fn hello(name: &str) -> Vec<u8> {
        let provider = rustls::crypto::ring::default_provider().into();
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap();
        let config = config.with_root_certificates(rustls::RootCertStore::empty()).with_no_client_auth();
        let name = rustls::pki_types::ServerName::try_from(name.to_owned()).unwrap();
        let mut connection = rustls::ClientConnection::new(config.into(), name).unwrap();
        let mut bytes = Vec::new();
        connection.write_tls(&mut bytes).unwrap();
        bytes
    }

    /// Returns the same hello in records of `size` bytes each.
    pub fn fragmented(hello: &[u8], size: usize) -> Vec<u8> {
        let records = hello[5..].chunks(size);
        records
            .flat_map(|part| [&[22, 3, 1][..], &(part.len() as u16).to_be_bytes(), part].concat())
            .collect()
    }

    /// Returns the hello with this in the place of its extension for the name (RFC 6066, 3).
    fn with_names(name: &str, extension: &[u8]) -> Vec<u8> {
        let mut bytes = hello(name);
        let list = [&[0, (name.len() >> 8) as u8, name.len() as u8][..], name.as_bytes()].concat();
        let at = memchr::memmem::find(&bytes, &list).unwrap() - 6;
        let grown = extension.len() as i64 - (list.len() as i64 + 6);
        bytes.splice(at..at + 6 + list.len(), extension.iter().copied());
        // The lengths of what holds it: the record, the message, and all extensions, which come after what has a length itself.
        let mut extensions = 43 + 1 + usize::from(bytes[43]);
        extensions += 2 + usize::from(u16::from_be_bytes([bytes[extensions], bytes[extensions + 1]]));
        extensions += 1 + usize::from(bytes[extensions]);
        for at in [3, 7, extensions] {
            let length = i64::from(u16::from_be_bytes([bytes[at], bytes[at + 1]])) + grown;
            bytes[at..at + 2].copy_from_slice(&(length as u16).to_be_bytes());
        }
        bytes
    }

    /// Of two names the host might take the other one.
    #[tokio::test]
    async fn e09_a_hello_that_names_two_hosts_is_an_error() {
        let entry = |name: &str| [&[0, 0, name.len() as u8][..], name.as_bytes()].concat();
        let extension = |list: &[u8]| {
            let length = |more: usize| ((list.len() + more) as u16).to_be_bytes();
            [&[0, 0][..], &length(2), &length(0), list].concat()
        };
        let one = extension(&entry("example.org"));
        let two = extension(&[entry("example.org"), entry("evil.example")].concat());
        let again = [one.clone(), extension(&entry("evil.example"))].concat();
        let read = read_in(4096, &with_names("example.org", &one)).await.unwrap();
        assert_eq!(read.name, Host::parse("example.org"), "as it was");
        for (what, names) in [("a list of two", two), ("two lists", again), ("an empty list", extension(&[]))]
        {
            assert!(read_in(4096, &with_names("example.org", &names)).await.is_err(), "{what}");
        }
        let upper =
            read_in(4096, &with_names("example.org", &extension(&entry("EXAMPLE.Org")))).await.unwrap();
        assert_eq!(upper.name, Host::parse("example.org"), "names have no case");
    }

    async fn read_in(pieces: usize, bytes: &[u8]) -> io::Result<Hello> {
        let (client, mut far) = tokio::io::duplex(pieces);
        let mut client: Io = Box::new(client);
        let writing = async {
            let _ = far.write_all(bytes).await;
            let _ = far.shutdown().await;
            std::future::pending().await
        };
        tokio::select! {
            read = read(&mut client) => read,
            () = writing => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }

    #[tokio::test]
    async fn e09_the_name_is_found_however_the_hello_is_cut() {
        let whole = hello("example.org");
        for size in [1, 7, 64, 200, 4096] {
            let sent = fragmented(&whole, size);
            let read = read_in(97, &sent).await.unwrap();
            assert_eq!(read.name, Host::parse("example.org"), "records of {size}");
            assert!(sent.starts_with(&read.bytes), "all that was read is sent on");
        }
        assert_eq!(read_in(4096, &hello("203.0.113.1")).await.unwrap().name, None);
    }

    #[tokio::test]
    async fn e09_what_is_no_hello_is_an_error() {
        let whole = hello("example.org");
        let mut nul = whole.clone();
        let at = memchr::memmem::find(&nul, b"example.org").unwrap();
        nul[at + 7] = 0;
        let rows: [(&str, Vec<u8>); 6] = [
            ("nothing", Vec::new()),
            ("half of one", whole[..whole.len() / 2].to_vec()),
            ("SSH", b"SSH-2.0-OpenSSH_9.2\r\n".to_vec()),
            ("HTTP", b"GET / HTTP/1.1\r\nHost: example.org\r\n\r\n".to_vec()),
            ("a NUL in the name", nul),
            ("records without end", [22, 3, 1, 0, 1, 1].repeat(20_000)),
        ];
        for (what, bytes) in rows {
            assert!(read_in(4096, &bytes).await.is_err(), "{what}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_break_it(at in 0usize..200, with in any::<u8>(), tail in proptest::collection::vec(any::<u8>(), 0..100)) {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let mut bytes = hello("example.org");
            let at = at.min(bytes.len() - 1);
            bytes[at] = with;
            let _ = runtime.block_on(read_in(4096, &bytes));
            prop_assert!(runtime.block_on(read_in(4096, &[&[22, 3, 1][..], &tail].concat())).is_err());
        }
    }
}
