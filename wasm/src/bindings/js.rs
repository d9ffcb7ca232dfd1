//! JavaScript, through wasm-bindgen.
