//! What must not compile: an effect without the receipt of its recorded intent.

#[test]
fn permits_cannot_be_made_copied_reused_or_mixed_up() {
    let tests = trybuild::TestCases::new();
    tests.pass("tests/permits/lawful.rs");
    tests.compile_fail("tests/permits/forged.rs");
    tests.compile_fail("tests/permits/issued.rs");
    tests.compile_fail("tests/permits/cloned.rs");
    tests.compile_fail("tests/permits/reused.rs");
    tests.compile_fail("tests/permits/other_act.rs");
    tests.compile_fail("tests/permits/omitted.rs");
    tests.compile_fail("tests/permits/changed.rs");
}
