//! What must not compile: an effect without the receipt of its recorded intent.

/// What the forbidden ones differ from in one thing each. It compiles with this
/// test, so that the others need a check and no build of everything below.
#[expect(dead_code, reason = "its being compiled is the test")]
#[path = "permits/lawful.rs"]
mod lawful;

#[test]
fn permits_cannot_be_made_copied_reused_or_mixed_up() {
    let tests = trybuild::TestCases::new();
    tests.compile_fail("tests/permits/forged.rs");
    tests.compile_fail("tests/permits/issued.rs");
    tests.compile_fail("tests/permits/cloned.rs");
    tests.compile_fail("tests/permits/reused.rs");
    tests.compile_fail("tests/permits/other_act.rs");
    tests.compile_fail("tests/permits/omitted.rs");
    tests.compile_fail("tests/permits/changed.rs");
}
