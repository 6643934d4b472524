//! The table of dangerous operations.

use super::{Form, Mark, Rule};
use crate::language::Language as L;

const fn rule(id: &'static str, what: &'static str, advice: &'static str) -> Rule {
    Rule {
        id,
        what,
        advice,
        lines: &[],
        soft: false,
    }
}

const fn soft(id: &'static str, what: &'static str, advice: &'static str) -> Rule {
    Rule {
        id,
        what,
        advice,
        lines: &[],
        soft: true,
    }
}

impl Rule {
    const fn with(self, lines: &'static [(L, &'static str)]) -> Self {
        Self { lines, ..self }
    }
}

static RUNS: Rule = rule(
    "patch.runs-programs",
    "runs a program",
    "use a library call of the language for it, or leave it to a person",
);
static EVALUATES: Rule = rule(
    "patch.evaluates",
    "evaluates text as code or loads code by name",
    "parse the text (json, ast.literal_eval, a table of known names) instead of running it",
)
.with(&[
    (L::PYTHON, "value = ast.literal_eval(text)"),
    (L::JAVASCRIPT, "const value = JSON.parse(text);"),
]);
static DESERIALISES: Rule = rule(
    "patch.deserialises",
    "runs what it deserialises",
    "read a plain data format such as JSON, or use the safe loader",
)
.with(&[
    (L::PYTHON, "data = json.loads(text)"),
    (L::JAVASCRIPT, "const data = JSON.parse(text);"),
    (L::RUBY, "data = JSON.parse(text)"),
    (L::PHP, "$data = json_decode($text, true);"),
]);
static REMOVES: Rule = rule(
    "patch.removes",
    "removes files or whole trees",
    "remove single files by name, or leave it to a person",
);
static DESTROYS: Rule = rule(
    "patch.destroys-data",
    "destroys data",
    "change rows with a WHERE clause; leave schema changes to a reviewed migration",
)
.with(&[
    (
        L::PYTHON,
        "cursor.execute(\"DELETE FROM items WHERE id = ?\", (item_id,))",
    ),
    (L::SQL, "DELETE FROM items WHERE id = 1;"),
]);
static TLS: Rule = rule(
    "patch.tls-off",
    "switches off the check of certificates",
    "trust the right certificate authority instead of trusting everybody",
)
.with(&[(L::PYTHON, "response = requests.get(url, timeout=10)")]);
static AUTHENTICATION: Rule = rule(
    "patch.auth-bypass",
    "lets people in without a check",
    "keep the check and repair what it checks",
);
static CSRF: Rule = rule(
    "patch.csrf-off",
    "switches off the protection against forged requests",
    "send the token with the request instead",
);
static PERMISSIONS: Rule = rule(
    "patch.permissions",
    "opens files to everybody",
    "give the owner the right that is missing, as in 0o640",
)
.with(&[
    (L::PYTHON, "os.chmod(path, 0o640)"),
    (L::SHELL, "chmod 640 path/to/file"),
]);
static FETCHES: Rule = rule(
    "patch.fetches-and-runs",
    "runs what it fetches from the network",
    "pin what is needed as a dependency with its digest",
);
static PRIVILEGES: Rule = rule(
    "patch.privileges",
    "gives a container or a pipeline more rights",
    "give the one right that is missing, to the one step that needs it",
);
static SQL: Rule = soft(
    "patch.sql-building",
    "puts SQL together from pieces",
    "pass values as parameters of the statement",
)
.with(&[
    (
        L::PYTHON,
        "cursor.execute(\"SELECT id FROM items WHERE id = ?\", (item_id,))",
    ),
    (
        L::JAVASCRIPT,
        "const rows = await db.query(\"SELECT id FROM items WHERE id = $1\", [itemId]);",
    ),
]);
static CRYPTOGRAPHY: Rule = soft(
    "patch.weak-crypto",
    "uses cryptography that is known to be weak",
    "use SHA-256, AES-GCM, or a password hash such as argon2, and random numbers of the system",
)
.with(&[
    (L::PYTHON, "digest = hashlib.sha256(data).hexdigest()"),
    (
        L::JAVASCRIPT,
        "const digest = createHash(\"sha256\").update(data).digest(\"hex\");",
    ),
]);
static OUTPUT: Rule = soft(
    "patch.unescaped-output",
    "puts text into a page without escaping it",
    "let the template escape it, or set textContent",
)
.with(&[(L::JAVASCRIPT, "element.textContent = text;")]);
static DEBUG: Rule = soft(
    "patch.debug-on",
    "switches on debugging for whoever asks",
    "read the switch from the settings of the environment",
)
.with(&[(L::PYTHON, "app.run(debug=settings.DEBUG)")]);
static OPEN: Rule = soft(
    "patch.opens-to-all",
    "opens the service to all networks or origins",
    "name the address or the origin that needs it",
)
.with(&[(L::PYTHON, "app.run(host=\"127.0.0.1\")")]);
static SILENCES: Rule = soft(
    "patch.silences-checks",
    "silences a checker",
    "repair what the checker found",
);
static UNSAFE: Rule = soft(
    "patch.unsafe-code",
    "leaves the guarantees of the language",
    "do it with safe code",
);
/// Found by characters, not by marks.
pub(super) static HIDDEN_TEXT: Rule = rule(
    "patch.hidden-text",
    "has invisible characters that make it read differently from how it runs",
    "write the line with visible characters only",
);

