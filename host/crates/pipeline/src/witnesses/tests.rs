//! Each way in which a patch weakens tests, in each language; and what is none.

use super::*;
use Weakening::{
    Bypassed, Changed, Configuration, Deleted, Emptied, Expectation, Loosened, Removed, Skipped,
    Tolerance,
};

fn file(path: &str, before: &str, after: &str) -> FileChange {
    let side = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    FileChange {
        path: path.to_owned(),
        before: side(before),
        after: side(after),
    }
}

fn ways(path: &str, before: &str, after: &str) -> Vec<Weakening> {
    let patch = Patch::of(vec![file(path, before, after)]);
    weakened(&patch).into_iter().map(|it| it.how).collect()
}

fn python(body: &str) -> String {
    format!(
        "import pytest\n\nclass TestCart:\n    def test_a(self):\n{body}\n    def test_b(self):\n        assert g() == 2\n"
    )
}

#[test]
fn python_tests_that_ask_less_are_found() {
    let before = python("        total = f(1)\n        assert total == 3");
    for (after, how) in [
        ("        total = f(1)", Removed),
        ("        assert True", Emptied),
        (
            "        total = f(1)\n        assert total == total",
            Emptied,
        ),
        (
            "        total = f(1)\n        assert total == 4",
            Expectation,
        ),
        ("        total = f(1)\n        assert total >= 3", Loosened),
        (
            "        total = f(1)\n        assert total == pytest.approx(3, abs=2)",
            Loosened,
        ),
        (
            "        total = f(1)\n        assert other == 3 + zero",
            Changed,
        ),
        (
            "        pytest.skip('flaky')\n        total = f(1)\n        assert total == 3",
            Skipped,
        ),
        (
            "        raise unittest.SkipTest\n        assert total == 3",
            Skipped,
        ),
        ("        return\n        assert total == 3", Bypassed),
        (
            "        try:\n            total = f(1)\n            assert total == 3\n        except Exception:\n            pass",
            Bypassed,
        ),
    ] {
        assert_eq!(
            ways("tests/test_cart.py", &before, &python(after)),
            [how],
            "{after}"
        );
    }
    let all = "tests/test_cart.py";
    assert_eq!(ways(all, &before, ""), [Deleted, Deleted]);
    for (from, to, how) in [
        (
            "    def test_a",
            "    @pytest.mark.skip\n    def test_a",
            Skipped,
        ),
        (
            "    def test_a",
            "    @pytest.mark.xfail(\n        reason='x')\n    def test_a",
            Skipped,
        ),
        (
            "    def test_a",
            "    @unittest.skipIf(True, 'x')\n    def test_a",
            Skipped,
        ),
        (
            "class TestCart",
            "@unittest.expectedFailure\nclass TestCart",
            Skipped,
        ),
        (
            "import pytest\n",
            "import pytest\npytestmark = pytest.mark.skip\n",
            Skipped,
        ),
        (
            "def test_a(self):\n        total",
            "def check_a(self):\n        total",
            Deleted,
        ),
    ] {
        assert_eq!(ways(all, &before, &before.replace(from, to)), [how], "{to}");
    }
    let close = "def test_x():\n    self.assertAlmostEqual(f(), 3.14, places=7)\n";
    assert_eq!(
        ways("test_x.py", close, &close.replace('7', "0")),
        [Tolerance]
    );
    let raises = "def test_x():\n    with pytest.raises(ValueError):\n        f()\n";
    assert_eq!(
        ways(
            "test_x.py",
            raises,
            &raises.replace("ValueError", "Exception")
        ),
        [Changed]
    );
    let helper = "def check(x):\n    assert x == 1\n\ndef test_x():\n    check(f())\n";
    assert_eq!(
        ways(
            "test_x.py",
            helper,
            &helper.replace("assert x == 1", "pass")
        ),
        [Removed]
    );
}

