//! Each case: a wrong program, the right one, and that the templates lead from
//! one to the other early enough to be found.

use super::{Knowledge, generate};
use crate::observe::Hint;
use crate::source::Source;

fn knowledge(text: &str) -> Knowledge {
    Knowledge {
        heat: (1..=text.lines().count() as u32)
            .map(|line| (line, 1.0))
            .collect(),
        ..Knowledge::default()
    }
}

/// Place of the right program among the candidates, and how many there are.
fn place(path: &str, before: &str, after: &str, know: &Knowledge) -> (Option<usize>, usize) {
    let source = Source::new(path, before).unwrap();
    let mut all = generate(&source, know);
    all.sort_by(|a, b| a.priority().total_cmp(&b.priority()));
    let tidy = |text: &str| text.trim_end().to_owned();
    let found = all.iter().position(|candidate| {
        candidate
            .apply(before)
            .is_some_and(|text| tidy(&text) == tidy(after))
    });
    (found, all.len())
}

#[track_caller]
fn check(path: &str, before: &str, after: &str, within: usize) {
    let (found, all) = place(path, before, after, &knowledge(before));
    assert!(
        found.is_some_and(|at| at < within),
        "{found:?} of {all} for\n{after}"
    );
}

#[test]
fn slips_in_expressions() {
    check(
        "a.py",
        "def f(a, b):\n    return a < b\n",
        "def f(a, b):\n    return a <= b\n",
        20,
    );
    check(
        "a.py",
        "def f(a, b):\n    return a and b\n",
        "def f(a, b):\n    return a or b\n",
        20,
    );
    check(
        "a.py",
        "def f(x):\n    return x[0]\n",
        "def f(x):\n    return x[-1]\n",
        20,
    );
    check(
        "a.py",
        "def f(n):\n    return [i for i in range(n)]\n",
        "def f(n):\n    return [i for i in range(n + 1)]\n",
        20,
    );
    check(
        "a.py",
        "def f(a, b):\n    return g(a, b)\n",
        "def f(a, b):\n    return g(b, a)\n",
        30,
    );
    check(
        "a.py",
        "def f(s):\n    return s[1:]\n",
        "def f(s):\n    return s[:1]\n",
        40,
    );
    check(
        "a.py",
        "def f(r, c):\n    return [[0] * c] * r\n",
        "def f(r, c):\n    return [[0] * c for _ in range(r)]\n",
        20,
    );
    check(
        "a.py",
        "def f(a, b):\n    return a // b\n",
        "def f(a, b):\n    return (a + b - 1) // b\n",
        30,
    );
    check(
        "a.py",
        "def f(x, y=[]):\n    y.append(x)\n    return y\n",
        "def f(x, y=None):\n    if y is None:\n        y = []\n    y.append(x)\n    return y\n",
        10,
    );
}

#[test]
fn statements_out_of_place_or_missing() {
    check(
        "a.py",
        "def f(xs):\n    for x in xs:\n        if x:\n            pass\n        return 1\n",
        "def f(xs):\n    for x in xs:\n        if x:\n            pass\n    return 1\n",
        60,
    );
    check(
        "a.py",
        "def f(x):\n    y = x + 1\n",
        "def f(x):\n    y = x + 1\n    return y\n",
        60,
    );
    check(
        "a.py",
        "def f(a, i, b, j):\n    m = []\n    m.extend(a[i:])\n    return m\n",
        "def f(a, i, b, j):\n    m = []\n    m.extend(a[i:])\n    m.extend(b[j:])\n    return m\n",
        500,
    );
    check(
        "a.py",
        "def f(xs):\n    seen = set()\n    for a, b in xs:\n        if (a, b) in seen:\n            continue\n        print(a)\n",
        "def f(xs):\n    seen = set()\n    for a, b in xs:\n        if (a, b) in seen:\n            continue\n        seen.add((a, b))\n        print(a)\n",
        500,
    );
    check(
        "a.py",
        "def f(w, users):\n    for u in users:\n        if w[u] == 0:\n            print(u)\n",
        "def f(w, users):\n    for u in users:\n        w[u] -= 1\n        if w[u] == 0:\n            print(u)\n",
        400,
    );
    check(
        "a.js",
        "class M {\n  constructor(s) {\n    this.state = s;\n  }\n  fire(next) {\n    this.log(next);\n    return next;\n  }\n}\n",
        "class M {\n  constructor(s) {\n    this.state = s;\n  }\n  fire(next) {\n    this.state = next;\n    this.log(next);\n    return next;\n  }\n}\n",
        300,
    );
}

