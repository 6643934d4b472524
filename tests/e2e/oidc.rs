//! Logging in at somebody else's: a provider of identities, and a trusted proxy. Whoever
//! forges either stays outside.

mod provider;

use crate::programs::cart;
use provider::{CLIENT, Forgery, Provider, SECRET, parameters};
use selfheal_tests::TestHost;
use serde_json::{Value, json};

const PLACE: &str = "/api/v1/session/oidc";

/// A browser that was sent to the provider: where, and what it holds.
struct Begun {
    url: String,
    cookie: String,
}

fn begin(host: &TestHost, return_to: &str) -> Begun {
    let answer = host.raw("GET", &format!("{PLACE}?returnTo={return_to}"), &[], "");
    assert_eq!(answer.status(), 303);
    let header = |name: &str| answer.headers()[name].to_str().unwrap().to_owned();
    let set = header("set-cookie");
    for part in ["HttpOnly", "SameSite=Lax", &format!("Path={PLACE};")] {
        assert!(set.contains(part), "{set}");
    }
    Begun {
        url: header("location"),
        cookie: set.split(';').next().unwrap().to_owned(),
    }
}

/// The browser comes back: where it goes on, and the session that it got.
fn come_back(host: &TestHost, cookie: &str, query: &str) -> (String, Option<String>) {
    let headers = [("cookie", cookie), ("sec-fetch-site", "cross-site")];
    let place = format!("{PLACE}/callback?{query}");
    let answer = host.raw("GET", &place, &headers, "");
    assert_eq!(answer.status(), 303);
    let cookies = answer.headers().get_all("set-cookie").iter();
    let session = cookies
        .map(|cookie| cookie.to_str().unwrap())
        .find(|cookie| cookie.starts_with("selfheal_session="));
    if let Some(session) = session {
        for part in ["HttpOnly", "SameSite=Strict", "Path=/;"] {
            assert!(session.contains(part), "{session}");
        }
    }
    let session = session.and_then(|cookie| cookie.split(';').next());
    let location = answer.headers()["location"].to_str().unwrap().to_owned();
    (location, session.map(str::to_owned))
}

fn ann() -> Value {
    json!({"sub": "4711", "preferred_username": "ann"})
}

const REFUSED: &str = "/?login=refused";

