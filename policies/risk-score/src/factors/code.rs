//! What the changed lines do: checks, interfaces, dangers, novelties.

use super::{clipped, lines};
use selfheal_policy_sdk::text::{Needles, find_phrase, phrase, squeeze, tighten};
use selfheal_policy_sdk::{ChangeKind, Factor, Patch, PatchFile};

/// Operations that a repair has no need for.
static DANGEROUS: Needles<34> = Needles::new([
    "os.system",
    "subprocess",
    "child_process",
    "shell=true",
    "eval(",
    "exec(",
    "new function(",
    "rmtree",
    "unlink(",
    "os.remove(",
    "fs.rm",
    "drop table",
    "truncate table",
    "delete from",
    "pickle.load",
    "__import__",
    "chmod",
    "process.exit",
    "os._exit",
    "sys.exit",
    "socket.",
    "verify=false",
    "rejectunauthorized",
    "nosec",
    "unserialize(",
    "command::new(",
    "exec.command(",
    "processbuilder",
    "insecureskipverify",
    "csrf_exempt",
    "dangerouslysetinnerhtml",
    "unsafe{",
    "remove_dir_all",
    "os.removeall(",
]);

/// Calls that talk to other machines.
static NETWORK: Needles<18> = Needles::new([
    "requests.",
    "urllib",
    "httpx.",
    "aiohttp",
    "fetch(",
    "axios",
    "xmlhttprequest",
    "http.get(",
    "https.get(",
    "net.connect(",
    "net.dial",
    "reqwest",
    "ureq",
    "http.client",
    "smtplib",
    "httpclient",
    "net::http",
    "curl_exec",
]);

/// Ways to go on after an error as if nothing had happened.
const SWALLOWS: [&str; 12] = [
    "except:pass",
    "except exception:pass",
    "except baseexception:",
    "except:",
    "catch{}",
    "catch(e){}",
    "catch(_){}",
    "catch(err){}",
    "rescue nil",
    "contextlib.suppress(",
    "on error resume next",
    "let _=",
];

/// Beginnings of lines that stop a wrong state.
const CHECKS: [&str; 10] = [
    "if ", "if(", "elif ", "unless ", "assert", "except", "catch", "ensure", "require(", "guard ",
];

/// Beginnings of lines that refuse to go on.
const REFUSALS: [&str; 6] = [
    "raise",
    "throw",
    "panic!(",
    "abort(",
    "return err",
    "bail!(",
];

/// Lines that the patch takes away and does not put back.
fn gone(file: &PatchFile) -> impl Iterator<Item = &str> {
    file.removed
        .iter()
        .map(|line| line.trim())
        .filter(|line| !line.is_empty() && !file.added.iter().any(|added| added.trim() == *line))
}

/// Checks that changed or went: 5 points each, refusals 10, at most 25.
pub(crate) fn checks(patch: &Patch) -> Option<Factor> {
    let begins = |line: &str, marks: &[&str]| marks.iter().any(|mark| line.starts_with(mark));
    let mut points = 0_u32;
    let mut first = None;
    for line in patch.files.iter().flat_map(gone) {
        let dear = if begins(line, &REFUSALS) {
            10
        } else if begins(line, &CHECKS) {
            5
        } else {
            continue;
        };
        points = points.saturating_add(dear);
        first.get_or_insert(line);
    }
    first.map(|line| Factor::new("touches-checks", points.min(25), clipped(line)))
}

/// Tests that the patch edits, and those that it weakens.
pub(crate) fn tests(patch: &Patch, points: u32) -> Option<Factor> {
    let tests = || patch.files.iter().filter(|file| file.test);
    let weakened = tests().find(|file| {
        let marks = [
            "assert",
            "expect(",
            "def test",
            "it(",
            "test(",
            "#[test]",
            "func Test",
            "@Test",
            "self.assert",
            "should",
            "t.Error",
            "t.Fatal",
        ];
        let skips = [
            "skip",
            "xfail",
            "ignore]",
            "@Disabled",
            "@Ignore",
            ".only(",
            "xit(",
            "xtest(",
        ];
        file.change == ChangeKind::Deleted
            || gone(file).any(|line| marks.iter().any(|mark| line.starts_with(mark)))
            || file
                .new_lines()
                .any(|line| skips.iter().any(|mark| line.contains(mark)))
    });
    if let Some(file) = weakened {
        return Some(Factor::new(
            "weakens-tests",
            points.saturating_add(20),
            file.path.clone(),
        ));
    }
    let edited = tests().next()?;
    Some(Factor::new("edits-tests", points, edited.path.clone()))
}

