//! One connection from inside, from the moment that it is accepted until it ends: a few steps, each of which says where it goes on.

use super::hello::{self, Hello};
use super::host::{Destination, Host};
use super::meter::Place;
use super::outside::{Account, Dialled, Failure, Onward, Outside};
use super::stream::{Io, Prefixed, Watched};
use super::{Refusal, http, socks};
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy, copy_bidirectional, split};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::timeout;

/// Which of the gate's listeners a connection came to.
#[derive(Clone, Copy)]
pub enum Listener {
    Proxy,
    Http,
    Tls,
}

/// Accepts connections until it is dropped, and they with it.
pub async fn accept(outside: Arc<Outside>, listener: TcpListener, kind: Listener) {
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        let Ok((stream, _)) = listener.accept().await else {
            // Of descriptors there are none left: an error that lasts must not keep a processor busy.
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        match outside.usage.accept() {
            Ok(place) => {
                connections.spawn(serve(outside.clone(), stream, kind, place));
            }
            Err(limit) => {
                let port = if matches!(kind, Listener::Http) { 80 } else { 443 };
                outside.refuse(String::new(), port, Refusal::Limit(limit));
                if !matches!(kind, Listener::Tls) {
                    // As much as is taken at once: who floods is not waited for.
                    let text =
                        format!("quire: too many connections: the task's limit of {limit} is used up.\n");
                    let head =
                        format!("HTTP/1.1 503 {}\r\nContent-Length: {}\r\n", text.trim_end(), text.len());
                    let _ = stream.try_write(format!("{head}Connection: close\r\n\r\n{text}").as_bytes());
                }
            }
        }
    }
}

async fn serve(outside: Arc<Outside>, stream: TcpStream, kind: Listener, _place: Place) {
    let _ = stream.set_nodelay(true);
    let (stream, pulse) = Watched::new(stream);
    let first = match kind {
        Listener::Proxy => Onward::Proxy,
        Listener::Http => Onward::Host,
        Listener::Tls => Onward::Sni,
    };
    let steps = async {
        let mut next = Some((Box::new(stream) as Io, first));
        while let Some((client, onward)) = next {
            next = step(&outside, client, onward).await;
        }
    };
    tokio::select! {
        () = steps => {}
        () = pulse.silence(outside.usage.limits.idle) => {}
    }
}

/// Takes one step; `None` where the connection has ended.
async fn step(outside: &Arc<Outside>, client: Io, onward: Onward) -> Option<(Io, Onward)> {
    match onward {
        Onward::Proxy => proxy(outside, client).await,
        Onward::Host => http::serve(outside, client, http::Asked::Host, None).await,
        Onward::Http(to, far) => http::serve(outside, client, http::Asked::Only(to), Some(far)).await,
        Onward::Inner(to) => http::serve(outside, client, http::Asked::Inner(to), None).await,
        Onward::Sni => by_name(outside, client).await,
        Onward::Authority(to) => terminate(outside, client, to).await,
        Onward::Tunnel(to, far) => {
            tunnel(outside, client, to, far).await;
            None
        }
        Onward::Joined(far) => {
            join(client, far).await;
            None
        }
    }
}

/// The first byte of a TLS connection.
const HANDSHAKE: u8 = 22;

async fn proxy(outside: &Arc<Outside>, mut client: Io) -> Option<(Io, Onward)> {
    let first = timeout(outside.usage.limits.head, client.read_u8()).await.ok()?.ok()?;
    let client = Prefixed::boxed(vec![first], client);
    match first {
        socks::VERSION => socks::serve(outside, client).await,
        // TLS to the proxy itself, for which there is no name.
        HANDSHAKE => {
            outside.refuse(String::new(), 443, Refusal::Unserved);
            None
        }
        _ => http::serve(outside, client, http::Asked::Proxy, None).await,
    }
}

/// Reads a hello that must come in time. The error is what it lacks.
async fn hello(outside: &Outside, client: &mut Io) -> Result<Hello, Refusal> {
    match timeout(outside.usage.limits.head, hello::read(client)).await {
        Ok(Ok(hello)) => Ok(hello),
        Ok(Err(_)) | Err(_) => Err(Refusal::NoName),
    }
}

