//! What `selfheal.toml` may say, and what is said of what it may not.

use super::*;

fn parse(text: &str) -> Result<Config, String> {
    Config::parse(Path::new("/etc/selfheal.toml"), text).map_err(|error| error.to_string())
}

#[test]
fn a_small_file_is_enough() {
    let config =
        parse("[application]\nrepository = \"/\"\n[verification]\ntests = [\"make test\"]\n")
            .unwrap();
    assert_eq!(config.checks[0].command, "make test");
    assert_eq!(config.data, Path::new("/etc/.selfheal"));
    assert_eq!(config.listen.port(), 7700);
}

#[test]
fn keys_are_known_wherever_they_are_written() {
    let home = tempfile::tempdir().unwrap();
    let place = |name: &str| {
        let file = home.path().join(name);
        std::fs::write(&file, format!("{name}-key")).unwrap();
        file.display().to_string()
    };
    let config = parse(&format!(
        "[application]\nrepository = \"/\"\n\
         [[agent.model]]\nkind = \"anthropic\"\nmodel = \"m\"\nkey_file = {:?}\n\
         [agent.external]\ncommand = [\"claude\"]\nkey_file = {:?}\n\
         [[agent.mcp]]\nname = \"a\"\nurl = \"https://a\"\ntoken_file = {:?}\n\
         [[agent.mcp]]\nname = \"b\"\nurl = \"https://b\"\ntoken_env = \"PATH\"\n",
        place("model"),
        place("external"),
        place("server"),
    ))
    .unwrap();
    let path = std::env::var("PATH").unwrap();
    let keys = ["model-key", "external-key", "server-key", path.as_str()];
    assert_eq!(config.agent.keys(), keys);
}

#[test]
fn errors_name_the_place_and_what_is_valid() {
    let error = parse("[application]\nrepository = \"/\"\ncolour = 3\n").unwrap_err();
    assert!(
        error.contains("/etc/selfheal.toml")
            && error.contains("line 3")
            && error.contains("colour"),
        "{error}"
    );
    let error =
        parse("[application]\nrepository = \"/\"\n[agent]\nprovider = \"oracle\"\n").unwrap_err();
    assert!(
        error.contains("line 4") && error.contains("builtin"),
        "{error}"
    );
    for (agent, expected) in [
        ("provider = \"model\"", "[[agent.model]]"),
        ("provider = \"codex\"", "[agent.external]"),
        ("[agent.external]\ncommand = []", "agent.external.command"),
        (
            "[agent.external]\ncommand = [\"claude\"]\nbase_url = \"http://example.org\"",
            "agent.external.base_url",
        ),
        ("max_cost = -1.0", "agent.max_cost"),
        ("max_cost = nan", "agent.max_cost"),
        ("drafting_turns = 0", "agent.drafting_turns"),
        (
            "max_cost = 1.0\n[[agent.model]]\nkind = \"anthropic\"\nmodel = \"m\"",
            "anthropic:m: give its `price`",
        ),
        (
            "[[agent.model]]\nkind = \"oracle\"\nmodel = \"m\"",
            "anthropic",
        ),
    ] {
        let text = format!("[application]\nrepository = \"/\"\n[agent]\n{agent}\n");
        let error = parse(&text).unwrap_err();
        assert!(error.contains(expected), "{agent}: {error}");
    }
    for (server, expected) in [
        ("[server.proxy]\ntrusted = []", "server.proxy.trusted"),
        ("[server.proxy]\ntrusted = [\"10.0.0.0/64\"]", "10.0.0.0/64"),
        (
            "[server.proxy]\ntrusted = [\"::1\"]\nuser_header = \"a b\"",
            "server.proxy.user_header",
        ),
        (
            "[server.proxy]\ntrusted = [\"::1\"]\nunknown_users = \"admin\"",
            "server.proxy.unknown_users",
        ),
        ("[server.tls]\ncertificate = \"c\"", "key"),
    ] {
        let error = parse(&format!("[application]\nrepository = \"/\"\n{server}\n"));
        let error = error.unwrap_err();
        assert!(error.contains(expected), "{server}: {error}");
    }
    let oidc = "[application]\nrepository = \"/\"\n[server.oidc]\nissuer = \"https://i\"\n\
        client_id = \"c\"\nredirect_url = \"https://h/\"\n";
    assert!(parse(oidc).is_ok());
    for (agent, line) in [
        ("max_attempts = 0", "line 5"),
        ("concurrency = 0", "line 5"),
    ] {
        let text = format!("[application]\nrepository = \"/\"\n# here\n[agent]\n{agent}\n");
        let error = parse(&text).unwrap_err();
        assert!(error.contains(line), "{agent}: {error}");
    }
    let error = parse("[application]\nrepository = \"/\"\n[[verification.probe]]\nname = \"a\"\nurl = \"nonsense\"\n").unwrap_err();
    assert!(
        error.contains("line 5") && error.contains("nonsense"),
        "{error}"
    );
    for (wrong, expected) in [
        ("unknown_users = \"hook\"", "server.oidc.unknown_users"),
        ("role_claim = \"groups\"", "server.oidc.role_claim"),
        ("roles = { staff = \"user\" }", "server.oidc.role_claim"),
        (
            "client_secret_env = \"A\"\nclient_secret_file = \"/b\"",
            "server.oidc.client_secret_env",
        ),
        ("users = { \"a@b\" = \"No Name\" }", "No Name"),
    ] {
        let error = parse(&format!("{oidc}{wrong}\n")).unwrap_err();
        assert!(error.contains(expected), "{wrong}: {error}");
    }
    let error = parse("[application]\nrepository = \"/nowhere-at-all\"\n").unwrap_err();
    assert!(
        error.contains("application.repository") && error.contains("is not there"),
        "{error}"
    );
    let error = parse("[application]\nrepository = \"/\"\n[verification]\ntimeout_seconds = 0\n")
        .unwrap_err();
    assert!(error.contains("verification.timeout_seconds"), "{error}");
    let service = "[application]\nrepository = \"/\"\n[[service]]\nname = \"a\"\n\
        command = \"x\"\nafter = [\"b\"]\n[[service]]\nname = \"b\"\ncommand = \"x\"\n";
    assert!(parse(&service.replace("after = [\"b\"]\n", "")).is_ok());
    let error = parse(&format!("{service}after = [\"a\"]\n")).unwrap_err();
    assert!(
        error.contains("/etc/selfheal.toml") && error.contains("a after b after a"),
        "{error}"
    );
    let error =
        parse("[application]\nrepository = \"/\"\n[verification]\ntests = [1]\n").unwrap_err();
    assert!(error.contains("a command as text"), "{error}");
}
