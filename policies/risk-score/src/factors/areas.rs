//! Areas where mistakes are dear: told by paths and by words of code.

use super::lines;
use selfheal_policy_sdk::text::{glob, phrase, squeeze};
use selfheal_policy_sdk::{Factor, Patch};

/// An area where mistakes are dear: name, points, words of paths, words of code.
pub(crate) struct Area {
    pub(crate) name: &'static str,
    points: u32,
    paths: &'static [&'static str],
    code: &'static [&'static str],
}

pub(crate) const AREAS: [Area; 5] = [
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

/// What the installation adds to an area.
#[derive(Default)]
pub(crate) struct More {
    /// Globs of paths.
    pub(crate) paths: Vec<String>,
    /// Words of code, in lower case.
    pub(crate) words: Vec<String>,
}

/// One factor for each area that the patch touches; `more` in the order of
/// [`AREAS`].
pub(crate) fn touched_areas(patch: &Patch, more: &[More]) -> Vec<Factor> {
    let none = More::default();
    AREAS
        .iter()
        .enumerate()
        .filter_map(|(number, area)| touched(patch, area, more.get(number).unwrap_or(&none)))
        .collect()
}

/// Full points for a telling path, half for a telling line.
fn touched(patch: &Patch, area: &Area, more: &More) -> Option<Factor> {
    let by_path = patch.files.iter().find(|file| {
        words(&file.path)
            .iter()
            .any(|word| area.paths.contains(&word.as_str()))
            || more.paths.iter().any(|pattern| glob(pattern, &file.path))
    });
    if let Some(file) = by_path {
        return Some(Factor::new(area.name, area.points, file.path.clone()));
    }
    let line = lines(patch).find(|line| {
        let squeezed = squeeze(line);
        area.code.iter().any(|word| phrase(&squeezed, word))
            || more.words.iter().any(|word| phrase(&squeezed, word))
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
