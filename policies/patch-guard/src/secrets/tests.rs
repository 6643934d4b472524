//! The rules on made-up secrets. They are put together at run time, so that no
//! scanner finds one in this file.

use super::rules::RULE_COUNT;
use super::*;

fn find_in(path: &str, lines: &[&str]) -> Option<&'static str> {
    Search { path, off: &[] }
        .find(lines)
        .map(|found| found.rule)
}

fn find(line: &str) -> Option<&'static str> {
    find_in("src/a.py", &[line])
}

/// Letters and digits without a pattern, the same every time.
fn random(length: usize, alphabet: &str) -> String {
    let letters: Vec<char> = alphabet.chars().collect();
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    (0..length)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            letters[usize::try_from(state >> 33).unwrap() % letters.len()]
        })
        .collect()
}

const ALPHANUMERIC: &str = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";

#[test]
fn every_rule_compiles() {
    assert_eq!(RULES.len(), RULE_COUNT);
    const { assert!(RULE_COUNT > 200) };
    for rule in RULES {
        assert!(compiled(rule.pattern).is_some(), "{}", rule.id);
        for allow in rule.allow.iter().chain([&EVERYWHERE]) {
            for pattern in allow.regexes.iter().chain(allow.paths) {
                assert!(compiled(pattern).is_some(), "{}: {pattern}", rule.id);
            }
        }
    }
}

#[test]
fn tokens_of_known_issuers_are_found() {
    let lower = random(60, "abcdefghijklmnopqrstuvwxyz0123456789");
    let mixed = random(100, ALPHANUMERIC);
    let hex = random(64, "0123456789abcdef");
    let upper = random(16, "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567");
    for (rule, line) in [
        ("aws-access-token", format!("x = \"{}{upper}\"", "AKIA")),
        ("github-pat", format!("x = '{}{}'", "ghp_", &mixed[..36])),
        ("gitlab-pat", format!("x = '{}{}'", "glpat-", &mixed[..20])),
        (
            "slack-bot-token",
            format!(
                "x = '{}-{}-{}-{}'",
                "xoxb",
                "123456789012",
                "123456789012",
                &mixed[..24]
            ),
        ),
        (
            "stripe-access-token",
            format!("x = '{}{}'", "sk_live_", &mixed[..24]),
        ),
        (
            "npm-access-token",
            format!("x = '{}{}'", "npm_", &lower[..36]),
        ),
        ("gcp-api-key", format!("x = '{}{}'", "AIza", &mixed[..35])),
        (
            "anthropic-api-key",
            format!("x = '{}{}AA'", "sk-ant-api03-", &mixed[..93]),
        ),
        ("digitalocean-pat", format!("x = '{}{hex}'", "dop_v1_")),
        (
            "generic-api-key",
            format!("client_secrets: {}", &mixed[..30]),
        ),
    ] {
        assert_eq!(find(&line), Some(rule), "{line}");
    }
}

#[test]
fn a_secret_over_several_lines_is_found() {
    let body = random(64, ALPHANUMERIC);
    let lines = ["kind: Secret", "metadata:", "  name: x", "data:", "  it: "];
    let last = format!("  it: {}", &body[..40]);
    let mut lines = lines.to_vec();
    lines[4] = &last;
    assert_eq!(
        find_in("deploy/x.yaml", &lines),
        Some("kubernetes-secret-yaml")
    );
    assert_eq!(find_in("deploy/x.txt", &lines), None);
}

#[test]
fn ordinary_code_is_not() {
    for line in [
        "for key, value in items.items():",
        "password = os.environ['APP_PASSWORD']",
        "token = request.headers.get('Authorization')",
        "const accessToken = await getAccessToken(userId, options);",
        "api_key = settings.SERVICE_API_KEY",
        "self.assertEqual(response.json()['token_type'], 'bearer')",
        "def test_monkey_patching_of_the_api_key_lookup_in_settings(self):",
        "import { authenticateUser } from '../authentication/authenticate_user_v2';",
        "key = f\"{prefix}:{user_id}:{int(time.time())}\"",
        "    secret = hashlib.sha256(seed + salt).hexdigest()[:32]",
        "digest = 'd41d8cd98f00b204e9800998ecf8427e'",
        "url = 'https://example.org/password-reset'",
        "PUBLIC_KEY_ID = 'example-public-key-identifier'",
    ] {
        assert_eq!(find(line), None, "{line}");
    }
}

#[test]
fn examples_and_placeholders_are_allowed_as_gitleaks_says() {
    let example = format!("key = '{}{}'", "AKIA", "IOSFODNN7EXAMPLE");
    assert_eq!(find(&example), None);
    let lock = format!("\"auth\": \"{}\"", random(40, ALPHANUMERIC));
    assert_eq!(find(&lock), Some("generic-api-key"));
    assert_eq!(find_in("web/package-lock.json", &[&lock]), None);
}

#[test]
fn a_rule_can_be_switched_off() {
    let line = format!("auth: {}", random(30, ALPHANUMERIC));
    let off = ["generic-api-key".to_owned()];
    let search = Search {
        path: "a.yml",
        off: &off,
    };
    assert_eq!(search.find(&[&line]), None);
}

#[test]
fn the_gate_before_the_patterns_lets_nothing_through_unseen() {
    // Whatever the pattern finds, keyword and run must have found before.
    let token = random(100, "abcdef0123456789");
    for rule in RULES.iter().filter(|rule| rule.around == 0) {
        let line = format!("adobe_secret = \"{token}\" {}", &token[..40]);
        let regex = compiled(rule.pattern).unwrap();
        let mut cache = regex.create_cache();
        if let Some(found) = regex.find(&mut cache, &line) {
            let runs = Runs::of(&line[found.range()]);
            assert!(runs.any >= rule.run, "{}", rule.id);
        }
    }
}
