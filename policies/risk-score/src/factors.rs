//! The single factors of the score.

use selfheal_policy_sdk::text::{glob, phrase, squeeze, tighten};
use selfheal_policy_sdk::{ChangeKind, Context, Factor, Patch, PatchFile, Trust};

/// An area where mistakes are dear: name, points, words of paths, words of code.
struct Area {
    name: &'static str,
    points: u32,
    paths: &'static [&'static str],
    code: &'static [&'static str],
}

const AREAS: [Area; 5] = [
    Area {
        name: "touches-authentication",
        points: 30,
        paths: &[
            "auth",
            "authn",
            "authz",
            "authentication",
            "authorization",
            "login",
            "logout",
            "signin",
            "signup",
            "oauth",
            "oauth2",
            "jwt",
            "sso",
            "saml",
            "password",
            "passwords",
            "session",
            "sessions",
            "permission",
            "permissions",
            "rbac",
            "acl",
            "roles",
            "security",
            "crypto",
            "credentials",
        ],
        code: &[
            "password",
            "passwd",
            "authenticate",
            "authorize",
            "is_admin",
            "isadmin",
            "permission",
            "permissions",
            "jwt",
            "bcrypt",
            "argon2",
            "hmac",
            "csrf",
            "verify_signature",
            "login_required",
            "set_cookie",
        ],
    },
    Area {
        name: "touches-payment",
        points: 30,
        paths: &[
            "payment",
            "payments",
            "billing",
            "invoice",
            "invoices",
            "checkout",
            "charge",
            "charges",
            "refund",
            "refunds",
            "payout",
            "payouts",
            "stripe",
            "paypal",
            "subscription",
            "subscriptions",
            "ledger",
            "wallet",
        ],
        code: &[
            "payment",
            "stripe",
            "paypal",
            "refund",
            "payout",
            "credit_card",
            "creditcard",
            "iban",
        ],
    },
    Area {
        name: "touches-database",
        points: 25,
        paths: &[
            "database",
            "databases",
            "db",
            "sql",
            "migration",
            "migrations",
            "schema",
            "alembic",
            "prisma",
            "dao",
            "orm",
        ],
        code: &[
            "insert into",
            "delete from",
            "alter table",
            "create table",
            "drop table",
            "update set",
            "execute(",
            "executemany(",
            "commit()",
            "rollback()",
            "begin transaction",
            "cursor",
            "session.commit",
        ],
    },
    Area {
        name: "touches-delivery",
        points: 30,
        paths: &[
            "dockerfile",
            "docker",
            "deploy",
            "deployment",
            "ci",
            "workflows",
            "terraform",
            "helm",
            "k8s",
            "kubernetes",
            "ansible",
            "makefile",
            "jenkinsfile",
            "package",
            "requirements",
            "cargo",
            "pyproject",
            "gemfile",
            "pom",
        ],
        code: &[],
    },
    Area {
        name: "touches-concurrency",
        points: 10,
        paths: &[],
        code: &[
            "thread",
            "threading",
            "lock",
            "mutex",
            "semaphore",
            "atomic",
            "async",
            "await",
            "promise.all",
            "asyncio",
        ],
    },
];

/// Operations that a repair has no need for.
const DANGEROUS: [&str; 24] = [
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
];

fn lines(patch: &Patch) -> impl Iterator<Item = &str> {
    patch
        .files
        .iter()
        .flat_map(|file| file.added.iter().chain(&file.removed))
        .map(String::as_str)
}

/// What kind of change this is at all: text, formatting, logging, configuration, code.
pub(crate) fn nature(patch: &Patch) -> Option<Factor> {
    let all =
        |test: fn(&PatchFile) -> bool| !patch.files.is_empty() && patch.files.iter().all(test);
    if all(only_formatting) {
        return Some(Factor::new(
            "only-formatting",
            0,
            "nothing but blanks changes",
        ));
    }
    if all(|file| ends(&file.path, &[".md", ".rst", ".txt", ".adoc"])) {
        return Some(Factor::new("only-documents", 0, "only documents change"));
    }
    if all(|file| is_code(&file.path) && only_logging(file)) {
        return Some(Factor::new("only-logging", 2, "only lines that log change"));
    }
    if all(|file| is_configuration(&file.path)) {
        return Some(Factor::new(
            "only-configuration",
            5,
            "only configuration changes",
        ));
    }
    Some(Factor::new("changes-code", 6, "code changes"))
}

