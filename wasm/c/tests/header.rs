//! Test that `include/edge_distil.h` equals the output of cbindgen.
//!
//! `EDGE_WRITE_HEADER=1 cargo test --package edge-runtime-c` writes the header.

use std::path::Path;

#[test]
fn the_header_is_that_of_the_source() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let config = cbindgen::Config::from_file(root.join("cbindgen.toml")).unwrap();
    let mut made = Vec::new();
    cbindgen::generate_with_config(root, config).unwrap().write(&mut made);
    let made = String::from_utf8(made).unwrap();
    // C has no `# Safety` sections.
    let made = made.replace(" * # Safety\n", " * The caller must ensure:\n");
    let path = root.join("include/edge_distil.h");
    if std::env::var_os("EDGE_WRITE_HEADER").is_some() {
        std::fs::write(&path, &made).unwrap();
    }
    let stands = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        stands == made,
        "{} differs from the output of cbindgen; set EDGE_WRITE_HEADER=1 and run this test",
        path.display()
    );
}