#[test]
fn javascript_tests_that_ask_less_are_found() {
    let before = "describe('cart', () => {\n  it('adds', async () => {\n    expect(add(1, 2)).toBe(3);\n  });\n  test(`more`, t => { assert.deepStrictEqual(f(), [1]); });\n});\n";
    for (from, to, how) in [
        ("it('adds'", "it.skip('adds'", Skipped),
        ("it('adds'", "xit('adds'", Skipped),
        ("it('adds'", "it.only('adds'", Skipped),
        ("describe('cart'", "describe.skip('cart'", Skipped),
        ("test(`more`, ", "test(`more`, { skip: true }, ", Skipped),
        ("{ assert", "{ t.skip(); assert", Skipped),
        (".toBe(3)", ".toBe(4)", Expectation),
        (".toBe(3)", ".toBeDefined()", Loosened),
        (".toBe(3)", ".toBeCloseTo(3, 0)", Loosened),
        (
            "expect(add(1, 2)).toBe(3)",
            "expect(true).toBe(true)",
            Emptied,
        ),
        ("expect(add(1, 2)).toBe(3);", "add(1, 2);", Removed),
        ("    expect(add", "    return; expect(add", Bypassed),
        (
            "assert.deepStrictEqual(f(), [1]);",
            "try { assert.deepStrictEqual(f(), [1]); } catch {}",
            Bypassed,
        ),
        (
            "assert.deepStrictEqual(f(), [1])",
            "assert.ok(f())",
            Loosened,
        ),
        (
            "it('adds', async () => {\n    expect(add(1, 2)).toBe(3);\n  });",
            "",
            Deleted,
        ),
    ] {
        let after = before.replace(from, to);
        assert_ne!(after, before, "{from}");
        assert_eq!(ways("src/cart.test.ts", before, &after), [how], "{to}");
    }
}

#[test]
fn rust_tests_that_ask_less_are_found_beside_the_code_too() {
    let before = "pub fn add(a: u8) -> u8 { assert!(a > 0); a + 1 }\n\n#[cfg(test)]\nmod tests {\n    use super::*;\n\n    #[test]\n    fn adds() {\n        assert_eq!(add(1), 2);\n    }\n\n    #[tokio::test]\n    async fn more() {\n        assert!((half() - 0.5).abs() < 0.001);\n    }\n}\n";
    for (from, to, how) in [
        (
            "    #[test]\n",
            "    #[test]\n    #[ignore = \"slow\"]\n",
            Skipped,
        ),
        (
            "    #[test]\n",
            "    #[test]\n    #[should_panic]\n",
            Skipped,
        ),
        ("#[cfg(test)]", "#[cfg(any())]", Skipped),
        (
            "assert_eq!(add(1), 2)",
            "assert_eq!(add(1), 3)",
            Expectation,
        ),
        ("assert_eq!(add(1), 2)", "assert!(add(1) > 0)", Loosened),
        ("assert_eq!(add(1), 2)", "assert!(true)", Emptied),
        ("assert_eq!(add(1), 2);", "add(1);", Removed),
        ("0.001", "10.0", Tolerance),
        ("    #[test]\n    fn adds", "    fn adds", Deleted),
    ] {
        let after = before.replace(from, to);
        assert_ne!(after, before, "{from}");
        let file = file("src/lib.rs", before, &after);
        assert!(ways("src/lib.rs", before, &after).contains(&how), "{to}");
        assert!(from.contains("cfg") || holds_tests(&file), "{to}");
    }
    let code = before.replace("a + 1", "a + 2").replace("a > 0", "true");
    assert_eq!(ways("src/lib.rs", before, &code), []);
    assert!(!holds_tests(&file("src/lib.rs", before, &code)));
}

#[test]
fn tests_that_ask_as_much_or_more_are_none() {
    let before = python("        total = f(1)\n        assert total == 3");
    for after in [
        before.clone() + "\ndef test_more():\n    assert h() == 1\n",
        before.replace(
            "assert total == 3",
            "assert total == 3\n        assert other == 1",
        ),
        before.replace("assert total == 3", "# new\n        assert total==3"),
        before.replace("def test_a", "def test_sum"),
        before.replace("total = f(1)", "total = f(1, tax=0)"),
    ] {
        assert_eq!(ways("tests/test_cart.py", &before, &after), [], "{after}");
    }
    let loose = "def test_x():\n    assert f()\n";
    assert_eq!(
        ways("test_x.py", loose, &loose.replace("f()", "f() == 1")),
        []
    );
    // A test that moves to another file is there as before.
    let moved = Patch::of(vec![
        file("test_a.py", "def test_x():\n    assert f() == 1\n", ""),
        file("test_b.py", "", "def test_x():\n    assert f() == 1\n"),
    ]);
    assert_eq!(weakened(&moved), []);
    // Code is no test, whatever it asserts.
    assert_eq!(ways("cart.py", "assert f() == 1\n", "pass\n"), []);
}