fn ends(path: &str, endings: &[&str]) -> bool {
    let lower = path.to_ascii_lowercase();
    endings.iter().any(|ending| lower.ends_with(ending))
}

fn is_configuration(path: &str) -> bool {
    ends(
        path,
        &[
            ".json",
            ".yml",
            ".yaml",
            ".toml",
            ".ini",
            ".cfg",
            ".conf",
            ".properties",
            ".env",
        ],
    )
}

fn is_code(path: &str) -> bool {
    !is_configuration(path) && !ends(path, &[".md", ".rst", ".txt", ".adoc", ".sql"])
}

/// Lines are the same but for blanks. Where indentation means something, it must
/// be the same too.
fn only_formatting(file: &PatchFile) -> bool {
    let indentation_counts = ends(
        &file.path,
        &[
            ".py", ".yml", ".yaml", ".nim", ".haml", ".pug", ".coffee", ".md",
        ],
    );
    let shape = |lines: &[String]| -> Vec<String> {
        let bare = |line: &String| {
            let trimmed = line.trim_end();
            let inner: String = trimmed.split_whitespace().collect::<Vec<_>>().join(" ");
            let indent = trimmed.len() - trimmed.trim_start().len();
            if indentation_counts {
                format!("{indent}:{inner}")
            } else {
                inner
            }
        };
        lines
            .iter()
            .filter(|line| !line.trim().is_empty())
            .map(bare)
            .collect()
    };
    file.change == ChangeKind::Modified && shape(&file.added) == shape(&file.removed)
}

/// Every line that is new or gone is a call of a logger.
fn only_logging(file: &PatchFile) -> bool {
    let marks = [
        "log.",
        "logger.",
        "logging.",
        "console.log(",
        "console.warn(",
        "console.error(",
        "tracing::",
        "print(",
        "println!(",
    ];
    let logs = |line: &String| {
        let line = line.trim();
        // One call per line, and nothing after it that would do more.
        line.is_empty()
            || marks.iter().any(|mark| line.starts_with(mark)) && line.matches(';').count() <= 1
    };
    file.change == ChangeKind::Modified
        && !file.added.is_empty()
        && file.added.iter().chain(&file.removed).all(logs)
}

pub(crate) fn size(patch: &Patch) -> Option<Factor> {
    let changed = lines(patch).count();
    let points = match changed {
        0..=4 => 0,
        5..=10 => 3,
        11..=30 => 8,
        31..=80 => 16,
        81..=200 => 26,
        _ => 40,
    };
    (points > 0).then(|| Factor::new("size", points, format!("{changed} changed lines")))
}

pub(crate) fn files(patch: &Patch) -> Option<Factor> {
    let count = u32::try_from(patch.files.len()).unwrap_or(u32::MAX);
    (count > 1).then(|| {
        Factor::new(
            "files",
            count.saturating_mul(4).min(30),
            format!("{count} files"),
        )
    })
}

pub(crate) fn tests(patch: &Patch, points: u32) -> Option<Factor> {
    let test = patch.files.iter().find(|file| file.test)?;
    let gone = test.change == ChangeKind::Deleted || test.removed.len() > test.added.len();
    let (name, points) = if gone {
        ("weakens-tests", points + 20)
    } else {
        ("edits-tests", points)
    };
    Some(Factor::new(name, points, test.path.clone()))
}

pub(crate) fn areas(patch: &Patch) -> Vec<Factor> {
    AREAS
        .iter()
        .filter_map(|area| touched(patch, area))
        .collect()
}

/// Full points for a telling path, half for a telling line.
fn touched(patch: &Patch, area: &Area) -> Option<Factor> {
    let by_path = patch.files.iter().find(|file| {
        words(&file.path)
            .iter()
            .any(|word| area.paths.contains(&word.as_str()))
    });
    if let Some(file) = by_path {
        return Some(Factor::new(area.name, area.points, file.path.clone()));
    }
    let line = lines(patch).find(|line| {
        let squeezed = squeeze(line);
        area.code.iter().any(|word| phrase(&squeezed, word))
    })?;
    Some(Factor::new(
        area.name,
        area.points.div_ceil(2),
        line.trim().chars().take(120).collect::<String>(),
    ))
}

