//! Dangerous operations in added code, by language-independent marks. A repair
//! has no need for any of them; where one was there before, it is not new.

use selfheal_policy_sdk::text::{phrase, squeeze, tighten};

/// Mark on the squeezed line, rule, what it does.
const MARKS: [(&str, &str, &str); 50] = [
    ("os.system(", "patch.runs-programs", "runs a program"),
    ("os.popen(", "patch.runs-programs", "runs a program"),
    ("os.exec", "patch.runs-programs", "runs a program"),
    ("os.spawn", "patch.runs-programs", "runs a program"),
    ("pty.spawn", "patch.runs-programs", "runs a program"),
    ("subprocess.", "patch.runs-programs", "runs a program"),
    ("import subprocess", "patch.runs-programs", "runs a program"),
    ("from subprocess", "patch.runs-programs", "runs a program"),
    ("shell=true", "patch.runs-programs", "runs a shell"),
    ("shell: true", "patch.runs-programs", "runs a shell"),
    ("child_process", "patch.runs-programs", "runs a program"),
    ("execsync(", "patch.runs-programs", "runs a program"),
    ("spawnsync(", "patch.runs-programs", "runs a program"),
    (
        "runtime.getruntime().exec",
        "patch.runs-programs",
        "runs a program",
    ),
    ("processbuilder(", "patch.runs-programs", "runs a program"),
    ("command::new(", "patch.runs-programs", "runs a program"),
    ("exec.command(", "patch.runs-programs", "runs a program"),
    ("shell_exec(", "patch.runs-programs", "runs a program"),
    ("passthru(", "patch.runs-programs", "runs a program"),
    ("proc_open(", "patch.runs-programs", "runs a program"),
    ("new function(", "patch.evaluates", "evaluates text as code"),
    ("vm.runin", "patch.evaluates", "evaluates text as code"),
    ("__import__(", "patch.evaluates", "loads code by name"),
    (
        "importlib.import_module(",
        "patch.evaluates",
        "loads code by name",
    ),
    (
        "pickle.loads(",
        "patch.evaluates",
        "runs what it deserialises",
    ),
    (
        "pickle.load(",
        "patch.evaluates",
        "runs what it deserialises",
    ),
    (
        "marshal.loads(",
        "patch.evaluates",
        "runs what it deserialises",
    ),
    (
        "yaml.unsafe_load(",
        "patch.evaluates",
        "runs what it deserialises",
    ),
    (
        "unserialize(",
        "patch.evaluates",
        "runs what it deserialises",
    ),
    ("shutil.rmtree", "patch.removes", "removes whole trees"),
    ("rmtree(", "patch.removes", "removes whole trees"),
    ("os.removedirs(", "patch.removes", "removes directories"),
    ("fs.rmsync(", "patch.removes", "removes files"),
    ("fs.rm(", "patch.removes", "removes files"),
    ("rimraf", "patch.removes", "removes whole trees"),
    ("remove_dir_all(", "patch.removes", "removes whole trees"),
    ("os.removeall(", "patch.removes", "removes whole trees"),
    ("rm -rf", "patch.removes", "removes whole trees"),
    ("rm -fr", "patch.removes", "removes whole trees"),
    ("drop table", "patch.destroys-data", "drops a table"),
    ("drop database", "patch.destroys-data", "drops a database"),
    ("drop schema", "patch.destroys-data", "drops a schema"),
    ("truncate table", "patch.destroys-data", "empties a table"),
    ("mkfs.", "patch.destroys-data", "makes a file system"),
    ("dd if=", "patch.destroys-data", "copies raw devices"),
    (
        "verify=false",
        "patch.weakens",
        "switches off the check of certificates",
    ),
    (
        "rejectunauthorized: false",
        "patch.weakens",
        "switches off the check of certificates",
    ),
    (
        "insecureskipverify: true",
        "patch.weakens",
        "switches off the check of certificates",
    ),
    ("chmod 777", "patch.weakens", "opens files to everybody"),
    ("0o777", "patch.weakens", "opens files to everybody"),
];