#[test]
fn how_tests_are_run_is_found_in_files_that_say_other_things_too() {
    let project = "[project]\nname = 'x'\n\n[tool.pytest.ini_options]\naddopts = '-q'\n";
    let package = "{\n  \"scripts\": {\n    \"start\": \"a\",\n    \"test\": \"jest\"\n  },\n  \"jest\": {\n    \"bail\": 1\n  }\n}\n";
    for (path, before, after, found) in [
        ("pytest.ini", "a", "b", true),
        ("web/jest.config.mjs", "a", "b", true),
        (".nycrc.json", "", "b", true),
        (
            "pyproject.toml",
            project,
            &project.replace("-q", "-k 'not x'"),
            true,
        ),
        (
            "pyproject.toml",
            project,
            &project.replace("'x'", "'y'"),
            false,
        ),
        (
            "package.json",
            package,
            &package.replace("\"jest\"\n", "\"true\"\n"),
            true,
        ),
        (
            "package.json",
            package,
            &package.replace("\"bail\": 1", "\"bail\": 0"),
            true,
        ),
        (
            "package.json",
            package,
            &package.replace("\"a\"", "\"b\""),
            false,
        ),
        ("Cargo.toml", "[lib]\n", "[lib]\ntest = false\n", true),
        (
            "Cargo.toml",
            "[package]\n",
            "[package]\nname = 'a'\n",
            false,
        ),
        ("src/__snapshots__/cart.js.snap", "a", "b", true),
        ("src/jest.py", "a", "b", false),
    ] {
        let found_here = ways(path, before, after) == [Configuration];
        assert_eq!(found_here, found, "{path}: {after}");
        assert_eq!(holds_tests(&file(path, before, after)), found, "{path}");
    }
}

#[test]
fn a_patch_is_judged_by_the_tests_that_were_there() {
    let rust = "fn f() -> u8 { 1 }\n#[cfg(test)]\nmod tests {\n    #[test]\n    fn f() { assert_eq!(super::f(), 2); }\n}\n";
    let patch = Patch::of(vec![
        file("a.py", "a\n", "b\n"),
        file("tests/test_a.py", "a\n", "b\n"),
        file("pytest.ini", "a\n", "b\n"),
        file(
            "src/lib.rs",
            rust,
            &rust.replace("{ 1 }", "{ 3 }").replace(", 2)", ", 3)"),
        ),
    ]);
    let judged = without_tests(&patch);
    let paths: Vec<&str> = judged.files.iter().map(|it| it.path.as_str()).collect();
    assert_eq!(paths, ["a.py", "src/lib.rs"]);
    let lib = judged.files[1].after.as_deref().unwrap();
    assert!(
        lib.contains("{ 3 }") && lib.contains("super::f(), 2)"),
        "{lib}"
    );
    // Where the tests stay, the file is as the patch has it.
    let code = rust.replace("{ 1 }", "{ 2 }");
    let patch = Patch::of(vec![file("src/lib.rs", rust, &code)]);
    assert_eq!(without_tests(&patch), patch);
}

#[test]
fn no_source_is_too_strange() {
    for text in [
        "(((",
        ")))",
        "#[",
        "#[test]",
        "#[test] fn",
        "it('",
        "it.each(",
        "def",
        "class\n",
        "@",
        "assert",
        "expect(",
        "x.should.",
        "raise",
        "assert (",
        "fn f(",
        "#[cfg(test)] mod x {",
    ] {
        for path in ["test_a.py", "a.test.js", "tests/a.rs"] {
            ways(path, text, "x");
            ways(path, "x", text);
            without_tests(&Patch::of(vec![file("src/a.rs", text, "x")]));
            without_tests(&Patch::of(vec![file("src/a.rs", "x", text)]));
        }
    }
}
