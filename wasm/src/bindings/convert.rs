//! Conversion of errors and policies for JavaScript.

use crate::{Error, ExitPolicy};
use js_sys::Reflect;
use wasm_bindgen::prelude::*;

pub(super) fn read_policy(policy: &JsValue) -> Result<ExitPolicy, JsValue> {
    let wrong = |problem: String| to_js(Error::Policy(problem));
    let json = js_sys::JSON::stringify(policy)?.as_string();
    let json = json.ok_or_else(|| wrong("expected an object".into()))?;
    serde_json::from_str(&json).map_err(|e| wrong(format!("{json}: {e}")))
}

/// Makes an `Error` with the `name` of this package's errors, and the kind of error as its `code`.
pub(super) fn error_to_js(code: &str, message: &str) -> JsValue {
    let error = js_sys::Error::new(message);
    error.set_name("EdgeError");
    // Setting a property of a new object cannot fail.
    let _ = Reflect::set(&error, &"code".into(), &code.into());
    error.into()
}

pub(super) fn to_js(error: Error) -> JsValue {
    let code = match error {
        Error::Stream(_) => "stream",
        Error::Bundle { .. } => "bundle",
        Error::Graph { .. } => "graph",
        Error::Tokenizer(_) => "tokenizer",
        Error::Policy(_) => "policy",
        Error::NotFinite { .. } => "not-finite",
        Error::Io { .. }
        | Error::File { .. }
        | Error::Incomplete { .. }
        | Error::Engine { .. }
        | Error::Gpu { .. } => "engine",
    };
    error_to_js(code, &error.to_string())
}