/// Definitions that others may use. Changed ones 12 points, new ones 3.
pub(crate) fn interface(patch: &Patch) -> Option<Factor> {
    let describes = |path: &str| {
        let lower = path.to_ascii_lowercase();
        lower.ends_with(".proto")
            || lower.ends_with(".graphql")
            || lower.ends_with(".thrift")
            || lower.ends_with(".avsc")
            || lower.ends_with(".d.ts")
            || ["openapi", "swagger", "asyncapi"]
                .iter()
                .any(|name| lower.contains(name))
    };
    let of_code = || patch.files.iter().filter(|file| !file.test);
    if let Some(file) = of_code().find(|file| describes(&file.path)) {
        return Some(Factor::new("changes-interface", 12, file.path.clone()));
    }
    let changed = of_code().find_map(|file| {
        let raw = |line: &&str| {
            file.removed
                .iter()
                .any(|whole| whole.trim() == *line && is_public(&file.path, whole))
        };
        gone(file).find(raw)
    });
    if let Some(line) = changed {
        return Some(Factor::new("changes-interface", 12, clipped(line)));
    }
    let added =
        of_code().find_map(|file| file.added.iter().find(|line| is_public(&file.path, line)))?;
    Some(Factor::new("adds-interface", 3, clipped(added)))
}

/// Does this line define something that others may use?
fn is_public(path: &str, line: &str) -> bool {
    let trimmed = line.trim_start();
    let begins = |marks: &[&str]| marks.iter().any(|mark| trimmed.starts_with(mark));
    // Routes are an interface in every language.
    if begins(&[
        "@app.",
        "@router.",
        "@api.",
        "@bp.",
        "app.get(",
        "app.post(",
        "app.put(",
        "app.delete(",
        "router.get(",
        "router.post(",
        "router.put(",
        "router.delete(",
        "@GetMapping",
        "@PostMapping",
        "@PutMapping",
        "@DeleteMapping",
        "@RequestMapping",
        "@Path(",
        "#[get(",
        "#[post(",
        "http.HandleFunc(",
        "Route::",
    ]) {
        return true;
    }
    let ending = path.rsplit_once('.').map_or("", |(_, ending)| ending);
    match ending {
        "py" | "pyi" => {
            let name = ["def ", "async def ", "class "]
                .iter()
                .find_map(|mark| trimmed.strip_prefix(mark));
            name.is_some_and(|name| !name.starts_with('_'))
                && line.len().saturating_sub(trimmed.len()) <= 4
        }
        "js" | "jsx" | "ts" | "tsx" | "mjs" | "cjs" | "mts" | "cts" => {
            begins(&["export ", "module.exports", "exports."])
        }
        "rs" => {
            begins(&[
                "pub fn",
                "pub struct",
                "pub enum",
                "pub trait",
                "pub type",
                "pub const",
            ]) || begins(&[
                "pub async fn",
                "pub unsafe fn",
                "pub static",
                "pub mod",
                "pub use",
            ])
        }
        "go" => {
            let name = trimmed
                .strip_prefix("func ")
                .or_else(|| trimmed.strip_prefix("type "));
            name.is_some_and(|name| {
                let name = name
                    .strip_prefix('(')
                    .and_then(|receiver| receiver.split_once(") "))
                    .map_or(name, |(_, name)| name);
                name.starts_with(|c: char| c.is_ascii_uppercase())
            })
        }
        "java" | "cs" | "php" | "scala" => begins(&["public ", "protected ", "interface "]),
        "kt" | "kts" => begins(&["fun ", "class ", "interface ", "object "]),
        "rb" => begins(&["def ", "class ", "module "]),
        "c" | "h" | "cpp" | "hpp" => path.ends_with(".h") || path.ends_with(".hpp"),
        _ => false,
    }
}

