//! Build script that sets the soname of the shared library, so programs record its name, not a
//! path.

fn main() {
    if std::env::var("CARGO_CFG_TARGET_OS").is_ok_and(|os| os == "linux" || os == "android") {
        println!("cargo::rustc-cdylib-link-arg=-Wl,-soname,libedge_distil.so");
    }
    println!("cargo::rerun-if-changed=build.rs");
}
