//! Shapes of our own: the head of a private key, a password in an address, and a
//! random-looking literal given to something with a telling name.

use selfheal_policy_sdk::text::{Needles, entropy};

/// What one of the shapes begins with.
static MARKS: Needles<15> = Needles::new([
    "-----BEGIN",
    "://",
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
]);

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
pub(super) fn find(line: &str) -> Option<&'static str> {
    if !MARKS.any(line) {
        return None;
    }
    if line.contains("-----BEGIN") && line.contains("PRIVATE KEY") {
        return Some("private-key-head");
    }
    if url_with_password(line) {
        return Some("address-with-password");
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
    (plain && entropy(value) > 3.2).then_some("named-literal")
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
