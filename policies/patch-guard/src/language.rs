//! Languages by path, and a line of code without its comments and strings, as far
//! as one line can tell.

/// What a file is written in. Values are bits, so that a rule can name several.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Language(u16);

impl Language {
    pub(crate) const PYTHON: Self = Self(1);
    /// JavaScript and TypeScript, with what is compiled to them.
    pub(crate) const JAVASCRIPT: Self = Self(1 << 1);
    pub(crate) const RUST: Self = Self(1 << 2);
    pub(crate) const GO: Self = Self(1 << 3);
    /// Java, Kotlin, Scala, Groovy and C#, which share their dangerous calls' shape.
    pub(crate) const JAVA: Self = Self(1 << 4);
    pub(crate) const RUBY: Self = Self(1 << 5);
    pub(crate) const PHP: Self = Self(1 << 6);
    pub(crate) const SHELL: Self = Self(1 << 7);
    pub(crate) const SQL: Self = Self(1 << 8);
    /// Dockerfiles.
    pub(crate) const DOCKER: Self = Self(1 << 9);
    /// YAML and other configuration.
    pub(crate) const CONFIGURATION: Self = Self(1 << 10);
    /// Templates of web pages.
    pub(crate) const MARKUP: Self = Self(1 << 11);
    /// C and its kin.
    pub(crate) const C: Self = Self(1 << 12);
    /// Texts for people.
    pub(crate) const PROSE: Self = Self(1 << 13);
    /// Whatever no ending tells.
    pub(crate) const OTHER: Self = Self(1 << 14);
    /// All but texts for people.
    pub(crate) const ANY: Self = Self(!(1 << 13));

