//! Embeds the kernel program, if `cargo xtask build` has built it.
//!
//! Without it everything compiles and the proxy works alone; attaching to an interface is then an error that
//! says what is missing.

use std::path::Path;
use std::{env, fs, io};

fn main() -> io::Result<()> {
    let object = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/ebpf/ratelimit");
    println!("cargo::rerun-if-changed={}", object.display());
    let program = fs::read(&object).unwrap_or_default();
    if program.is_empty() {
        println!(
            "cargo::warning=the kernel program is not built, so this ratelimitd can only run as a proxy: `cargo xtask build` builds both"
        );
    }
    let out = env::var_os("OUT_DIR").ok_or_else(|| io::Error::other("cargo has set no OUT_DIR"))?;
    fs::write(Path::new(&out).join("ratelimit.o"), program)
}
