//! Packet socket. Source: packet(7), socket(7), and
//! `Documentation/networking/timestamping.rst` of the kernel.

use std::io::{self, IoSliceMut};
use std::os::fd::AsRawFd;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use etherparse::{LaxSlicedPacket, TransportSlice};
use nix::sys::socket::{
    ControlMessageOwned, MsgFlags, TimestampingFlag, Timestamps, recvmsg, setsockopt, sockopt,
};
use socket2::{Domain, Protocol, Socket, Type};

use super::filter::filter;

/// The receive buffer, in bytes as the kernel counts them: about ten thousand packets.
const BUFFER_BYTES: usize = 16 << 20;

/// The timeout of a read, after which the thread checks whether to stop.
const READ_TIMEOUT: Duration = Duration::from_secs(1);

/// An open packet socket.
pub(super) struct Tap {
    socket: Socket,
    mark_port: u16,
    space: Vec<u8>,
    control: Vec<u8>,
}

/// A packet from the socket.
pub(super) struct Frame<'a> {
    /// When the kernel received it, since the epoch.
    pub(super) at: Duration,
    /// Whether the time is a timestamp of the kernel. The kernel starts stamping shortly after the
    /// request; before that, the time is when the packet was read.
    pub(super) stamped: bool,
    /// Its beginning.
    pub(super) bytes: &'a [u8],
    /// Its number, if it is a mark.
    pub(super) mark: Option<u64>,
    /// The number of packets dropped so far because the buffer was full.
    pub(super) lost: u64,
}

impl Tap {
    /// Opens a socket for TCP on the loopback device and for UDP to `mark_port` there, with at most
    /// `snap_bytes` of each packet.
    ///
    /// The socket is open to all protocols, and the filter selects. Such a socket gets packets
    /// before IP does, and IPv4 and IPv6 packets in the order in which they were sent.
    pub(super) fn open(mark_port: u16, snap_bytes: u32) -> io::Result<Tap> {
        Tap::with_buffer(mark_port, snap_bytes, BUFFER_BYTES)
    }

    fn with_buffer(mark_port: u16, snap_bytes: u32, buffer_bytes: usize) -> io::Result<Tap> {
        let all = i32::from((libc::ETH_P_ALL as u16).to_be());
        let socket = Socket::new(Domain::PACKET, Type::RAW, Some(Protocol::from(all)))?;
        socket.attach_filter(&filter(mark_port, snap_bytes))?;
        // With CAP_NET_ADMIN the limit of net.core.rmem_max does not apply.
        setsockopt(&socket, sockopt::RcvBufForce, &buffer_bytes)
            .map_err(io::Error::from)
            .or_else(|_| socket.set_recv_buffer_size(buffer_bytes))?;
        // The older SO_TIMESTAMP invents a time if a packet has none.
        let stamps = TimestampingFlag::SOF_TIMESTAMPING_RX_SOFTWARE
            | TimestampingFlag::SOF_TIMESTAMPING_SOFTWARE;
        setsockopt(&socket, sockopt::Timestamping, &stamps)?;
        setsockopt(&socket, sockopt::RxqOvfl, &1)?;
        socket.set_read_timeout(Some(READ_TIMEOUT))?;
        let space = vec![0; snap_bytes as usize];
        Ok(Tap { socket, mark_port, space, control: nix::cmsg_space!(Timestamps, u32) })
    }

    /// Waits for the next packet. `None`: no packet arrived before the timeout.
    pub(super) fn read(&mut self) -> io::Result<Option<Frame<'_>>> {
        let (bytes, at, lost) = match self.receive() {
            Ok(received) => received,
            Err(error) => {
                let nothing = [io::ErrorKind::WouldBlock, io::ErrorKind::Interrupted];
                return if nothing.contains(&error.kind()) { Ok(None) } else { Err(error) };
            }
        };
        let bytes = &self.space[..bytes];
        let now = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Ok(Some(Frame {
            at: at.unwrap_or_else(now),
            stamped: at.is_some(),
            bytes,
            mark: mark(bytes, self.mark_port),
            lost,
        }))
    }

    /// Its length, when the kernel saw it, and how many were lost by then.
    fn receive(&mut self) -> io::Result<(usize, Option<Duration>, u64)> {
        let fd = self.socket.as_raw_fd();
        let mut space = [IoSliceMut::new(&mut self.space)];
        let control = Some(self.control.as_mut_slice());
        let message = recvmsg::<()>(fd, &mut space, control, MsgFlags::empty())?;
        let (mut at, mut lost) = (None, 0);
        for told in message.cmsgs()? {
            match told {
                ControlMessageOwned::ScmTimestampsns(times) => at = Some(times.system.into()),
                ControlMessageOwned::RxqOvfl(count) => lost = u64::from(count),
                _ => {}
            }
        }
        Ok((message.bytes, at, lost))
    }
}

/// The number of a mark.
fn mark(bytes: &[u8], mark_port: u16) -> Option<u64> {
    match LaxSlicedPacket::from_ethernet(bytes).ok()?.transport? {
        TransportSlice::Udp(udp)
            if [udp.source_port(), udp.destination_port()] == [mark_port; 2] =>
        {
            Some(u64::from_be_bytes(udp.payload().try_into().ok()?))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;

    use super::*;

    /// `None` without CAP_NET_RAW, with a line about the skip.
    fn narrow_tap(mark_port: u16) -> Option<Tap> {
        match Tap::with_buffer(mark_port, 160, 1) {
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                super::super::skip::skips("CAP_NET_RAW");
                None
            }
            tap => Some(tap.unwrap()),
        }
    }

    #[test]
    fn packets_that_are_not_read_in_time_are_counted() {
        let marker = UdpSocket::bind("127.0.0.1:0").unwrap();
        let own = marker.local_addr().unwrap();
        marker.connect(own).unwrap();
        let Some(mut tap) = narrow_tap(own.port()) else { return };
        let marks = |number: u64| marker.send(&number.to_be_bytes()).unwrap();
        (1..=100).for_each(|number| _ = marks(number));
        // The waiting packets came before the first loss; a later packet has the count.
        let mut seen = 0;
        let lost = loop {
            match tap.read().unwrap() {
                Some(frame) if frame.mark == Some(101) => break frame.lost,
                Some(frame) if frame.mark.is_some() => seen += 1,
                _ => {} // TCP of other tests
            }
            marks(101);
        };
        assert!(seen < 100 && lost >= 100 - seen, "{seen} seen, {lost} lost");
    }

    #[test]
    fn other_ports_and_other_lengths_are_no_marks() {
        let frame = |source: u16, target: u16, payload: &[u8]| {
            let mut bytes = Vec::new();
            etherparse::PacketBuilder::ethernet2([0; 6], [0; 6])
                .ipv4([127, 0, 0, 1], [127, 0, 0, 1], 64)
                .udp(source, target)
                .write(&mut bytes, payload)
                .unwrap();
            bytes
        };
        let eight = 7_u64.to_be_bytes();
        assert_eq!(mark(&frame(5, 5, &eight), 5), Some(7));
        assert_eq!(mark(&frame(4, 5, &eight), 5), None);
        assert_eq!(mark(&frame(5, 4, &eight), 5), None);
        assert_eq!(mark(&frame(5, 5, &eight[1..]), 5), None);
        assert_eq!(mark(&[], 5), None);
    }
}
