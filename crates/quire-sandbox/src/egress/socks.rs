//! SOCKS5 (RFC 1928), as far as a way out needs it: `CONNECT`, without a login.

use super::Refusal;
use super::host::{Destination, Host};
use super::outside::{Failure, Onward, Outside};
use super::stream::Io;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

pub const VERSION: u8 = 5;
const NO_LOGIN: u8 = 0;
const NO_METHOD: u8 = 0xff;
const CONNECT: u8 = 1;

/// What a request is answered with.
const SUCCEEDED: u8 = 0;
const FAILED: u8 = 1;
const NOT_ALLOWED: u8 = 2;
const UNREACHABLE: u8 = 4;
const NO_SUCH_COMMAND: u8 = 7;

/// Serves a client, and returns it with where it goes on to; `None` where it was refused.
pub async fn serve(outside: &Arc<Outside>, mut client: Io) -> Option<(Io, Onward)> {
    let patience = outside.usage.limits.head;
    let asked = timeout(patience, ask(&mut client)).await.ok()?.ok()?;
    let routed = match asked {
        Ok((CONNECT, to)) => match outside.route(to).await {
            Ok(onward) => Ok(onward),
            Err(Failure::Refused(_)) => Err(NOT_ALLOWED),
            Err(Failure::Unreachable(_)) => Err(UNREACHABLE),
        },
        Ok((_, to)) => {
            outside.refuse_to(&to, Refusal::Unserved);
            Err(NO_SUCH_COMMAND)
        }
        Err(port) => {
            outside.refuse(String::new(), port, Refusal::Malformed);
            Err(FAILED)
        }
    };
    let code = routed.as_ref().err().copied().unwrap_or(SUCCEEDED);
    // The address that the connection has outside is nobody's business inside.
    let reply = [VERSION, code, 0, 1, 0, 0, 0, 0, 0, 0];
    timeout(patience, client.write_all(&reply)).await.ok()?.ok()?;
    Some((client, routed.ok()?))
}

/// Reads a command and its destination; the port alone where the host is none.
async fn ask(client: &mut Io) -> io::Result<Result<(u8, Destination), u16>> {
    if client.read_u8().await? != VERSION {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut methods = vec![0; client.read_u8().await?.into()];
    client.read_exact(&mut methods).await?;
    if !methods.contains(&NO_LOGIN) {
        client.write_all(&[VERSION, NO_METHOD]).await?;
        return Err(io::ErrorKind::PermissionDenied.into());
    }
    client.write_all(&[VERSION, NO_LOGIN]).await?;
    let mut head = [0; 4];
    client.read_exact(&mut head).await?;
    let [version, command, _, kind] = head;
    if version != VERSION {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let host = match kind {
        1 => {
            let mut octets = [0; 4];
            client.read_exact(&mut octets).await?;
            Some(Host::from(std::net::IpAddr::from(Ipv4Addr::from(octets))))
        }
        4 => {
            let mut octets = [0; 16];
            client.read_exact(&mut octets).await?;
            Some(Host::from(std::net::IpAddr::from(Ipv6Addr::from(octets))))
        }
        3 => {
            let mut name = vec![0; client.read_u8().await?.into()];
            client.read_exact(&mut name).await?;
            str::from_utf8(&name).ok().and_then(Host::parse)
        }
        _ => return Err(io::ErrorKind::InvalidData.into()),
    };
    let port = client.read_u16().await?;
    Ok(host.map(|host| (command, Destination { host, port })).ok_or(port))
}
