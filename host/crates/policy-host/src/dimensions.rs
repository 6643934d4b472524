//! What a module may be made of. The compiler has no deadline and no memory limit of
//! its own, so what it would choke on is refused before it sees it: the work it is
//! given is then bounded by the size of the module.
//!
//! Refused are functions so large, or with so many variables, that compiling takes
//! longer than their size says, and components that instantiate each other so often
//! that a few hundred bytes stand for millions of instances.

use wasmparser::{
    ComponentAlias, ComponentExternalKind, ComponentInstance, ComponentOuterAliasKind,
    ComponentTypeRef, Encoding, Instance, Parser, Payload,
};

/// Largest body of a function, in bytes. The largest that compilers of real
/// languages make, an interpreter's loop, is below it.
const FUNCTION_BYTES: usize = 1 << 20;
/// Variables of a function. The compiler's work grows with variables times blocks.
const LOCALS: u64 = 4_096;
/// Functions in all.
const FUNCTIONS: u64 = 100_000;
/// Components within components.
const DEPTH: usize = 8;
/// Instances in all, each counted as often as it would be made.
const INSTANCES: u64 = 4_096;

/// Checks the module's dimensions; it may still be no module at all.
///
/// # Errors
/// What is too large, and how large it may be.
pub(crate) fn check(bytes: &[u8]) -> Result<(), String> {
    let mut stack: Vec<Level> = Vec::new();
    let mut functions = 0_u64;
    for payload in Parser::new(0).parse_all(bytes) {
        let payload = payload.map_err(|error| error.to_string())?;
        match payload {
            Payload::Version { encoding, .. } => {
                if stack.len() >= DEPTH {
                    return Err(format!("components are nested deeper than {DEPTH}"));
                }
                stack.push(Level::new(encoding));
            }
            Payload::End(_) => {
                let Some(done) = stack.pop() else {
                    continue;
                };
                if let (Some(outer), Encoding::Component) = (stack.last_mut(), done.encoding) {
                    outer.components.push(done.weight);
                }
            }
            Payload::CodeSectionEntry(body) => {
                functions += 1;
                check_function(functions, &body)?;
            }
            Payload::InstanceSection(instances) => {
                for instance in instances {
                    let instance = instance.map_err(|error| error.to_string())?;
                    if matches!(instance, Instance::Instantiate { .. }) {
                        add(&mut stack, 1)?;
                    }
                }
            }
            Payload::ComponentInstanceSection(instances) => {
                for instance in instances {
                    let instance = instance.map_err(|error| error.to_string())?;
                    let ComponentInstance::Instantiate {
                        component_index,
                        args,
                    } = instance
                    else {
                        continue;
                    };
                    if args
                        .iter()
                        .any(|arg| arg.kind == ComponentExternalKind::Component)
                    {
                        return Err(passed_around());
                    }
                    let weight = stack
                        .last()
                        .and_then(|level| level.component(component_index))
                        .ok_or("it instantiates a component that is not there")?;
                    add(&mut stack, weight.saturating_add(1))?;
                }
            }
            Payload::ComponentAliasSection(aliases) => {
                for alias in aliases {
                    match alias.map_err(|error| error.to_string())? {
                        ComponentAlias::Outer {
                            kind: ComponentOuterAliasKind::Component,
                            count,
                            index,
                        } => alias_outer(&mut stack, count, index)?,
                        ComponentAlias::InstanceExport {
                            kind: ComponentExternalKind::Component,
                            ..
                        } => return Err(passed_around()),
                        _ => {}
                    }
                }
            }
            Payload::ComponentImportSection(imports) => {
                for import in imports {
                    let import = import.map_err(|error| error.to_string())?;
                    if matches!(import.ty, ComponentTypeRef::Component(_)) {
                        return Err(passed_around());
                    }
                }
            }
            Payload::ComponentExportSection(exports) => {
                for export in exports {
                    let export = export.map_err(|error| error.to_string())?;
                    if export.kind == ComponentExternalKind::Component {
                        return Err(passed_around());
                    }
                }
            }
            _ => {}
        }
        if functions > FUNCTIONS {
            return Err(format!("it has more than {FUNCTIONS} functions"));
        }
    }
    Ok(())
}

/// A component, or a core module, while it is read.
struct Level {
    encoding: Encoding,
    /// Instances that instantiating each of its components would make.
    components: Vec<u64>,
    /// Instances that instantiating it makes.
    weight: u64,
}

