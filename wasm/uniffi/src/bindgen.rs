//! Generator of the code for Kotlin, Swift or Python:
//! `uniffi-bindgen generate --language kotlin --out-dir FOLDER libedge_distil_uniffi.so`.

fn main() {
    uniffi::uniffi_bindgen_main();
}