const fn code(rule: &'static Rule, languages: L, phrase: &'static str) -> Mark {
    Mark {
        rule,
        languages,
        form: Form::Code,
        phrase,
        and: "",
    }
}

const fn text(rule: &'static Rule, languages: L, phrase: &'static str) -> Mark {
    Mark {
        rule,
        languages,
        form: Form::Text,
        phrase,
        and: "",
    }
}

const fn raw(rule: &'static Rule, languages: L, phrase: &'static str) -> Mark {
    Mark {
        rule,
        languages,
        form: Form::Raw,
        phrase,
        and: "",
    }
}

impl Mark {
    /// See [`Mark::stands_in`].
    const fn and(self, and: &'static str) -> Self {
        Self { and, ..self }
    }
}

const JVM: L = L::JAVA;
const JS: L = L::JAVASCRIPT;
const CI: L = L::CONFIGURATION;
const SHELLS: L = L::SHELL.or(L::DOCKER).or(L::CONFIGURATION);

/// All of them.
pub(super) const MARKS: &[Mark] = &[
    // Programs.
    code(&RUNS, L::PYTHON, "os.system("),
    code(&RUNS, L::PYTHON, "os.popen("),
    code(&RUNS, L::PYTHON, "os.exec"),
    code(&RUNS, L::PYTHON, "os.spawn"),
    code(&RUNS, L::PYTHON, "os.posix_spawn"),
    code(&RUNS, L::PYTHON, "pty.spawn"),
    code(&RUNS, L::PYTHON, "subprocess"),
    code(&RUNS, L::PYTHON, "create_subprocess_"),
    code(&RUNS, L::PYTHON, "shell=true"),
    code(&RUNS, L::PYTHON, "ctypes.cdll"),
    code(&RUNS, L::PYTHON, "commands.getoutput"),
    text(&RUNS, JS, "child_process"),
    code(&RUNS, JS, "execsync("),
    code(&RUNS, JS, "spawnsync("),
    code(&RUNS, JS, "execfilesync("),
    code(&RUNS, JS, "shell:true"),
    code(&RUNS, JS, "deno.command("),
    code(&RUNS, JS, "bun.spawn("),
    code(&RUNS, JVM, "getruntime().exec"),
    code(&RUNS, JVM, "processbuilder"),
    code(&RUNS, JVM, "process.start("),
    code(&RUNS, L::RUST, "command::new("),
    code(&RUNS, L::RUST, "process::command"),
    code(&RUNS, L::GO, "exec.command("),
    code(&RUNS, L::GO, "exec.commandcontext("),
    code(&RUNS, L::GO, "syscall.exec("),
    code(&RUNS, L::PHP, "shell_exec("),
    code(&RUNS, L::PHP, "passthru("),
    code(&RUNS, L::PHP, "proc_open("),
    code(&RUNS, L::PHP, "popen("),
    code(&RUNS, L::PHP, "system(").and("bare"),
    code(&RUNS, L::PHP, "exec(").and("bare"),
    code(&RUNS, L::RUBY, "system(").and("bare"),
    code(&RUNS, L::RUBY, "%x"),
    code(&RUNS, L::RUBY, "open3."),
    code(&RUNS, L::RUBY, "io.popen"),
    code(&RUNS, L::RUBY, "kernel.exec"),
    code(&RUNS, L::C, "system(").and("bare"),
    code(&RUNS, L::C, "popen(").and("bare"),
    code(&RUNS, L::C, "execve("),
    text(&RUNS, L::SQL, "xp_cmdshell"),
    text(&RUNS, L::SQL, "to program"),
    // Code from text.
    code(&EVALUATES, L::PYTHON.or(JS).or(L::PHP).or(L::RUBY), "eval(").and("bare"),
    code(&EVALUATES, L::PYTHON, "exec(").and("bare"),
    code(&EVALUATES, L::PYTHON, "execfile(").and("bare"),
    code(&EVALUATES, L::PYTHON, "compile(").and("bare"),
    code(&EVALUATES, L::PYTHON, "__import__("),
    code(&EVALUATES, L::PYTHON, "import_module("),
    code(&EVALUATES, L::PYTHON, "__builtins__"),
    code(&EVALUATES, L::PYTHON, "__globals__"),
    code(&EVALUATES, L::PYTHON, "__subclasses__"),
    code(&EVALUATES, L::PYTHON, "render_template_string("),
    code(&EVALUATES, JS, "new function("),
    code(&EVALUATES, JS, "vm.runin"),
    code(&EVALUATES, JS, "settimeout(\""),
    code(&EVALUATES, JS, "settimeout('"),
    code(&EVALUATES, JS, "__proto__"),
    code(&EVALUATES, L::PHP, "create_function("),
    code(&EVALUATES, L::PHP, "assert($"),
    code(&EVALUATES, L::PHP, "extract($_"),
    code(&EVALUATES, L::PHP, "include $_"),
    code(&EVALUATES, L::RUBY, "instance_eval"),
    code(&EVALUATES, L::RUBY, "class_eval"),
    code(&EVALUATES, L::RUBY, "constantize"),
    code(&EVALUATES, L::RUBY, "send(params"),
    code(&EVALUATES, JVM, "scriptengine"),
    code(&EVALUATES, JVM, "groovyshell"),
    code(&EVALUATES, JVM, "spelexpressionparser"),
    code(&EVALUATES, JVM, "class.forname("),
    code(&EVALUATES, JVM, "assembly.load("),
    code(&EVALUATES, L::GO, "plugin.open("),
    code(&EVALUATES, L::RUST, "libloading"),
    code(&EVALUATES, L::C, "dlopen("),
    text(&EVALUATES, L::SHELL, "eval \""),
    text(&EVALUATES, L::SHELL, "eval $"),
    text(&EVALUATES, L::SQL, "execute immediate"),
    text(&EVALUATES, L::SQL, "sp_executesql"),
    // Objects from bytes.
    code(&DESERIALISES, L::PYTHON, "pickle"),
    code(&DESERIALISES, L::PYTHON, "marshal.load"),
    code(&DESERIALISES, L::PYTHON, "shelve.open"),
    code(&DESERIALISES, L::PYTHON, "dill.load"),
    code(&DESERIALISES, L::PYTHON, "joblib.load("),
    code(&DESERIALISES, L::PYTHON, "jsonpickle"),
    code(&DESERIALISES, L::PYTHON, "yaml.unsafe_load"),
    code(&DESERIALISES, L::PYTHON, "yaml.full_load"),
    code(&DESERIALISES, L::PYTHON, "yaml.load(").and("!safeloader"),
    code(&DESERIALISES, L::PYTHON, "torch.load(").and("!weights_only=true"),
    text(&DESERIALISES, JS, "node-serialize"),
    code(&DESERIALISES, JS, "unserialize("),
    code(&DESERIALISES, L::PHP, "unserialize("),
    code(&DESERIALISES, L::RUBY, "marshal.load"),
    code(&DESERIALISES, L::RUBY, "yaml.unsafe_load"),
    code(&DESERIALISES, JVM, "objectinputstream"),
    code(&DESERIALISES, JVM, "xmldecoder"),
    code(&DESERIALISES, JVM, "enabledefaulttyping"),
    code(&DESERIALISES, JVM, "binaryformatter"),
    // Files gone.
    code(&REMOVES, L::PYTHON, "rmtree"),
    code(&REMOVES, L::PYTHON, "os.removedirs("),
    code(&REMOVES, JS, "rmsync("),
    code(&REMOVES, JS, "fs.rm("),
    code(&REMOVES, JS, "fs.rmdir("),
    text(&REMOVES, JS, "rimraf"),
    code(&REMOVES, L::RUST, "remove_dir_all("),
    code(&REMOVES, L::GO, "os.removeall("),
    code(&REMOVES, JVM, "deletedirectory("),
    code(&REMOVES, JVM, "deleterecursively("),
    code(&REMOVES, L::RUBY, "fileutils.rm"),
    code(&REMOVES, L::RUBY, "rm_rf"),
    text(&REMOVES, L::ANY, "rm -rf"),
    text(&REMOVES, L::ANY, "rm -fr"),
    text(&REMOVES, SHELLS, "find").and("-delete"),
    text(&REMOVES, SHELLS, "git clean"),
    text(&REMOVES, SHELLS, "git reset --hard"),
    // Data gone.
    text(&DESTROYS, L::ANY, "drop table"),
    text(&DESTROYS, L::ANY, "drop database"),
    text(&DESTROYS, L::ANY, "drop schema"),
    text(&DESTROYS, L::ANY, "drop column"),
    text(&DESTROYS, L::ANY, "truncate table"),
    text(&DESTROYS, L::ANY, "delete from").and("!where"),
    text(&DESTROYS, L::ANY, "flushall"),
    code(&DESTROYS, L::ANY, "dropdatabase("),
    code(&DESTROYS, L::ANY, "drop_all("),
    text(&DESTROYS, L::ANY, "mkfs"),
    text(&DESTROYS, SHELLS, "dd if="),
    text(&DESTROYS, SHELLS, "dd of="),
    // Certificates.
    code(&TLS, L::PYTHON, "verify=false"),
    code(&TLS, L::PYTHON, "cert_none"),
    code(&TLS, L::PYTHON, "_create_unverified_context"),
    code(&TLS, L::PYTHON, "check_hostname=false"),
    code(&TLS, L::PYTHON, "autoaddpolicy"),
    code(&TLS, JS, "rejectunauthorized:false"),
    text(&TLS, L::ANY, "node_tls_reject_unauthorized"),
    code(&TLS, L::GO, "insecureskipverify:true"),
    code(&TLS, L::GO, "insecureignorehostkey("),
    code(&TLS, L::RUST, "danger_accept_invalid_certs(true"),
    code(&TLS, L::RUST, "danger_accept_invalid_hostnames(true"),
    code(&TLS, JVM, "noophostnameverifier"),
    code(&TLS, JVM, "allow_all_hostname_verifier"),
    code(&TLS, L::RUBY, "verify_none"),
    text(&TLS, L::PHP, "curlopt_ssl_verifypeer").and("false"),
    text(&TLS, SHELLS, "curl -k"),
    text(&TLS, SHELLS, "--insecure"),
    text(&TLS, SHELLS, "--no-check-certificate"),
    text(&TLS, SHELLS, "sslverify=false"),
    text(&TLS, SHELLS, "--trusted-host"),
    // Who may come in.
    code(&AUTHENTICATION, L::PYTHON, "permission_classes=[allowany"),
    code(&AUTHENTICATION, L::PYTHON, "is_authenticated=true"),
    code(&AUTHENTICATION, L::ANY, "if true or"),
    code(
        &AUTHENTICATION,
        JS.or(JVM).or(L::GO).or(L::PHP),
        "if(true||",
    ),
    code(&AUTHENTICATION, JVM, ".permitall("),
    code(&AUTHENTICATION, L::RUBY, "skip_before_action").and("authenticate"),
    text(&AUTHENTICATION, L::ANY, "verify_signature\": false"),
    text(&AUTHENTICATION, L::ANY, "\"alg\": \"none\""),
    text(&AUTHENTICATION, L::ANY, "algorithms=[\"none\"]"),
    text(&CSRF, L::PYTHON, "csrf_exempt"),
    code(&CSRF, L::PYTHON, "wtf_csrf_enabled=false"),
    code(&CSRF, JVM, "csrf().disable("),
    code(&CSRF, JVM, "csrf(abstracthttpconfigurer::disable"),
    code(&CSRF, L::RUBY, "skip_before_action").and("verify_authenticity_token"),
    // Rights.
    text(&PERMISSIONS, L::ANY, "chmod 777"),
    text(&PERMISSIONS, L::ANY, "chmod -r 777"),
    text(&PERMISSIONS, L::ANY, "0o777"),
    text(&PERMISSIONS, L::ANY, "0o666"),
    code(&PERMISSIONS, L::GO.or(L::PHP).or(L::C).or(L::RUBY), "0777"),
    text(&FETCHES, SHELLS, "curl").and("| sh"),
    text(&FETCHES, SHELLS, "curl").and("| bash"),
    text(&FETCHES, SHELLS, "wget").and("| sh"),
    text(&FETCHES, SHELLS, "wget").and("| bash"),
    text(&PRIVILEGES, SHELLS, "--privileged"),
    text(&PRIVILEGES, CI, "privileged: true"),
    text(&PRIVILEGES, L::DOCKER, "user root"),
    text(&PRIVILEGES, CI, "write-all"),
    text(&PRIVILEGES, CI, "pull_request_target"),
    text(&PRIVILEGES, CI, "allowprivilegeescalation: true"),
    text(&PRIVILEGES, CI, "docker.sock"),
    text(&PRIVILEGES, SHELLS.or(L::PYTHON), "sudo "),
    // Questions.
    text(&SQL, L::ANY, "execute(").and("built"),
    text(&SQL, L::ANY, "executemany(").and("built"),
    text(&SQL, L::ANY, "query(").and("built"),
    text(&SQL, L::ANY, "queryrow(").and("built"),
    text(&SQL, L::ANY, "raw(").and("built"),
    text(&SQL, L::ANY, "createquery(").and("built"),
    text(&SQL, L::ANY, "createnativequery(").and("built"),
    text(&SQL, L::ANY, "preparestatement(").and("built"),
    text(&SQL, L::ANY, "find_by_sql(").and("built"),
    text(&SQL, L::ANY, "executequery(").and("built"),
    text(&CRYPTOGRAPHY, L::ANY, "hashlib.md5"),
    text(&CRYPTOGRAPHY, L::ANY, "hashlib.sha1"),
    text(&CRYPTOGRAPHY, JS, "createhash('md5"),
    text(&CRYPTOGRAPHY, JS, "createhash(\"md5"),
    text(&CRYPTOGRAPHY, JS, "createhash('sha1"),
    text(&CRYPTOGRAPHY, JS, "createhash(\"sha1"),
    text(&CRYPTOGRAPHY, JVM, "getinstance(\"md5"),
    text(&CRYPTOGRAPHY, JVM, "getinstance(\"sha-1"),
    text(&CRYPTOGRAPHY, JVM, "getinstance(\"des"),
    text(&CRYPTOGRAPHY, JVM, "aes/ecb"),
    code(&CRYPTOGRAPHY, L::GO, "md5.sum("),
    code(&CRYPTOGRAPHY, L::GO, "md5.new("),
    code(&CRYPTOGRAPHY, L::GO, "sha1.new("),
    code(&CRYPTOGRAPHY, L::PHP, "md5("),
    code(&CRYPTOGRAPHY, L::PYTHON, "mode_ecb"),
    code(&CRYPTOGRAPHY, L::PYTHON, "protocol_tlsv1"),
    code(&CRYPTOGRAPHY, L::PYTHON, "protocol_sslv3"),
    code(&OUTPUT, JS, "dangerouslysetinnerhtml"),
    code(&OUTPUT, JS, "innerhtml="),
    code(&OUTPUT, JS, "insertadjacenthtml("),
    code(&OUTPUT, JS, "document.write("),
    code(&OUTPUT, JS, "bypasssecuritytrust"),
    text(&OUTPUT, L::MARKUP, "v-html"),
    text(&OUTPUT, L::MARKUP, "|safe"),
    text(&OUTPUT, L::MARKUP, "| safe"),
    text(&OUTPUT, L::MARKUP, "html_safe"),
    text(&OUTPUT, L::MARKUP.or(L::PYTHON), "autoescape false"),
    text(&OUTPUT, L::MARKUP.or(L::PYTHON), "autoescape=false"),
    code(&OUTPUT, L::PYTHON, "mark_safe("),
    code(&OUTPUT, L::RUBY, ".html_safe"),
    code(&OUTPUT, L::GO, "template.html("),
    code(&DEBUG, L::PYTHON, "debug=true"),
    text(&DEBUG, L::PHP, "display_errors").and("1"),
    text(&DEBUG, CI, "flask_debug"),
    text(&OPEN, L::ANY, "0.0.0.0"),
    text(&OPEN, L::ANY, "access-control-allow-origin").and("*"),
    text(&OPEN, L::ANY, "allow_origins").and("*"),
    text(&OPEN, L::ANY, "allowed_hosts").and("*"),
    text(&OPEN, JS, "origin: '*'"),
    text(&OPEN, JS, "origin: \"*\""),
    raw(&SILENCES, L::PYTHON, "nosec"),
    raw(&SILENCES, L::PYTHON, "noqa"),
    raw(&SILENCES, L::PYTHON, "type: ignore"),
    raw(&SILENCES, L::PYTHON, "pylint: disable"),
    raw(&SILENCES, JS, "eslint-disable"),
    raw(&SILENCES, JS, "@ts-ignore"),
    raw(&SILENCES, JS, "@ts-nocheck"),
    raw(&SILENCES, JS, "@ts-expect-error"),
    raw(&SILENCES, L::GO, "nolint"),
    raw(&SILENCES, L::RUST, "#[allow("),
    raw(&SILENCES, L::RUST, "#![allow("),
    raw(&SILENCES, JVM, "@suppresswarnings"),
    raw(&SILENCES, L::RUBY, "rubocop:disable"),
    raw(&SILENCES, L::PHP, "phpstan-ignore"),
    raw(&SILENCES, L::ANY, "nosonar"),
    raw(&SILENCES, L::ANY, "nosemgrep"),
    code(&UNSAFE, L::RUST, "unsafe{"),
    code(&UNSAFE, L::RUST, "unsafe fn"),
    code(&UNSAFE, L::RUST, "unsafe impl"),
    code(&UNSAFE, L::RUST, "transmute"),
    code(&UNSAFE, L::RUST, "get_unchecked"),
    code(&UNSAFE, L::GO, "unsafe.pointer"),
    code(&UNSAFE, JVM, "misc.unsafe"),
    code(&UNSAFE, L::C, "strcpy(").and("bare"),
    code(&UNSAFE, L::C, "strcat(").and("bare"),
    code(&UNSAFE, L::C, "sprintf(").and("bare"),
    code(&UNSAFE, L::C, "gets(").and("bare"),
];