impl Level {
    fn new(encoding: Encoding) -> Self {
        Self {
            encoding,
            components: Vec::new(),
            weight: 0,
        }
    }

    fn component(&self, index: u32) -> Option<u64> {
        self.components.get(usize::try_from(index).ok()?).copied()
    }
}

fn add(stack: &mut [Level], weight: u64) -> Result<(), String> {
    let Some(level) = stack.last_mut() else {
        return Ok(());
    };
    level.weight = level.weight.saturating_add(weight);
    if level.weight > INSTANCES {
        return Err(format!(
            "its components would make more than {INSTANCES} instances of each other"
        ));
    }
    Ok(())
}

fn alias_outer(stack: &mut [Level], count: u32, index: u32) -> Result<(), String> {
    let missing = || "it names a component that is not there".to_owned();
    let outer = usize::try_from(count)
        .ok()
        .and_then(|count| stack.len().checked_sub(count.checked_add(1)?))
        .and_then(|at| stack.get(at))
        .and_then(|level| level.component(index))
        .ok_or_else(missing)?;
    let level = stack.last_mut().ok_or_else(missing)?;
    level.components.push(outer);
    Ok(())
}

/// With these it could not be told from the outside how often one is instantiated.
fn passed_around() -> String {
    "it passes components around as values, which a module has no need of".to_owned()
}

fn check_function(number: u64, body: &wasmparser::FunctionBody<'_>) -> Result<(), String> {
    let bytes = body.range().len();
    if bytes > FUNCTION_BYTES {
        return Err(format!(
            "its function {number} has {bytes} bytes, and a function has at most {FUNCTION_BYTES}"
        ));
    }
    let mut locals = 0_u64;
    let readers = body
        .get_locals_reader()
        .map_err(|error| error.to_string())?;
    for group in readers {
        let (count, _) = group.map_err(|error| error.to_string())?;
        locals += u64::from(count);
        if locals > LOCALS {
            return Err(format!(
                "its function {number} has more than {LOCALS} variables"
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(text: &str) -> Result<(), String> {
        check(&wat::parse_str(text).unwrap())
    }

    /// Each component makes two of the one before it.
    fn doubling(levels: usize) -> String {
        let mut text = String::from(
            "(component (component $c0 (core module $m) (core instance (instantiate $m)))\n",
        );
        for level in 1..=levels {
            text.push_str(&format!(
                "(component $c{level} (alias outer 1 {before} (component $c)) (instance (instantiate $c)) (instance (instantiate $c)))\n",
                before = level - 1
            ));
        }
        text.push_str(&format!("(instance (instantiate $c{levels})))"));
        text
    }

    #[test]
    fn instances_are_counted_as_often_as_they_are_made() {
        assert_eq!(checked(&doubling(8)), Ok(()));
        for levels in [12, 40, 200] {
            assert!(
                checked(&doubling(levels))
                    .unwrap_err()
                    .contains("4096 instances")
            );
        }
    }

    #[test]
    fn components_are_no_values() {
        for text in [
            "(component (import \"c\" (component)))",
            "(component (component $c) (export \"c\" (component $c)))",
        ] {
            assert!(checked(text).unwrap_err().contains("as values"), "{text}");
        }
    }

    #[test]
    fn functions_have_bounds() {
        let large = "(nop)".repeat(FUNCTION_BYTES + 1);
        assert!(
            checked(&format!("(module (func {large}))"))
                .unwrap_err()
                .contains("function 1 has")
        );
        let locals = "(local i32)".repeat(5_000);
        assert!(
            checked(&format!("(module (func) (func {locals}))"))
                .unwrap_err()
                .contains("function 2 has more than 4096")
        );
        let nested = "(component ".repeat(20) + &")".repeat(20);
        assert!(checked(&nested).unwrap_err().contains("deeper than 8"));
        assert_eq!(checked("(module (func (local i32 i64)))"), Ok(()));
    }

    #[test]
    fn nonsense_is_an_error_and_no_more() {
        for bytes in [
            &b""[..],
            b"\0asm",
            b"\0asm\x01\0\0\0\x0a\xff\xff\xff\xff\x0f",
            b"#!/bin/sh",
        ] {
            assert!(check(bytes).is_err());
        }
    }
}
