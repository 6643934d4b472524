//! A guardrail that allows everything at once: what a decision costs before a policy
//! does any work. Measurements put a policy beside it.

use crate::error::BuildError;
use std::path::Path;
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};

/// Address 1024 holds the verdict `allow`, 512 the answer `ok`, 256 the description.
/// Memory is handed out upwards and never taken back, as the SDK does it.
const MODULE: &str = r#"(module
  (memory (export "memory") 4)
  (global $next (mut i32) (i32.const 131072))
  (data (i32.const 16) "idle")
  (data (i32.const 32) "1.0")
  (data (i32.const 48) "{}")
  ;; name, version, kind (guardrail), settings schema, no examples
  (data (i32.const 256) "\10\00\00\00\04\00\00\00\20\00\00\00\03\00\00\00\00\00\00\00\30\00\00\00\02\00\00\00\00\20\00\00\00\00\00\00")
  (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
    (local $start i32)
    (local.set $start (i32.and (i32.add (global.get $next) (i32.const 15)) (i32.const -16)))
    (global.set $next (i32.add (local.get $start) (local.get 3)))
    (if (i32.gt_u (global.get $next) (i32.mul (memory.size) (i32.const 65536)))
      (then (drop (memory.grow (i32.add (i32.const 1) (i32.div_u (local.get 3) (i32.const 65536)))))))
    (local.get $start))
  (func (export "describe") (result i32) (i32.const 256))
  (func (export "configure") (param i32 i32) (result i32) (i32.const 512))
  (func (export "selfheal:policy/judge@1.0.0#judge-tool-call") (param i32) (result i32) (i32.const 1024))
  (func (export "selfheal:policy/judge@1.0.0#judge-patch") (param i32) (result i32) (i32.const 1024)))"#;

/// The component; `wit` is the directory of the contract.
///
/// # Errors
/// The contract is none that this guardrail fits.
pub fn idle_guardrail(wit: &Path) -> Result<Vec<u8>, BuildError> {
    let wrong = |message: String| BuildError::NotAModule {
        what: "the idle guardrail".to_owned(),
        message,
    };
    let mut module = wat::parse_str(MODULE).map_err(|error| wrong(error.to_string()))?;
    let mut resolve = wit_parser::Resolve::default();
    let encoded = resolve
        .push_dir(wit)
        .and_then(|(package, _)| resolve.select_world(&[package], Some("guardrail")))
        .and_then(|world| {
            embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8)
        })
        .and_then(|()| ComponentEncoder::default().validate(true).module(&module))
        .and_then(|mut encoder| encoder.encode());
    encoded.map_err(|error| wrong(format!("{error:#}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_fits_the_contract() {
        let wit = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../guest-sdk/wit/v1");
        assert!(idle_guardrail(&wit).unwrap().starts_with(b"\0asm"));
    }
}
