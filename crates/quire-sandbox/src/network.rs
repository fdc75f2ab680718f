//! The network of a sandbox: a loopback device and, where there is a way out, a device that leads to that and nowhere else.
//!
//! The sockets of the way out ([`gate`]) lie in a network of their own, at the other end of a pair of devices (veth(4)). So
//! programs inside find every port free on every address of theirs, and what listens there is theirs alone. Neither network
//! has another device or a route to one. Nobody inside enters the other: no process is in it, and to enter takes a
//! privilege that is gone before anything of the agent's runs.
//!
//! A machine may give no such pair. Then the sockets lie in the programs' own network, at the same addresses.

use crate::gate::{self, COUNT, TRANSPARENT};
use crate::mounts::During;
use crate::tree::Broken;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, socket_with};
use std::ffi::CStr;
use std::io;
use std::net::Ipv4Addr;
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::Duration;

/// The programs' own address beside those of loopback. Of a range for the benchmarks of network devices (RFC 2544), which no
/// network uses. The C library takes a machine that has nothing but 127.0.0.1 for one without a network, and tells programs
/// of no other address (`AI_ADDRCONFIG`).
pub const INSIDE: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 2);

/// Of the two addresses: the network holds no others, so nobody waits for one that does not answer.
const MASK: Ipv4Addr = Ipv4Addr::new(255, 255, 255, 252);

/// The programs' end of the pair, with the name that programs expect.
const NEAR: &CStr = c"eth0";
const FAR: &CStr = c"way";

/// The number of the other end. The kernel hurries with a pair whose numbers differ.
const FAR_INDEX: i32 = 7;

/// The way out as it was made.
pub struct WayOut {
    pub sockets: [OwnedFd; COUNT],
    /// Why it shares the programs' network; `None` where it does not.
    pub shared: Option<String>,
}

/// Starts the network of this process, which must be new and may be left for another new one.
pub fn make(with_way_out: bool) -> Result<Option<WayOut>, Broken> {
    if !with_way_out {
        Network::here().and_then(|here| here.up(c"lo")).during("starting the loopback device")?;
        return Ok(None);
    }
    let (sockets, shared) = match beside() {
        Ok(sockets) => (sockets, None),
        Err(Broken(why)) => (within().during("opening the way out")?, Some(why)),
    };
    Ok(Some(WayOut { sockets, shared }))
}

/// Leaves the way out in this network and moves the process to another, which is tied to it.
fn beside() -> Result<[OwnedFd; COUNT], Broken> {
    let sockets = gate::sockets().during("making sockets")?;
    let theirs = Network::here().during("asking for devices")?;
    // SAFETY: there is one thread, and descriptors stay shared.
    unsafe { rustix::thread::unshare_unsafe(rustix::thread::UnshareFlags::NEWNET) }
        .during("making a second network")?;
    let ours = Network::here().during("asking for devices")?;
    ours.up(c"lo").during("starting the loopback device")?;
    theirs.pair().during("making a pair of network devices")?;
    // Without it nothing is lost but time: nobody answers at an address of version 6.
    let _ = ours.no_addresses_by_itself(NEAR);
    for (network, device, address) in [(&theirs, FAR, TRANSPARENT), (&ours, NEAR, INSIDE)] {
        network.place(device, address).during("giving a network device its address")?;
    }
    theirs.await_carrier().during("starting a pair of network devices")?;
    gate::listen(&sockets).during("listening")?;
    Ok(sockets)
}

/// Opens the way out in this network.
fn within() -> io::Result<[OwnedFd; COUNT]> {
    let here = Network::here()?;
    here.up(c"lo")?;
    here.set(c"lo:0", libc::SIOCSIFADDR, address(TRANSPARENT))?;
    let sockets = gate::sockets()?;
    gate::listen(&sockets)?;
    Ok(sockets)
}

/// A network, by sockets that stay in it wherever the process goes.
struct Network {
    /// Takes netdevice(7)'s requests.
    devices: OwnedFd,
    /// Takes rtnetlink(7)'s.
    routes: OwnedFd,
}

