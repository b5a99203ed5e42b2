//! Embeds the kernel program and the dashboard's pages, if `cargo xtask build` has built them.
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
    fs::write(Path::new(&out).join("ratelimit.o"), program)?;
    dashboard(&Path::new(&out).join("dashboard"))
}

/// Without its files the dashboard's listener says that they are missing; what it tells programs it tells all the same.
fn dashboard(out: &Path) -> io::Result<()> {
    let built = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/dashboard");
    fs::create_dir_all(out)?;
    for name in ["index.html", "app.js", "app.css"] {
        let file = built.join(name);
        println!("cargo::rerun-if-changed={}", file.display());
        fs::write(out.join(name), fs::read(&file).unwrap_or_default())?;
    }
    Ok(())
}
