//! Every language has lines that are found and lines beside them that are not.

use super::*;

fn rules(path: &str, line: &str) -> Vec<&'static str> {
    find(Language::of(path), line)
        .iter()
        .map(|rule| rule.id)
        .collect()
}

#[test]
fn dangerous_lines_are_found() {
    for (path, rule, line) in [
        ("a.py", "patch.runs-programs", "os.system('ls ' + name)"),
        ("a.py", "patch.runs-programs", "os . system('ls')"),
        (
            "a.py",
            "patch.runs-programs",
            "subprocess.run(cmd, shell=True)",
        ),
        ("a.py", "patch.runs-programs", "from subprocess import run"),
        ("a.py", "patch.evaluates", "result = eval(text)"),
        ("a.py", "patch.evaluates", "x = y or eval (text)"),
        ("a.py", "patch.evaluates", "exec( code )"),
        ("a.py", "patch.evaluates", "f\"{eval(x)}\""),
        ("a.py", "patch.deserialises", "state = pickle.loads(body)"),
        ("a.py", "patch.deserialises", "cfg = yaml.load(text)"),
        ("a.py", "patch.removes", "shutil.rmtree(path)"),
        (
            "a.py",
            "patch.destroys-data",
            "cursor.execute('DROP  TABLE users')",
        ),
        (
            "a.py",
            "patch.destroys-data",
            "cursor.execute('DELETE FROM users')",
        ),
        ("a.py", "patch.tls-off", "requests.get(url, verify = False)"),
        ("a.py", "patch.csrf-off", "@csrf_exempt"),
        ("a.py", "patch.permissions", "os.chmod(path, 0o777)"),
        (
            "a.py",
            "patch.sql-building",
            "cur.execute(\"SELECT * FROM t WHERE id = '\" + id + \"'\")",
        ),
        (
            "a.py",
            "patch.sql-building",
            "cur.execute(f\"select * from t where id = {id}\")",
        ),
        ("a.py", "patch.weak-crypto", "h = hashlib.md5(password)"),
        ("a.py", "patch.silences-checks", "run(x)  # nosec"),
        ("a.py", "patch.debug-on", "app.run(debug=True)"),
        ("a.py", "patch.opens-to-all", "app.run(host='0.0.0.0')"),
        (
            "a.py",
            "patch.hidden-text",
            "if user == 'admin\u{202e} # x':",
        ),
        (
            "a.js",
            "patch.runs-programs",
            "const cp = require('child_process');",
        ),
        ("a.js", "patch.evaluates", "return new Function(body)();"),
        ("a.js", "patch.evaluates", "const v = eval(input);"),
        (
            "a.ts",
            "patch.tls-off",
            "new Agent({ rejectUnauthorized: false })",
        ),
        (
            "a.tsx",
            "patch.unescaped-output",
            "<p dangerouslySetInnerHTML={{ __html: x }} />",
        ),
        ("a.js", "patch.unescaped-output", "el.innerHTML = text;"),
        (
            "a.rs",
            "patch.runs-programs",
            "std::process::Command::new(\"ls\")",
        ),
        ("a.rs", "patch.unsafe-code", "unsafe { *pointer }"),
        (
            "a.rs",
            "patch.tls-off",
            ".danger_accept_invalid_certs(true)",
        ),
        (
            "a.go",
            "patch.runs-programs",
            "out, err := exec.Command(name).Output()",
        ),
        (
            "a.go",
            "patch.tls-off",
            "&tls.Config{InsecureSkipVerify: true}",
        ),
        (
            "A.java",
            "patch.runs-programs",
            "Runtime.getRuntime().exec(cmd);",
        ),
        (
            "A.java",
            "patch.deserialises",
            "new ObjectInputStream(in).readObject();",
        ),
        ("A.java", "patch.csrf-off", "http.csrf().disable();"),
        ("a.rb", "patch.runs-programs", "system(\"ls #{dir}\")"),
        ("a.rb", "patch.deserialises", "Marshal.load(body)"),
        (
            "a.rb",
            "patch.auth-bypass",
            "skip_before_action :authenticate_user!",
        ),
        ("a.php", "patch.runs-programs", "$out = shell_exec($cmd);"),
        (
            "a.php",
            "patch.deserialises",
            "$o = unserialize($_POST['x']);",
        ),
        ("a.sh", "patch.removes", "rm -rf \"$DIR\""),
        (
            "a.sh",
            "patch.fetches-and-runs",
            "curl -sSL https://example.org/x | sh",
        ),
        ("a.sql", "patch.destroys-data", "TRUNCATE TABLE users;"),
        ("Dockerfile", "patch.privileges", "USER root"),
        (
            "Dockerfile",
            "patch.fetches-and-runs",
            "RUN wget -qO- example.org | bash",
        ),
        ("ci.yml", "patch.privileges", "permissions: write-all"),
        ("ci.yml", "patch.privileges", "privileged: true"),
        ("a.html", "patch.unescaped-output", "<p>{{ text|safe }}</p>"),
        ("a.c", "patch.unsafe-code", "strcpy(buffer, input);"),
    ] {
        assert!(
            rules(path, line).contains(&rule),
            "{path}: {line}: {:?}",
            rules(path, line)
        );
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
        (
            "a.py",
            "cursor.execute('SELECT * FROM t WHERE id = %s', (id,))",
        ),
        ("a.py", "# never use eval() here"),
        ("a.py", "raise ValueError('do not call eval() here')"),
        ("a.py", "retrieval(text)"),
        ("a.py", "self.rows.remove(row)"),
        ("a.py", "airdrop table"),
        ("a.py", "cfg = yaml.load(text, Loader=yaml.SafeLoader)"),
        ("a.py", "system(x)"),
        ("a.js", "el.textContent = text;"),
        ("a.js", "if (rejectUnauthorized) return;"),
        ("a.rs", "let command = parse(line)?;"),
        ("a.rs", "// unsafe { } is not needed"),
        (
            "a.go",
            "err := db.QueryRow(\"SELECT 1 WHERE id = $1\", id).Scan(&x)",
        ),
        ("A.java", "executor.execute(task);"),
        ("a.rb", "record.destroy"),
        ("a.sh", "rm -f \"$file\""),
        ("a.md", "Never run rm -rf / or eval()."),
        ("Dockerfile", "USER app"),
        ("ci.yml", "permissions: { contents: read }"),
        ("a.py", "naïve = 'ünïcode is fine'"),
    ] {
        assert_eq!(rules(path, line), [""; 0], "{line}");
    }
}

#[test]
fn every_mark_is_found_by_its_word() {
    for mark in MARKS {
        let word = longest_word(mark.phrase);
        assert!(
            word.len() > 1 && mark.phrase.contains(word),
            "{}",
            mark.phrase
        );
        assert_eq!(mark.phrase, mark.phrase.to_lowercase());
    }
}

#[test]
fn every_line_that_is_offered_breaks_no_rule() {
    let mut offered = 0;
    for mark in MARKS {
        for (language, line) in mark.rule.lines {
            assert!(find(*language, line).is_empty(), "{line}");
            offered += 1;
        }
    }
    assert!(offered > 100);
}
