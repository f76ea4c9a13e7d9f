//! At a fixed address the file needs no relocations, which each process would have in memory for itself.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rustc-link-arg-bins=-no-pie");
}