/// Files, modules and calls that were not there.
pub(crate) fn novelty(patch: &Patch) -> Vec<Factor> {
    let mut factors = Vec::new();
    let new: Vec<&PatchFile> = patch
        .files
        .iter()
        .filter(|file| file.change == ChangeKind::Added && !file.test)
        .collect();
    if let Some(first) = new.first() {
        let count = u32::try_from(new.len()).unwrap_or(u32::MAX);
        factors.push(Factor::new(
            "new-files",
            count.saturating_mul(5).min(15),
            first.path.clone(),
        ));
    }
    let fresh = || {
        patch
            .files
            .iter()
            .filter(|file| !file.test)
            .flat_map(PatchFile::new_lines)
    };
    let imports: Vec<&str> = fresh().filter(|line| is_import(line)).collect();
    if let Some(first) = imports.first() {
        let count = u32::try_from(imports.len()).unwrap_or(u32::MAX);
        factors.push(Factor::new(
            "new-imports",
            count.saturating_mul(2).min(8),
            clipped(first),
        ));
    }
    if let Some(line) = fresh().find(|line| NETWORK.any(line)) {
        factors.push(Factor::new("opens-network", 10, clipped(line)));
    }
    factors
}

fn is_import(line: &str) -> bool {
    let line = line.trim_start();
    [
        "import ",
        "from ",
        "use ",
        "require ",
        "require_relative ",
        "#include",
    ]
    .iter()
    .any(|mark| line.starts_with(mark))
        || line.contains("require(")
}

/// Operations that a repair has no need for.
pub(crate) fn danger(patch: &Patch) -> Option<Factor> {
    let line = patch
        .files
        .iter()
        .flat_map(PatchFile::new_lines)
        .find(|line| {
            let squeezed = squeeze(line);
            let tight = tighten(&squeezed);
            [&squeezed, &tight].into_iter().any(|text| {
                DANGEROUS.scan(text, |word, start| {
                    let word = DANGEROUS.word(word);
                    text.get(start..)
                        .is_some_and(|rest| find_phrase(rest, word) == Some(0))
                        && alone(text, start)
                })
            })
        })?;
    Some(Factor::new("dangerous-operation", 40, clipped(line)))
}

fn alone(text: &str, start: usize) -> bool {
    !text
        .get(..start)
        .unwrap_or_default()
        .ends_with(|c: char| c.is_alphanumeric() || c == '_')
}

/// Errors that are no longer seen: the plainest way to make a symptom vanish.
pub(crate) fn swallowed(patch: &Patch) -> Option<Factor> {
    let mut before = "";
    let line = patch
        .files
        .iter()
        .filter(|file| !file.test)
        .flat_map(|file| file.added.iter())
        .find(|line| {
            let tight = tighten(&squeeze(line.trim()));
            let alone = SWALLOWS
                .iter()
                .any(|mark| tight.starts_with(mark) || phrase(&tight, mark));
            let goes_on = matches!(tight.as_str(), "pass" | "continue" | "...")
                && before.trim_start().starts_with("except");
            before = line.as_str();
            alone || goes_on
        })?;
    Some(Factor::new("swallows-errors", 12, clipped(line)))
}

/// Marks that somebody left for whoever would touch the line.
pub(crate) fn warned(patch: &Patch) -> Option<Factor> {
    let marks = [
        "do not edit",
        "do not change",
        "generated by",
        "@generated",
        "security:",
    ];
    let line = lines(patch).find(|line| {
        let squeezed = squeeze(line);
        marks.iter().any(|mark| squeezed.contains(mark))
    })?;
    Some(Factor::new("touches-marked-lines", 8, clipped(line)))
}