#[test]
fn a_provider_of_identities_logs_in_whom_it_vouches_for_and_nobody_else() {
    let provider = Provider::start();
    let project = cart();
    let outside = project.outside();
    std::fs::write(outside.join("client-secret"), format!("{SECRET}\n")).unwrap();
    let host = TestHost::start(&project, |config, _| {
        config.push_str(&format!(
            "\n[server.oidc]\nissuer = {:?}\nclient_id = {CLIENT:?}\n\
             client_secret_file = \"client-secret\"\nlabel = \"Our own ID\"\n\
             redirect_url = \"http://127.0.0.1:7700{PLACE}/callback\"\n",
            provider.issuer
        ));
    });
    let log_in = |return_to: &str, claims: Value, forgery: Forgery| {
        let begun = begin(&host, return_to);
        let (code, state) = provider.log_in(&begun.url, claims, forgery);
        come_back(&host, &begun.cookie, &format!("code={code}&state={state}"))
    };
    let none = |location: &str| (location.to_owned(), None);

    let options = host.send("", "GET", "/session/options", None);
    assert_eq!(options.body["provider"]["label"], "Our own ID");

    // Who has no account gets none; who has one is who it says, and goes on where it was.
    assert_eq!(log_in("/", ann(), Forgery::None), none("/?login=unknown"));
    host.user(&project, "ann", "user");
    let operator = |arguments: &[&str], fed: &str| {
        let ran = project.selfheal_fed(&outside, arguments, &[], fed.as_bytes());
        assert_eq!(ran.code, 0, "{ran:?}");
    };
    operator(&["user", "password", "ann"], "correct horse battery\n");
    operator(&["user", "disable", "ann"], "");
    assert_eq!(log_in("/", ann(), Forgery::None), none("/?login=unknown"));
    operator(&["user", "enable", "ann"], "");
    let (location, session) = log_in("/issues/open%3Fq%3Dx", ann(), Forgery::None);
    assert_eq!(location, "/issues/open?q=x");
    let session = session.unwrap();
    let headers = [("cookie", session.as_str())];
    let me = host.raw("GET", "/api/v1/session", &headers, "");
    let me: Value = serde_json::from_str(&me.into_body().read_to_string().unwrap()).unwrap();
    assert_eq!(
        (&me["username"], &me["role"]),
        (&json!("ann"), &json!("user"))
    );
    // From then on by the provider alone.
    assert_eq!(
        (&me["hasPassword"], &me["hasProvider"]),
        (&json!(false), &json!(true))
    );
    let password = ["user", "password", "ann"];
    let ran = project.selfheal_fed(&outside, &password, &[], b"correct horse battery\n");
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(ran.stderr.contains("provider of identities"), "{ran:?}");

    operator(&["user", "disable", "ann"], "");
    let disabled = none("/?login=disabled");
    assert_eq!(log_in("/", ann(), Forgery::None), disabled);
    let me = host.raw("GET", "/api/v1/session", &headers, "");
    assert_eq!(me.status(), 401, "and the session is over");
    operator(&["user", "enable", "ann"], "");

    // The name belongs to the first who came with it.
    let other = json!({"sub": "4712", "preferred_username": "ann"});
    assert_eq!(log_in("/", other, Forgery::None), none("/?login=unknown"));
    // No name that somebody may have chosen is an admin's.
    host.user(&project, "boss", "admin");
    let boss = json!({"sub": "2", "preferred_username": "boss"});
    assert_eq!(log_in("/", boss, Forgery::None), none("/?login=unknown"));
    let hook = host.user(&project, "robot", "hook");
    let robot = json!({"sub": "1", "preferred_username": "robot"});
    assert_eq!(log_in("/", robot, Forgery::None), none("/?login=unknown"));

    for forgery in [
        Forgery::Unsigned,
        Forgery::ClientSecret,
        Forgery::Changed,
        Forgery::Nonce,
        Forgery::Audience,
        Forgery::Issuer,
        Forgery::Expired,
    ] {
        assert_eq!(log_in("/", ann(), forgery), none(REFUSED), "{forgery:?}");
    }

    // Nobody is sent elsewhere, whatever the way in said.
    for evil in [
        "%2F%2Fevil.test",
        "https:%2F%2Fevil.test",
        "%2F%5Cevil.test",
    ] {
        assert_eq!(log_in(evil, ann(), Forgery::None).0, "/", "{evil}");
    }

    // An answer counts in the browser that asked, once, and from the provider alone.
    let begun = begin(&host, "/");
    let (code, state) = provider.log_in(&begun.url, ann(), Forgery::None);
    let right = format!("code={code}&state={state}");
    let stranger = begin(&host, "/");
    let attempts: [(&str, &str); 6] = [
        ("", &right),
        (&stranger.cookie, &right),
        (&begun.cookie, &format!("code={code}&state=guessed")),
        (&begun.cookie, &format!("code={code}")),
        (&begun.cookie, &format!("state={state}&error=access_denied")),
        (
            &begun.cookie,
            &format!("{right}&iss=http:%2F%2F127.0.0.1:9"),
        ),
    ];
    for (cookie, query) in attempts {
        assert_eq!(
            come_back(&host, cookie, query),
            none(REFUSED),
            "{cookie} {query}"
        );
    }
    let (location, session) = come_back(&host, &begun.cookie, &right);
    assert!(location == "/" && session.is_some());
    assert_eq!(
        come_back(&host, &begun.cookie, &right),
        none(REFUSED),
        "again"
    );
    // The same code in a new log-in, whose state is right.
    let later = begin(&host, "/");
    let state = parameters(later.url.split_once('?').unwrap().1)["state"].clone();
    let query = format!("code={code}&state={state}");
    assert_eq!(come_back(&host, &later.cookie, &query), none(REFUSED));
    // Who steals a code cannot redeem it with a log-in of their own.
    let victim = begin(&host, "/");
    let (stolen, _) = provider.log_in(&victim.url, ann(), Forgery::None);
    let query = format!("code={stolen}&state={state}");
    assert_eq!(come_back(&host, &later.cookie, &query), none(REFUSED));

    let log = project
        .selfheal_in(&outside, &["audit", "log", "--json"])
        .stdout;
    assert!(log.contains("session.opened") && log.contains("session.refused"));
    for secret in [SECRET, code.as_str(), hook.as_str()] {
        assert!(!log.contains(secret));
    }
    let said = std::fs::read_to_string(outside.join("host.log")).unwrap();
    assert!(!said.contains(SECRET));
}

