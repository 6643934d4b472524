//! Makes the listeners of network grants, inside the command's network, and hands
//! them to the host. The command gets none of them.

use super::{Step, lacking};
use crate::grant::Grant;
use rustix::net::{
    AddressFamily, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags, SocketType,
};
use std::io::IoSlice;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// Connections that wait to be taken.
const BACKLOG: i32 = 128;

/// The loopback must be up.
pub(super) fn open(grants: &[Grant], channel: &OwnedFd) -> Step<()> {
    let failed = |error| lacking::<rustix::io::Errno>("opening a granted connection")(error);
    let mut listeners = Vec::new();
    for grant in grants {
        let socket = rustix::net::socket_with(
            AddressFamily::INET,
            SocketType::STREAM,
            SocketFlags::CLOEXEC,
            None,
        )
        .map_err(failed)?;
        rustix::net::bind(&socket, &grant.listen).map_err(failed)?;
        rustix::net::listen(&socket, BACKLOG).map_err(failed)?;
        listeners.push(socket);
    }
    let fds: Vec<BorrowedFd<'_>> = listeners.iter().map(AsFd::as_fd).collect();
    let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(16))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    ancillary.push(SendAncillaryMessage::ScmRights(&fds));
    rustix::net::sendmsg(
        channel,
        &[IoSlice::new(b"!")],
        &mut ancillary,
        SendFlags::NOSIGNAL,
    )
    .map_err(failed)
    .map(drop)
}
