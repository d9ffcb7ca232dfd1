//! `edge-bindgen INPUT.wasm OUT_DIR`: writes an ES module for the web, its types and the finished
//! `.wasm` into `OUT_DIR`. It stands in the workspace so that Cargo.lock holds it at the version of
//! the `wasm-bindgen` that the runtime was compiled with; any other version refuses the file.

use anyhow::{Context, Result, bail};
use wasm_bindgen_cli_support::Bindgen;

fn main() -> Result<()> {
    let args: Vec<_> = std::env::args_os().skip(1).collect();
    let [input, out_dir] = args.as_slice() else {
        bail!("usage: edge-bindgen INPUT.wasm OUT_DIR");
    };
    Bindgen::new()
        .web(true)?
        .typescript(true)
        .omit_default_module_path(false)
        .remove_name_section(true)
        .remove_producers_section(true)
        .input_path(input)
        .out_name("edge_runtime")
        .generate(out_dir)
        .with_context(|| format!("cannot make JavaScript of {}", input.display()))
}