/// Returns whether a hello names what was asked for; by an address, nothing is named.
fn names(hello: &Hello, to: &Destination) -> Result<(), Refusal> {
    match (&hello.name, &to.host) {
        (None, Host::Address(_)) => Ok(()),
        (None, Host::Name(_)) => Err(Refusal::NoName),
        (Some(name), host) if name == host => Ok(()),
        (Some(name), _) => Err(Refusal::OtherName(name.to_string())),
    }
}

/// Says no in TLS's own way.
async fn alert(outside: &Outside, client: &mut Io, alert: [u8; 7]) {
    let saying = async {
        client.write_all(&alert).await?;
        client.shutdown().await
    };
    let _ = timeout(outside.usage.limits.head, saying).await;
}

async fn by_name(outside: &Arc<Outside>, mut client: Io) -> Option<(Io, Onward)> {
    const PORT: u16 = 443;
    let named = hello(outside, &mut client)
        .await
        .and_then(|hello| Ok((hello.name.ok_or(Refusal::NoName)?, hello.bytes)));
    let (host, bytes) = match named {
        Ok(named) => named,
        Err(why) => {
            outside.refuse(String::new(), PORT, why);
            alert(outside, &mut client, hello::UNRECOGNIZED_NAME).await;
            return None;
        }
    };
    match outside.route(Destination { host, port: PORT }).await {
        Ok(onward) => Some((Prefixed::boxed(bytes, client), onward)),
        Err(Failure::Refused(_)) => {
            alert(outside, &mut client, hello::ACCESS_DENIED).await;
            None
        }
        // Ended without a word, as it would be without a proxy.
        Err(Failure::Unreachable(_)) => None,
    }
}

/// Ends the TLS of a client with a certificate of the task's authority.
async fn terminate(outside: &Arc<Outside>, mut client: Io, to: Destination) -> Option<(Io, Onward)> {
    let named = hello(outside, &mut client).await.and_then(|hello| names(&hello, &to).map(|()| hello.bytes));
    let bytes = match named {
        Ok(bytes) => bytes,
        Err(why) => {
            outside.refuse_to(&to, why);
            alert(outside, &mut client, hello::UNRECOGNIZED_NAME).await;
            return None;
        }
    };
    let accepting = outside.authority.as_ref()?.accept(Prefixed::boxed(bytes, client), &to);
    let client = timeout(outside.usage.limits.head, accepting).await.ok()?.ok()?;
    Some((client, Onward::Inner(to)))
}

/// Passes bytes on both ways. What begins as TLS must name the host; on 443, nothing else is passed on.
async fn tunnel(outside: &Outside, client: Io, to: Destination, far: Dialled) {
    let account = far.account.clone();
    let (mut client_read, mut client_write) = split(client);
    let (mut far_read, mut far_write) = split(far);
    let up = async {
        let mut first = [0; 1];
        if client_read.read(&mut first).await? == 0 {
            return far_write.shutdown().await;
        }
        let begun =
            Prefixed::boxed(first.to_vec(), Box::new(tokio::io::join(client_read, tokio::io::sink())));
        let mut client = begun;
        if to.port == 443 || first[0] == HANDSHAKE {
            let bytes = begin(outside, &mut client, &to, &account).await?;
            far_write.write_all(&bytes).await?;
        }
        copy(&mut client, &mut far_write).await?;
        far_write.shutdown().await
    };
    let down = async {
        copy(&mut far_read, &mut client_write).await?;
        client_write.shutdown().await
    };
    let ended = tokio::try_join!(up, down);
    if ended.is_err_and(|error| error.kind() == io::ErrorKind::PermissionDenied) {
        let mut client = Box::new(tokio::io::join(tokio::io::empty(), client_write)) as Io;
        alert(outside, &mut client, hello::UNRECOGNIZED_NAME).await;
    }
}

/// Returns a hello that names the host; fails with `PermissionDenied`, noted in the account, where it does not.
async fn begin(
    outside: &Outside,
    client: &mut Io,
    to: &Destination,
    account: &Account,
) -> io::Result<Vec<u8>> {
    let hello = hello(outside, client).await.and_then(|hello| names(&hello, to).map(|()| hello.bytes));
    hello.map_err(|why| {
        account.refuse(why);
        io::ErrorKind::PermissionDenied.into()
    })
}

async fn join(mut client: Io, mut far: Io) {
    // How it ended, and with how many bytes, the account of the far side knows.
    let _ = copy_bidirectional(&mut client, &mut far).await;
}
