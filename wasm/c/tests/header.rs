//! `include/edge_distil.h` is what cbindgen makes of the source.
//!
//! `EDGE_WRITE_HEADER=1 cargo test --package edge-runtime-c` writes it.

use std::path::Path;

#[test]
fn the_header_is_that_of_the_source() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let config = cbindgen::Config::from_file(root.join("cbindgen.toml")).unwrap();
    let mut made = Vec::new();
    cbindgen::generate_with_config(root, config).unwrap().write(&mut made);
    let made = String::from_utf8(made).unwrap();
    // Sections of rustdoc read the same in C with other words.
    let made = made.replace(" * # Safety\n", " * The caller sees to this:\n");
    let path = root.join("include/edge_distil.h");
    if std::env::var_os("EDGE_WRITE_HEADER").is_some() {
        std::fs::write(&path, &made).unwrap();
    }
    let stands = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        stands == made,
        "{} is not what cbindgen makes of the source; set EDGE_WRITE_HEADER=1 and run this test",
        path.display()
    );
}
