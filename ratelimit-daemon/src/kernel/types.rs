//! Where the running kernel's TCP keeps what the program reads of a connection, from the kernel's type information.
#![forbid(unsafe_code)]

use anyhow::{Context, Result};
use btf_rs::{Btf, Struct, Type};
use ratelimit_common::layout::SocketOffsets;

/// The kernel's own type information.
const PATH: &str = "/sys/kernel/btf/vmlinux";

/// Finds the offsets. Errors: a kernel without type information (`CONFIG_DEBUG_INFO_BTF`), or whose TCP is kept
/// otherwise.
pub(crate) fn socket_offsets() -> Result<SocketOffsets> {
    let btf = Btf::from_file(PATH).with_context(|| format!("cannot read the kernel's types in {PATH}"))?;
    let full = structure(&btf, "tcp_sock")?;
    let request = structure(&btf, "tcp_request_sock")?;
    let full = |name| offset(&btf, &full, name).with_context(|| format!("tcp_sock.{name}"));
    let request = |name| offset(&btf, &request, name).with_context(|| format!("tcp_request_sock.{name}"));
    let find = || -> Result<SocketOffsets> {
        Ok(SocketOffsets {
            rcv_nxt: full("rcv_nxt")?,
            copied_seq: full("copied_seq")?,
            snd_una: full("snd_una")?,
            snd_nxt: full("snd_nxt")?,
            write_seq: full("write_seq")?,
            bytes_received: full("bytes_received")?,
            rcv_isn: request("rcv_isn")?,
            snt_isn: request("snt_isn")?,
        })
    };
    find().context("this kernel's TCP is not kept as the program expects it")
}

fn structure(btf: &Btf, name: &str) -> Result<Struct> {
    let types = btf.resolve_types_by_name(name).with_context(|| format!("the kernel has no type {name}"))?;
    let mut structures = types.into_iter().filter_map(|kind| match kind {
        Type::Struct(structure) => Some(structure),
        _ => None,
    });
    structures.next().with_context(|| format!("the kernel's {name} is no structure"))
}

/// The offset of a member in bytes.
fn offset(btf: &Btf, structure: &Struct, name: &str) -> Result<u32> {
    let is_named = |member: &&btf_rs::Member| btf.resolve_name(*member).is_ok_and(|found| found == name);
    let member = structure.members.iter().find(is_named).context("there is no such field")?;
    Ok(member.bit_offset() / 8)
}