/// The rule that the line breaks and what it does, if it does.
pub(crate) fn find(path: &str, line: &str) -> Option<(&'static str, &'static str)> {
    if is_comment(path, line) {
        return None;
    }
    let squeezed = squeeze(line);
    let tight = tighten(&squeezed);
    let marks = |text: &str| {
        MARKS
            .iter()
            .find(|(mark, _, _)| phrase(text, mark))
            .map(|(_, rule, what)| (*rule, *what))
    };
    marks(&squeezed)
        .or_else(|| marks(&tight))
        .or_else(|| evaluates(&tight).then_some(("patch.evaluates", "evaluates text as code")))
        .or_else(|| {
            deletes_all(&squeezed)
                .then_some(("patch.destroys-data", "deletes rows without saying which"))
        })
}

/// A bare `eval(` or `exec(`; methods such as `regex.exec(` or `session.exec(` are
/// something else.
fn evaluates(tight: &str) -> bool {
    ["eval(", "exec(", "execfile(", "compile("]
        .iter()
        .any(|name| {
            tight.match_indices(name).any(|(start, _)| {
                let before = tight.get(..start).and_then(|head| head.chars().next_back());
                !before.is_some_and(|c| c.is_alphanumeric() || "_.$:>".contains(c))
                    && !tight.get(..start).unwrap_or_default().ends_with("def ")
                    && !tight
                        .get(..start)
                        .unwrap_or_default()
                        .ends_with("function ")
            })
        })
}

/// `DELETE FROM` without `WHERE` on the same line.
fn deletes_all(squeezed: &str) -> bool {
    phrase(squeezed, "delete from") && !phrase(squeezed, "where")
}

/// Whole-line comments say things; they do nothing.
fn is_comment(path: &str, line: &str) -> bool {
    let hash = [".py", ".rb", ".sh", ".yml", ".yaml", ".toml", ".pl"];
    let slash = [
        ".js", ".ts", ".jsx", ".tsx", ".mjs", ".cjs", ".rs", ".go", ".java", ".c", ".cpp", ".h",
        ".cs", ".kt", ".php",
    ];
    let begins = |marks: &[&str]| marks.iter().any(|mark| line.starts_with(mark));
    let ends = |endings: &[&str]| endings.iter().any(|ending| path.ends_with(ending));
    ends(&hash) && begins(&["#"]) && !line.starts_with("#!") || ends(&slash) && begins(&["//"])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dangerous_lines_are_found() {
        for (path, line) in [
            ("a.py", "os.system('ls ' + name)"),
            ("a.py", "os . system('ls')"),
            ("a.py", "subprocess.run(cmd, shell=True)"),
            ("a.py", "result = eval(text)"),
            ("a.py", "return eval(text)"),
            ("a.py", "x = y or eval (text)"),
            ("a.py", "return os . system('ls')"),
            ("a.py", "exec( code )"),
            ("a.js", "const cp = require('child_process');"),
            ("a.js", "return new Function(body)();"),
            ("a.py", "shutil.rmtree(path)"),
            ("a.py", "cursor.execute('DROP  TABLE users')"),
            ("a.py", "cursor.execute('DELETE FROM users')"),
            ("a.sh", "rm -rf \"$DIR\""),
            ("a.py", "requests.get(url, verify = False)"),
        ] {
            assert!(find(path, line).is_some(), "{line}");
        }
    }

    #[test]
    fn ordinary_lines_are_not() {
        for (path, line) in [
            ("a.js", "const match = /x/.exec(text);"),
            ("a.py", "session.exec(query)"),
            ("a.py", "model.eval()"),
            ("a.py", "def compile(self, source):"),
            ("a.py", "pattern = re.compile(text)"),
            (
                "a.py",
                "cursor.execute('DELETE FROM users WHERE id = ?', (id,))",
            ),
            ("a.py", "# never use eval() here"),
            ("a.py", "retrieval(text)"),
            ("a.py", "self.rows.remove(row)"),
            ("a.py", "airdrop table"),
        ] {
            assert_eq!(find(path, line), None, "{line}");
        }
    }
}
