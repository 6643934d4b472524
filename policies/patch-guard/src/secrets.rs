//! Secrets in added lines: known shapes, and values that look random where a name
//! says that they are secret.

use selfheal_policy_sdk::text::entropy;

/// Beginnings of tokens whose issuers gave them one, with the fewest characters
/// that follow.
const PREFIXES: [(&str, usize, &str); 22] = [
    ("AKIA", 16, "an AWS key"),
    ("ASIA", 16, "an AWS key"),
    ("ghp_", 30, "a GitHub token"),
    ("gho_", 30, "a GitHub token"),
    ("ghs_", 30, "a GitHub token"),
    ("ghu_", 30, "a GitHub token"),
    ("github_pat_", 40, "a GitHub token"),
    ("glpat-", 20, "a GitLab token"),
    ("xoxb-", 20, "a Slack token"),
    ("xoxp-", 20, "a Slack token"),
    ("xapp-", 20, "a Slack token"),
    ("sk-ant-", 20, "an API key"),
    ("sk-proj-", 20, "an API key"),
    ("sk_live_", 16, "a payment key"),
    ("rk_live_", 16, "a payment key"),
    ("AIza", 35, "a Google key"),
    ("ya29.", 20, "a Google token"),
    ("npm_", 36, "an npm token"),
    ("pypi-", 40, "a PyPI token"),
    ("dop_v1_", 40, "a cloud token"),
    ("SG.", 40, "a mail key"),
    ("eyJhbGciOi", 40, "a signed token"),
];

/// Names of variables whose value is a secret.
const NAMES: [&str; 13] = [
    "password",
    "passwd",
    "pwd",
    "secret",
    "token",
    "apikey",
    "api_key",
    "api-key",
    "private_key",
    "access_key",
    "auth_key",
    "credential",
    "encryption_key",
];

/// What kind of secret is in this line, if one is.
pub(crate) fn find(line: &str) -> Option<&'static str> {
    if line.contains("-----BEGIN") && line.contains("PRIVATE KEY") {
        return Some("a private key");
    }
    let known = PREFIXES.iter().find(|(prefix, least, _)| {
        line.match_indices(prefix).any(|(start, _)| {
            let begins = !line
                .get(..start)
                .unwrap_or_default()
                .ends_with(|c: char| c.is_ascii_alphanumeric());
            let rest = line.get(start + prefix.len()..).unwrap_or_default();
            let token = rest
                .chars()
                .take_while(|c| c.is_ascii_alphanumeric() || "-_.".contains(*c))
                .count();
            begins && token >= *least
        })
    });
    if let Some((_, _, what)) = known {
        return Some(what);
    }
    if url_with_password(line) {
        return Some("a password in an address");
    }
    assigned(line)
}

/// `scheme://user:password@host` with a literal password.
fn url_with_password(line: &str) -> bool {
    line.match_indices("://").any(|(start, _)| {
        let rest = line.get(start + 3..).unwrap_or_default();
        let authority: String = rest
            .chars()
            .take_while(|c| !c.is_whitespace() && !"/\"'`".contains(*c))
            .collect();
        let Some((user, _host)) = authority.rsplit_once('@') else {
            return false;
        };
        let Some((_, password)) = user.split_once(':') else {
            return false;
        };
        // Placeholders and interpolation are how it should be.
        !password.is_empty()
            && !password.contains(['{', '$', '<', '%', '*'])
            && password != "password"
    })
}

/// A random-looking literal given to something with a telling name.
fn assigned(line: &str) -> Option<&'static str> {
    let lower = line.to_ascii_lowercase();
    let name_at = NAMES
        .iter()
        .filter_map(|name| lower.find(name).map(|at| at + name.len()))
        .min()?;
    let rest = line.get(name_at..)?;
    let value_at = rest.find(['=', ':', '('])?;
    let rest = rest.get(value_at..)?;
    let open = rest.find(['"', '\'', '`'])?;
    let quote = rest.get(open..)?.chars().next()?;
    let value = rest.get(open + 1..)?.split(quote).next()?;
    let plain = value.len() >= 12
        && !value.contains([' ', '{', '<', '$', '/'])
        && value.chars().any(|c| c.is_ascii_digit())
        && value.chars().any(|c| c.is_ascii_alphabetic());
    (plain && entropy(value) > 3.2).then_some("a secret value")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Put together here, so that no scanner finds a token in this file.
    fn glued(parts: &[&str]) -> String {
        parts.concat()
    }

    #[test]
    fn secrets_are_found() {
        for line in [
            glued(&["key = '", "AK", "IA", "IOSFODNN7EXAMPLE", "'"]),
            glued(&["token: gh", "p_", "abcdefghijklmnopqrstuvwxyz0123456789"]),
            glued(&["-----BEGIN RSA ", "PRIVATE KEY-----"]),
            glued(&["const API_KEY = \"", "q8Zx71LwPq9RtVbN3c", "\";"]),
            glued(&["password=\"", "Tr0ub4dor&3xyzq", "\""]),
            glued(&["db = 'postgres://app:", "hunter22", "@db/app'"]),
        ] {
            assert!(find(&line).is_some(), "{line}");
        }
    }

    #[test]
    fn ordinary_lines_are_not() {
        for line in [
            "password = os.environ['APP_PASSWORD']",
            "token = request.headers.get('Authorization')",
            "if not secret: raise ValueError('missing secret value in settings')",
            "db = f'postgres://{user}:{password}@db/app'",
            "api_key = \"YOUR_API_KEY_HERE\"",
            "skip_token = tokens[i + 1]",
            "url = 'https://example.org/password-reset'",
            "digest = 'd41d8cd98f00b204e9800998ecf8427e'",
        ] {
            assert_eq!(find(line), None, "{line}");
        }
    }
}