/// The words of a path, as in `user`, `session`, `py` for `UserSession.py`.
fn words(path: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut lower_before = false;
    for character in path.chars() {
        let splits =
            !character.is_ascii_alphanumeric() || character.is_ascii_uppercase() && lower_before;
        lower_before = character.is_ascii_lowercase();
        if splits {
            words.push(String::new());
        }
        if character.is_ascii_alphanumeric()
            && let Some(word) = words.last_mut()
        {
            word.push(character.to_ascii_lowercase());
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

pub(crate) fn core(patch: &Patch, globs: &[String], points: u32) -> Option<Factor> {
    let file = patch
        .files
        .iter()
        .find(|file| globs.iter().any(|pattern| glob(pattern, &file.path)))?;
    Some(Factor::new("touches-core", points, file.path.clone()))
}

pub(crate) fn deletions(patch: &Patch) -> Vec<Factor> {
    let mut factors = Vec::new();
    if let Some(file) = patch
        .files
        .iter()
        .find(|file| file.change == ChangeKind::Deleted)
    {
        factors.push(Factor::new("deletes-file", 25, file.path.clone()));
    }
    let added: usize = patch.files.iter().map(|file| file.added.len()).sum();
    let removed: usize = patch.files.iter().map(|file| file.removed.len()).sum();
    if removed > 2 && removed > added * 2 {
        factors.push(Factor::new(
            "deletes-more-than-it-adds",
            15,
            format!("{removed} lines gone, {added} new"),
        ));
    }
    let checks = |lines: &[String]| {
        let marks = [
            "if ", "if(", "raise", "throw", "assert", "except", "catch", "ensure", "require(",
        ];
        lines
            .iter()
            .filter(|line| marks.iter().any(|mark| line.trim_start().starts_with(mark)))
            .count()
    };
    if let Some(file) = patch
        .files
        .iter()
        .find(|file| checks(&file.removed) > checks(&file.added))
    {
        factors.push(Factor::new("removes-checks", 12, file.path.clone()));
    }
    factors
}

pub(crate) fn danger(patch: &Patch) -> Option<Factor> {
    let line = patch
        .files
        .iter()
        .flat_map(PatchFile::new_lines)
        .find(|line| {
            let squeezed = squeeze(line);
            let tight = tighten(&squeezed);
            DANGEROUS
                .iter()
                .any(|mark| phrase(&squeezed, mark) || phrase(&tight, mark))
        })?;
    Some(Factor::new(
        "dangerous-operation",
        40,
        line.chars().take(120).collect::<String>(),
    ))
}

pub(crate) fn proof(patch: &Patch) -> Vec<Factor> {
    let mut factors = Vec::new();
    if !patch.reproduction_proved {
        factors.push(Factor::new(
            "not-proved",
            30,
            "no reproduction failed before and passes now",
        ));
    }
    let points = match patch.rivals {
        0 => 0,
        1..=2 => 3,
        3..=5 => 6,
        _ => 10,
    };
    if points > 0 {
        factors.push(Factor::new(
            "ambiguous",
            points,
            format!("{} other patches pass the same tests", patch.rivals),
        ));
    }
    factors
}

/// The agent's confidence, which counts only against it. Nonsense counts most.
pub(crate) fn claims(patch: &Patch) -> Option<Factor> {
    let claim = patch.claimed_confidence;
    let points = match claim {
        _ if !claim.is_finite() || !(0.0..=1.0).contains(&claim) => 15,
        _ if claim < 0.5 => 10,
        _ if claim < 0.7 => 5,
        _ => 0,
    };
    (points > 0).then(|| {
        Factor::new(
            "agent-unsure",
            points,
            format!("claimed confidence {claim:.2}"),
        )
    })
}

pub(crate) fn circumstances(context: &Context, patch: &Patch) -> Vec<Factor> {
    let mut factors = Vec::new();
    let severity = match patch.severity.as_str() {
        "CRITICAL" => 8,
        "HIGH" => 4,
        _ => 0,
    };
    if severity > 0 {
        factors.push(Factor::new("severity", severity, patch.severity.clone()));
    }
    if matches!(context.trust, Trust::Machine | Trust::External) {
        factors.push(Factor::new(
            "untrusted-origin",
            2,
            "texts that nobody vouches for led here",
        ));
    }
    factors
}