    /// Either.
    pub(crate) const fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Do they share a language?
    pub(crate) fn meets(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// By the file's name.
    pub(crate) fn of(path: &str) -> Self {
        let name = path
            .rsplit('/')
            .next()
            .unwrap_or_default()
            .to_ascii_lowercase();
        if name.starts_with("dockerfile") || name.starts_with("containerfile") {
            return Self::DOCKER;
        }
        if matches!(name.as_str(), "makefile" | "justfile" | "jenkinsfile") {
            return Self::SHELL;
        }
        match name.rsplit_once('.').map_or("", |(_, ending)| ending) {
            "py" | "pyi" | "pyx" | "ipynb" => Self::PYTHON,
            "js" | "jsx" | "mjs" | "cjs" | "ts" | "tsx" | "mts" | "cts" => Self::JAVASCRIPT,
            "vue" | "svelte" => Self::JAVASCRIPT.or(Self::MARKUP),
            "rs" => Self::RUST,
            "go" => Self::GO,
            "java" | "kt" | "kts" | "scala" | "groovy" | "gradle" | "cs" => Self::JAVA,
            "rb" | "rake" | "gemspec" => Self::RUBY,
            "erb" => Self::RUBY.or(Self::MARKUP),
            "php" | "phtml" => Self::PHP.or(Self::MARKUP),
            "sh" | "bash" | "zsh" | "fish" | "mk" => Self::SHELL,
            "sql" => Self::SQL,
            "dockerfile" => Self::DOCKER,
            "yml" | "yaml" | "toml" | "json" | "ini" | "cfg" | "conf" | "env" | "properties"
            | "tf" | "hcl" | "xml" => Self::CONFIGURATION,
            "html" | "htm" | "jinja" | "jinja2" | "j2" | "tmpl" | "ejs" | "hbs" | "twig"
            | "jsp" => Self::MARKUP,
            "c" | "h" | "cc" | "cpp" | "cxx" | "hpp" | "m" => Self::C,
            "md" | "rst" | "txt" | "adoc" => Self::PROSE,
            _ => Self::OTHER,
        }
    }

    fn hash_comments(self) -> bool {
        self.meets(
            Self::PYTHON
                .or(Self::RUBY)
                .or(Self::SHELL)
                .or(Self::DOCKER)
                .or(Self::CONFIGURATION)
                .or(Self::PHP),
        )
    }

    fn slash_comments(self) -> bool {
        self.meets(
            Self::JAVASCRIPT
                .or(Self::RUST)
                .or(Self::GO)
                .or(Self::JAVA)
                .or(Self::PHP)
                .or(Self::C),
        )
    }

    /// A string in these languages is text; elsewhere it may be run.
    fn strings_are_text(self) -> bool {
        !self.meets(
            Self::SHELL
                .or(Self::DOCKER)
                .or(Self::CONFIGURATION)
                .or(Self::MARKUP)
                .or(Self::SQL)
                .or(Self::OTHER),
        )
    }
}

/// A line in lower case, every run of blanks one blank, comments gone.
#[derive(Debug, Default)]
pub(crate) struct Line {
    /// With its comments.
    pub(crate) raw: String,
    /// With its strings.
    pub(crate) text: String,
    /// Strings emptied, blanks only where they part words: `os . system ( x )` is
    /// `os.system(x)`. A string with `{` in it stays: code may stand in there.
    pub(crate) code: String,
}

impl Line {
    pub(crate) fn of(language: Language, line: &str) -> Self {
        let uncommented = without_comments(language, line);
        let text = selfheal_policy_sdk::text::squeeze(&uncommented);
        let emptied = if language.strings_are_text() {
            without_strings(language, &text)
        } else {
            text.clone()
        };
        let code = selfheal_policy_sdk::text::tighten(&emptied);
        Self {
            raw: selfheal_policy_sdk::text::squeeze(line),
            text,
            code,
        }
    }
}

/// End of the string that opens at `start`, where it closes on this line.
fn string_end(line: &[u8], start: usize) -> Option<usize> {
    let quote = *line.get(start)?;
    let mut at = start + 1;
    loop {
        match *line.get(at)? {
            b'\\' => at += 2,
            byte if byte == quote => return Some(at),
            _ => at += 1,
        }
    }
}

fn opens_string(language: Language, byte: u8) -> bool {
    match byte {
        b'"' | b'`' => true,
        // Lifetimes of Rust.
        b'\'' => !language.meets(Language::RUST),
        _ => false,
    }
}

fn without_comments(language: Language, line: &str) -> String {
    let bytes = line.as_bytes();
    let mut kept = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(byte) = bytes.get(at).copied() {
        let rest = bytes.get(at..).unwrap_or_default();
        let before_is_blank = at == 0 || bytes.get(at - 1).is_some_and(u8::is_ascii_whitespace);
        if opens_string(language, byte)
            && let Some(end) = string_end(bytes, at)
        {
            kept.extend_from_slice(bytes.get(at..=end).unwrap_or_default());
            at = end + 1;
            continue;
        }
        let hash = byte == b'#'
            && language.hash_comments()
            // `#!` names what runs the file, `#{` and `$#` are no comments.
            && !rest.starts_with(b"#!")
            && !rest.starts_with(b"#[")
            && (before_is_blank || language.meets(Language::PYTHON));
        let slashes = language.slash_comments() && rest.starts_with(b"//");
        let dashes = language.meets(Language::SQL) && rest.starts_with(b"--");
        if hash || slashes || dashes {
            break;
        }
        if language.slash_comments() && rest.starts_with(b"/*") {
            let Some(length) = rest.windows(2).skip(2).position(|pair| pair == b"*/") else {
                break;
            };
            at += length + 4;
            kept.push(b' ');
            continue;
        }
        kept.push(byte);
        at += 1;
    }
    String::from_utf8_lossy(&kept).into_owned()
}

fn without_strings(language: Language, line: &str) -> String {
    let bytes = line.as_bytes();
    let mut kept = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(byte) = bytes.get(at).copied() {
        kept.push(byte);
        if opens_string(language, byte)
            && let Some(end) = string_end(bytes, at)
        {
            let inside = bytes.get(at + 1..end).unwrap_or_default();
            if inside.contains(&b'{') {
                kept.extend_from_slice(inside);
            }
            kept.push(byte);
            at = end;
        }
        at += 1;
    }
    String::from_utf8_lossy(&kept).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(path: &str, line: &str) -> String {
        Line::of(Language::of(path), line).code
    }

    #[test]
    fn comments_and_strings_are_no_code() {
        assert_eq!(code("a.py", "x = 1  # eval(x)"), "x=1");
        assert_eq!(code("a.py", "log('never eval(x)')"), "log('')");
        assert_eq!(code("a.js", "f(); // eval(x)"), "f();");
        assert_eq!(code("a.js", "/* a */ Eval ( x )"), "eval(x)");
        assert_eq!(code("a.js", "let url = 'http://a';"), "let url='';");
        assert_eq!(code("a.sql", "SELECT 1 -- DROP TABLE x"), "select 1");
        assert_eq!(
            code("a.rs", "fn f<'a>(x: &'a str) {}"),
            "fn f<'a>(x:&'a str){}"
        );
    }

    #[test]
    fn what_may_be_code_stays() {
        assert_eq!(code("a.py", "f\"{eval(x)}\""), "f\"{eval(x)}\"");
        assert_eq!(code("a.js", "`${eval(x)}`"), "`${eval(x)}`");
        assert_eq!(code("a.sh", "sh -c 'rm -rf x'"), "sh-c'rm-rf x'");
        assert_eq!(code("a.py", "'unclosed eval(x)"), "'unclosed eval(x)");
        assert_eq!(code("a.py", "'#' + eval(x)"), "''+eval(x)");
        assert_eq!(code("a.py", "os . system (x)"), "os.system(x)");
    }

    #[test]
    fn languages_by_name() {
        assert_eq!(Language::of("a/b.TSX"), Language::JAVASCRIPT);
        assert_eq!(Language::of("deploy/Dockerfile.prod"), Language::DOCKER);
        assert!(Language::of("x.erb").meets(Language::RUBY));
        assert_eq!(Language::of("LICENSE"), Language::OTHER);
    }
}
