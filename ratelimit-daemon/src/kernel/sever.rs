//! Severing a pinned link from its interface at once: aya has no call for it. A link whose last pin is removed is let go by
//! the kernel a moment later, and until then its program enforces limits that nobody has any more.

use rustix::io::Errno;
use std::ffi::CString;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// `BPF_OBJ_GET` and `BPF_LINK_DETACH` of the kernel's `bpf.h`.
const GET: u32 = 7;
const DETACH: u32 = 34;

/// What `bpf(2)` is told for either.
#[repr(C)]
struct Attributes {
    /// A path's address; for [`DETACH`] its low half is the link, and the rest is zero.
    first: u64,
    rest: u64,
}

/// Severs the link that is pinned at `path`. One whose interface is gone is severed already.
pub(super) fn sever(path: &Path) -> io::Result<()> {
    let text = CString::new(path.as_os_str().as_bytes())?;
    let fd = call(GET, &Attributes { first: text.as_ptr().addr() as u64, rest: 0 })?;
    // SAFETY: the kernel has just opened it, and nobody else has it.
    let link = unsafe { OwnedFd::from_raw_fd(fd) };
    match call(DETACH, &Attributes { first: link.as_raw_fd() as u64, rest: 0 }) {
        Err(error) if error.raw_os_error() == Some(Errno::NOLINK.raw_os_error()) => Ok(()),
        result => result.map(drop),
    }
}

fn call(command: u32, attributes: &Attributes) -> io::Result<RawFd> {
    // SAFETY: the attributes are as long as is said, and what they point to outlives the call.
    let result = unsafe {
        libc::syscall(libc::SYS_bpf, command, std::ptr::from_ref(attributes), size_of_val(attributes))
    };
    // A file's number, zero or minus one.
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result as RawFd) }
}