#[test]
fn a_trusted_proxy_names_the_user_and_nobody_else_does() {
    let project = cart();
    let host = TestHost::start(&project, |config, _| {
        config.push_str(
            "\n[server.proxy]\ntrusted = [\"127.0.0.1\"]\nforwarded = true\n\
             user_header = \"X-Forwarded-User\"\n",
        );
    });
    host.user(&project, "ann", "user");
    host.user(&project, "robot", "hook");
    let status = |host: &TestHost, method: &str, headers: &[(&str, &str)]| {
        let report = json!({"title": "x", "description": "y"}).to_string();
        let body = if method == "GET" { "" } else { &report };
        let answer = host.raw(method, "/api/v1/issues", headers, body);
        answer.status().as_u16()
    };
    const USER: &str = "x-forwarded-user";
    assert_eq!(status(&host, "GET", &[(USER, "ann")]), 200);
    let switch = |what| project.selfheal_in(&project.outside(), &["user", what, "ann"]);
    assert_eq!(switch("disable").code, 0);
    assert_eq!(status(&host, "GET", &[(USER, "ann")]), 401);
    assert_eq!(switch("enable").code, 0);
    for nobody in ["nobody", "Ann O'Nym", "robot", ""] {
        assert_eq!(status(&host, "GET", &[(USER, nobody)]), 401, "{nobody:?}");
    }
    assert_eq!(status(&host, "GET", &[(USER, "ann"), (USER, "admin")]), 401);
    let log_in = host.raw("GET", "/api/v1/users", &[(USER, "ann")], "");
    assert_eq!(log_in.status(), 403, "the role is the account's");
    // What a proxy adds is added to requests from foreign pages, too.
    let asked = ("x-forwarded-host", "heal.example.org");
    let scheme = ("x-forwarded-proto", "https");
    let from = |origin| [(USER, "ann"), asked, scheme, ("origin", origin)];
    assert_eq!(status(&host, "POST", &[(USER, "ann"), asked, scheme]), 403);
    assert_eq!(status(&host, "POST", &from("https://evil.test")), 403);
    assert_eq!(status(&host, "POST", &from("http://heal.example.org")), 403);
    assert_eq!(
        status(&host, "POST", &from("https://heal.example.org")),
        201
    );

    // The same words from somebody who is not that proxy.
    let config = project.outside().join("selfheal.toml");
    let text = std::fs::read_to_string(&config).unwrap();
    let text = text.replace("\"127.0.0.1\"]", "\"10.0.0.7\"]");
    std::fs::write(&config, &text).unwrap();
    let host = TestHost::restart(&project, host.kill());
    assert_eq!(status(&host, "GET", &[(USER, "ann")]), 401);
    assert_eq!(status(&host, "GET", &[(USER, "admin")]), 401);

    // Newcomers, where they are wanted, and never with a role that decides.
    let wanting = text
        .replace("\"10.0.0.7\"]", "\"127.0.0.1\"]")
        .replace("forwarded = true", "unknown_users = \"user\"");
    std::fs::write(&config, &wanting).unwrap();
    let host = TestHost::restart(&project, host.kill());
    assert_eq!(status(&host, "GET", &[(USER, "newcomer")]), 200);
    let users = host.admin("GET", "/users", None).to_string();
    assert!(users.contains("newcomer"), "{users}");
    drop(host);
    std::fs::write(&config, wanting.replace("\"user\"", "\"admin\"")).unwrap();
    let ran = project.selfheal_in(&project.outside(), &["serve", "--listen", "127.0.0.1:0"]);
    assert_eq!(ran.code, 2, "{ran:?}");
    assert!(ran.stderr.contains("server.proxy.unknown_users"), "{ran:?}");
}
