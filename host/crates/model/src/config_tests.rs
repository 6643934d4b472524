//! What may be configured, and what is said about the rest.

use super::*;

fn read(text: &str) -> Result<ProviderConfig, toml::de::Error> {
    toml::from_str(text)
}

fn connect(text: &str) -> Result<Arc<dyn Provider>, ConfigError> {
    read(text).expect("well-formed").connect_in(&Surroundings {
        environment: &|name| (name == "SET").then(|| "sk-1234567890abcdef".to_owned()),
        pace: Arc::new(RealPace::new()),
        connect_timeout: Duration::from_secs(1),
        idle_timeout: None,
    })
}

fn complaint(text: &str) -> String {
    use std::error::Error;
    let error = connect(text).err().expect(text);
    match error.source() {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

const BASE: &str = "kind = \"anthropic\"\nmodel = \"m\"\n";

#[test]
fn defaults_are_filled_in() {
    let config = read(BASE).expect("valid");
    assert_eq!(config.max_output_tokens, 16_384);
    assert_eq!(config.timeout_seconds, 180);
    assert_eq!(config.name(), "anthropic:m");
    let written = toml::to_string(&config).expect("written");
    assert_eq!(read(&written).expect("read again"), config);
}

#[test]
fn unknown_fields_and_kinds_are_named() {
    let error = read(&format!("{BASE}tempratur = 1\n")).expect_err("unknown");
    assert!(error.to_string().contains("tempratur"), "{error}");
    let error = read("kind = \"gpt\"\nmodel = \"m\"").expect_err("unknown");
    assert!(error.to_string().contains("openai-responses"), "{error}");
    let error = read(&format!("{BASE}price = {{ input = 1, ouput = 2 }}")).expect_err("unknown");
    assert!(error.to_string().contains("ouput"), "{error}");
}

#[test]
fn the_key_goes_over_tls_or_stays_on_this_machine() {
    for good in [
        "http://127.0.0.1:1/",
        "http://[::1]:8080",
        "http://localhost:11434/v1",
        "https://example.org/anthropic/",
    ] {
        let text = format!("{BASE}key_env = \"SET\"\nbase_url = \"{good}\"\n");
        assert!(connect(&text).is_ok(), "{good}");
    }
    for bad in [
        "http://example.org",
        "http://localhost.evil.org",
        "http://127.0.0.1.evil.org",
        "http://user:pw@127.0.0.1",
        "https://example.org?key=1",
        "ftp://example.org",
        "file:///etc/passwd",
        "example.org",
    ] {
        let text = format!("{BASE}key_env = \"SET\"\nbase_url = \"{bad}\"\n");
        assert!(complaint(&text).starts_with("base_url: "), "{bad}");
    }
    let allowed = format!(
        "{BASE}key_env = \"SET\"\nbase_url = \"http://10.0.0.1\"\nallow_plain_http = true\n"
    );
    assert!(connect(&allowed).is_ok());
}

#[test]
fn a_missing_key_says_where_it_was_looked_for() {
    assert_eq!(
        complaint(BASE),
        "the provider anthropic:m has no key: the environment variable ANTHROPIC_API_KEY \
         is not set; set it to the provider's key"
    );
    let other = format!("{BASE}key_env = \"UNSET\"\n");
    assert!(complaint(&other).contains("UNSET"));
    let file = format!("{BASE}key_file = \"/nowhere/key\"\n");
    assert!(complaint(&file).contains("/nowhere/key"));
    let both = format!("{BASE}key_file = \"/nowhere/key\"\nkey_env = \"SET\"\n");
    assert!(complaint(&both).contains("not both"));
    // The usual key is for the usual address only.
    let elsewhere = format!("{BASE}base_url = \"https://example.org\"\n");
    assert!(connect(&elsewhere).is_ok());
}

#[test]
fn authorities_are_read_when_they_are_configured() {
    let base = format!("{BASE}key_env = \"SET\"\nbase_url = \"https://example.org\"\n");
    let with = |file: &str| format!("{base}ca_file = \"{file}\"\n");
    let own = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/tls/authority.pem");
    assert!(connect(&with(own)).is_ok());
    let missing = complaint(&with("/nowhere/ca.pem"));
    assert!(
        missing.starts_with("ca_file of the provider anthropic:m: cannot read /nowhere/ca.pem"),
        "{missing}"
    );
    let key = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/tls/server.key.pem");
    assert!(complaint(&with(key)).contains("BEGIN CERTIFICATE"));
    let plain = with(own).replace("https://example.org", "http://127.0.0.1:1");
    assert!(complaint(&plain).starts_with("ca_file: "));
}

#[test]
fn numbers_have_bounds() {
    for (line, field) in [
        ("max_output_tokens = 0", "max_output_tokens"),
        ("context_window = 100", "context_window"),
        ("thinking_tokens = 100", "thinking_tokens"),
        ("thinking_tokens = 90000", "thinking_tokens"),
        ("timeout_seconds = 0", "timeout_seconds"),
        ("price = { input = -1.0, output = 1.0 }", "price"),
        ("price = { input = nan, output = 1.0 }", "price"),
    ] {
        let text = format!("{BASE}key_env = \"SET\"\n{line}\n");
        assert!(complaint(&text).starts_with(field), "{line}");
    }
}

#[test]
fn the_version_is_named_once() {
    for (base, path, whole) in [
        ("https://a/", &["v1", "messages"], "https://a/v1/messages"),
        ("https://a/v1", &["v1", "messages"], "https://a/v1/messages"),
        (
            "https://a/x/v1/",
            &["v1", "messages"],
            "https://a/x/v1/messages",
        ),
        (
            "https://a/v1beta/openai/",
            &["chat", "completions"],
            "https://a/v1beta/openai/chat/completions",
        ),
    ] {
        let url = Url::parse(base).expect(base);
        assert_eq!(joined(url, path).expect(base).as_str(), whole);
    }
}