impl Network {
    fn here() -> io::Result<Network> {
        let flags = SocketFlags::CLOEXEC;
        let devices = socket_with(AddressFamily::INET, SocketType::DGRAM, flags, None)?;
        // Without a protocol's number it is that of NETLINK_ROUTE.
        let routes = socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, None)?;
        Ok(Network { devices, routes })
    }

    fn set(&self, device: &CStr, what: libc::c_ulong, value: libc::__c_anonymous_ifr_ifru) -> io::Result<()> {
        let mut request = libc::ifreq { ifr_name: [0; libc::IFNAMSIZ], ifr_ifru: value };
        for (to, from) in request.ifr_name.iter_mut().zip(device.to_bytes()) {
            *to = *from as libc::c_char;
        }
        // SAFETY: every request that is made here reads one ifreq.
        match unsafe { libc::ioctl(self.devices.as_raw_fd(), what as _, &raw const request) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }

    fn up(&self, device: &CStr) -> io::Result<()> {
        let flags = (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short;
        self.set(device, libc::SIOCSIFFLAGS, libc::__c_anonymous_ifr_ifru { ifru_flags: flags })
    }

    fn place(&self, device: &CStr, at: Ipv4Addr) -> io::Result<()> {
        self.set(device, libc::SIOCSIFADDR, address(at))?;
        self.set(device, libc::SIOCSIFNETMASK, address(MASK))?;
        self.up(device)
    }

    /// Makes the pair: one end in this network, the other in that of the process.
    fn pair(&self) -> io::Result<()> {
        const VETH_INFO_PEER: u16 = 1; // linux/veth.h
        let process = std::process::id().to_ne_bytes();
        let mut asked = Message::new(libc::RTM_NEWLINK, libc::NLM_F_CREATE | libc::NLM_F_EXCL, FAR_INDEX);
        asked.put(libc::IFLA_IFNAME, FAR.to_bytes_with_nul());
        asked.nest(libc::IFLA_LINKINFO, |info| {
            info.put(libc::IFLA_INFO_KIND, b"veth");
            info.nest(libc::IFLA_INFO_DATA, |data| {
                data.nest(VETH_INFO_PEER, |peer| {
                    peer.device(0);
                    peer.put(libc::IFLA_IFNAME, NEAR.to_bytes_with_nul());
                    peer.put(libc::IFLA_NET_NS_PID, &process);
                });
            });
        });
        self.ask(asked).map(drop)
    }

    /// Keeps the kernel from giving a device an address of version 6 when it is started.
    fn no_addresses_by_itself(&self, device: &CStr) -> io::Result<()> {
        const IFLA_INET6_ADDR_GEN_MODE: u16 = 8; // linux/if_link.h
        const IN6_ADDR_GEN_MODE_NONE: u8 = 1;
        let mut asked = Message::new(libc::RTM_NEWLINK, 0, 0);
        asked.put(libc::IFLA_IFNAME, device.to_bytes_with_nul());
        asked.nest(libc::IFLA_AF_SPEC, |families| {
            families.nest(libc::AF_INET6 as u16, |six| {
                six.put(IFLA_INET6_ADDR_GEN_MODE, &[IN6_ADDR_GEN_MODE_NONE]);
            });
        });
        self.ask(asked).map(drop)
    }

    /// Waits until what is sent from this end arrives, which comes a moment after both ends are up; asking hurries it (since
    /// Linux 6.9). Where that takes longer than it should, a first packet is lost and sent again.
    fn await_carrier(&self) -> io::Result<()> {
        const ATTRIBUTES: usize = 32; // after the heads of the answer and of the device
        for _ in 0..100 {
            let told = self.ask(Message::new(libc::RTM_GETLINK, 0, FAR_INDEX))?;
            let state = attribute(told.get(ATTRIBUTES..).unwrap_or_default(), libc::IFLA_OPERSTATE);
            if state == Some(&[libc::IF_OPER_UP as u8]) {
                break;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }

    /// Sends a request, and returns the answer if that is no error.
    fn ask(&self, asked: Message) -> io::Result<Vec<u8>> {
        let short = || io::Error::new(io::ErrorKind::UnexpectedEof, "an answer was cut");
        rustix::net::send(&self.routes, &asked.done(), SendFlags::empty())?;
        let mut answer = vec![0; 32 << 10];
        let (length, _) = rustix::net::recv(&self.routes, &mut answer[..], RecvFlags::empty())?;
        answer.truncate(length);
        let kind = answer.get(4..6).and_then(|raw| raw.try_into().ok()).map(u16::from_ne_bytes);
        if kind.ok_or_else(short)? == libc::NLMSG_ERROR as u16 {
            let error = answer.get(16..20).and_then(|raw| raw.try_into().ok()).map(i32::from_ne_bytes);
            match error.ok_or_else(short)? {
                0 => {}
                error => return Err(io::Error::from_raw_os_error(-error)),
            }
        }
        Ok(answer)
    }
}

fn address(address: Ipv4Addr) -> libc::__c_anonymous_ifr_ifru {
    // SAFETY: all zeros is a valid sockaddr, and a sockaddr_in is one.
    let ifru_addr = unsafe {
        let mut plain: libc::sockaddr_in = std::mem::zeroed();
        plain.sin_family = libc::AF_INET as libc::sa_family_t;
        plain.sin_addr.s_addr = u32::from_ne_bytes(address.octets());
        std::mem::transmute::<libc::sockaddr_in, libc::sockaddr>(plain)
    };
    libc::__c_anonymous_ifr_ifru { ifru_addr }
}

/// A request of rtnetlink(7) about a device.
struct Message(Vec<u8>);

impl Message {
    fn new(kind: u16, flags: i32, index: i32) -> Message {
        // An answer that only says that it is done is asked for where no other comes.
        let answered = if kind == libc::RTM_GETLINK { 0 } else { libc::NLM_F_ACK };
        let mut head = vec![0; 4]; // the length, when it is known
        head.extend(kind.to_ne_bytes());
        head.extend(((libc::NLM_F_REQUEST | answered | flags) as u16).to_ne_bytes());
        head.extend([0; 8]); // number and sender
        let mut message = Message(head);
        message.device(index);
        message
    }

    /// Puts the head of what is said of a device (`ifinfomsg`). Number 0 is the next that is free.
    fn device(&mut self, index: i32) {
        self.0.extend([0; 4]);
        self.0.extend(index.to_ne_bytes());
        self.0.extend([0; 8]);
    }

    fn put(&mut self, kind: u16, value: &[u8]) {
        self.nest(kind, |message| message.0.extend(value));
    }

    fn nest(&mut self, kind: u16, fill: impl FnOnce(&mut Message)) {
        let begin = self.0.len();
        self.0.extend([0; 2]);
        self.0.extend(kind.to_ne_bytes());
        fill(self);
        let length = (self.0.len() - begin) as u16;
        self.0[begin..begin + 2].copy_from_slice(&length.to_ne_bytes());
        self.0.resize(self.0.len().next_multiple_of(4), 0);
    }

    fn done(mut self) -> Vec<u8> {
        let length = (self.0.len() as u32).to_ne_bytes();
        self.0[..4].copy_from_slice(&length);
        self.0
    }
}

/// Returns the value of the first attribute of a kind.
fn attribute(mut attributes: &[u8], kind: u16) -> Option<&[u8]> {
    loop {
        let word = |at: usize| Some(u16::from_ne_bytes([*attributes.get(at)?, *attributes.get(at + 1)?]));
        let length = usize::from(word(0)?);
        let value = attributes.get(4..length)?;
        if word(2)? == kind {
            return Some(value);
        }
        attributes = attributes.get(length.next_multiple_of(4)..)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_put_into_a_message_is_found_in_it() {
        let mut message = Message::new(libc::RTM_NEWLINK, 0, 7);
        message.put(1, b"odd");
        message.nest(2, |inner| {
            inner.put(3, b"four");
            inner.put(4, b"");
        });
        let bytes = message.done();
        assert_eq!(bytes[..4], (bytes.len() as u32).to_ne_bytes());
        assert_eq!(bytes[20..24], 7i32.to_ne_bytes());
        let all = &bytes[32..];
        assert_eq!(attribute(all, 1), Some(&b"odd"[..]));
        let inner = attribute(all, 2).unwrap();
        assert_eq!(attribute(inner, 3), Some(&b"four"[..]));
        assert_eq!(attribute(inner, 4), Some(&b""[..]));
        assert_eq!(attribute(all, 3), None);
    }

    #[test]
    fn attributes_that_are_cut_are_none() {
        for raw in [&b""[..], &[1], &[4, 0, 1], &[0, 0, 9, 0], &[3, 0, 9, 0], &[9, 0, 1, 0, 0]] {
            assert_eq!(attribute(raw, 1), None, "{raw:?}");
        }
    }
}