#[test]
fn javascript_slips() {
    check(
        "a.js",
        "function f(a) {\n  return a.sort();\n}\n",
        "function f(a) {\n  return a.sort((a, b) => a - b);\n}\n",
        10,
    );
    check(
        "a.js",
        "function f(n) {\n  for (var i = 0; i < n; i++) g(() => i);\n}\n",
        "function f(n) {\n  for (let i = 0; i < n; i++) g(() => i);\n}\n",
        30,
    );
    check(
        "a.js",
        "async function f() {\n  const x = g();\n  return x;\n}\n",
        "async function f() {\n  const x = await g();\n  return x;\n}\n",
        30,
    );
    check(
        "a.js",
        "function f(a, b) {\n  return a || b;\n}\n",
        "function f(a, b) {\n  return a ?? b;\n}\n",
        20,
    );
    check(
        "a.js",
        "const f = (m, r, c) => m[r][c];\n",
        "const f = (m, r, c) => m[c][r];\n",
        60,
    );
}

#[test]
fn errors_name_the_repair() {
    let before = "def f(x):\n    return math.floor(x)\n";
    let mut know = knowledge(before);
    know.hints.push(Hint {
        kind: "import".into(),
        wrong: "math".into(),
        right: vec!["import math".into()],
    });
    let (found, _) = place(
        "a.py",
        before,
        "import math\ndef f(x):\n    return math.floor(x)\n",
        &know,
    );
    assert_eq!(found, Some(0));

    let before = "def f(row):\n    return row['qty']\n";
    let mut know = knowledge(before);
    know.hints.push(Hint {
        kind: "key".into(),
        wrong: "qty".into(),
        right: vec!["quantity".into()],
    });
    let (found, _) = place(
        "a.py",
        before,
        "def f(row):\n    return row['quantity']\n",
        &know,
    );
    assert!(found.is_some_and(|at| at < 4), "{found:?}");
}

#[test]
fn every_python_candidate_is_worth_running() {
    // Most of what is generated must parse: a family that never does is disabled unseen.
    let before = "def f(xs, n):\n    total = 0\n    for i, x in enumerate(xs):\n        if x > n and i != 0:\n            total += x * 2\n    return total\n";
    let source = Source::new("a.py", before).unwrap();
    let all = generate(&source, &knowledge(before));
    let mut broken = std::collections::BTreeMap::<&str, (u32, u32)>::new();
    for candidate in &all {
        let text = candidate.apply(before).unwrap();
        let counts = broken.entry(candidate.template).or_default();
        counts.1 += 1;
        counts.0 += u32::from(Source::new("a.py", &text).unwrap().root().has_error());
    }
    for (template, (bad, count)) in broken {
        assert!(
            bad * 2 <= count,
            "{template}: {bad} of {count} do not parse"
        );
    }
}

#[test]
fn an_offset_that_undoes_another_is_left_out() {
    for (text, plain) in [
        ("range(len(xs) - 1 + 1)", "range(len(xs))"),
        ("n + 1 - 1", "n"),
        ("n - 1 + 10", "n - 1 + 10"),
        ("n - 1 + 1 * k", "n - 1 + 1 * k"),
        ("n - 1", "n - 1"),
    ] {
        assert_eq!(super::without_undone_offset(text.to_owned()), plain);
    }
}
