//! Secrets go, everything else stays.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

use chrono::{TimeZone, Utc};
use selfheal_audit::{Masker, StoredEvent};
use selfheal_domain::account::{AccountChange, Standing};
use selfheal_domain::digest::Digest;
use selfheal_domain::event::{Event, ToolOutcome};
use selfheal_domain::ids::{CommitId, DecisionId};
use selfheal_domain::patch::{FileChange, Patch};
use selfheal_domain::token::{AccessToken, Scope};
use selfheal_domain::user::{Account, Role, UserName};
use selfheal_domain::verdict::{Evidence, Judgement, Reason, Verdict};
use uuid::Uuid;

fn masker() -> Masker {
    Masker::new([
        "s3cr3t-value",
        "s3cr3t-value-longer",
        "with \"quotes\"",
        "short",
    ])
    .unwrap()
}

#[test]
fn what_looks_like_a_credential_is_masked() {
    let cases = [
        ("key s3cr3t-value.", "key [masked]."),
        ("key s3cr3t-value-longer.", "key [masked]."),
        ("AKIAIOSFODNN7EXAMPLE", "[masked]"),
        (
            "token ghp_16C7e42F292c6912E7710c838347Ae178B4a!",
            "token [masked]!",
        ),
        ("github_pat_11ABCDEFG0123456789_abcdefghij", "[masked]"),
        ("sk-ant-api03-abcdefghijklmnop", "[masked]"),
        ("xoxb-123456789012-abcdef", "[masked]"),
        ("glpat-abcdefghij0123456789", "[masked]"),
        (
            "Authorization: Bearer abc.def-ghi_jkl",
            "Authorization: Bearer [masked]",
        ),
        ("postgres://app:p4ss@db/x", "postgres://app:[masked]@db/x"),
        ("https://:p4ss@host/", "https://:[masked]@host/"),
        ("GET /?password=hunter2&x=1", "GET /?password=[masked]&x=1"),
        ("DB_PASSWORD=hunter2 ./run", "DB_PASSWORD=[masked] ./run"),
        ("?access_token=abcdef#x", "?access_token=[masked]"),
        (
            "a\n-----BEGIN RSA PRIVATE KEY-----\nMII\n-----END RSA PRIVATE KEY-----\nb",
            "a\n[masked]\nb",
        ),
        (
            "-----BEGIN OPENSSH PRIVATE KEY-----\nb3Blb cut off",
            "[masked]",
        ),
        (
            r#"{"command":"echo with \"quotes\""}"#,
            r#"{"command":"echo [masked]"}"#,
        ),
    ];
    let masker = masker();
    for (text, wanted) in cases {
        assert_eq!(masker.text(text), wanted);
        assert!(masker.finds(text), "{text}");
        assert_eq!(masker.text(wanted), wanted, "masking twice changes nothing");
    }
}

#[test]
fn what_is_no_credential_stays() {
    let digest = Digest::of(b"x").to_string();
    let texts = [
        digest.as_str(),
        "0123456789abcdef0123456789abcdef01234567",
        "def check(password, token): return password == token",
        "if (token = next()) { secret == 3 }",
        "short words are not masked",
        "https://example.org:8080/a@b",
        "risk-assessment-of-things task-runner-configuration",
        "the bearer of bad news",
        "-----BEGIN PUBLIC KEY-----",
        "a plain text",
    ];
    for text in texts {
        assert_eq!(masker().text(text), text);
        assert!(!masker().finds(text), "{text}");
    }
}

fn stored(masker: &Masker, event: &Event) -> Event {
    let stored = StoredEvent::of(event, |name, data| masker.event(name, data)).unwrap();
    stored.event().unwrap()
}

#[test]
fn patches_digests_and_accounts_come_through_unchanged() {
    let whole = Patch::of(vec![FileChange {
        path: "settings.py".to_owned(),
        before: Some("url = 'postgres://app:p4ss@db/x'\n".to_owned()),
        after: Some("url = 'postgres://app:p4ss@db/y'\n".to_owned()),
    }]);
    let event = Event::PatchDrafted {
        patch: whole.clone(),
        rationale: "the url postgres://app:p4ss@db/x is wrong".to_owned(),
        confidence: 0.1 + 0.2,
        rivals: vec!["-x = 's3cr3t-value'".to_owned()],
        commit: CommitId("ab".repeat(20)),
        judgement: Judgement {
            verdict: Verdict::Deny(Reason {
                evidence: Some(Evidence::text("s3cr3t-value")),
                ..Reason::new("secret", "holds s3cr3t-value")
            }),
            answers: Vec::new(),
            generation: 1,
            granted: Vec::new(),
            asked: None,
        },
        log: "asked with s3cr3t-value".to_owned(),
    };
    let Event::PatchDrafted {
        patch,
        rationale,
        confidence,
        rivals,
        commit,
        judgement,
        log,
    } = stored(&masker(), &event)
    else {
        panic!("another event");
    };
    assert_eq!(patch, whole, "what is applied is what was proved");
    assert_eq!(rationale, "the url postgres://app:[masked]@db/x is wrong");
    assert_eq!(confidence, 0.1 + 0.2);
    assert_eq!(log, "asked with [masked]");
    assert_eq!(rivals, ["-x = '[masked]'"]);
    assert_eq!(commit.0, "ab".repeat(20));
    let reason = judgement.verdict.reason().unwrap();
    assert_eq!(reason.message, "holds [masked]");
    assert_eq!(reason.evidence, Some(Evidence::text("[masked]")));

    let account = Event::UserSaved(Account {
        name: UserName::new("ada").unwrap(),
        role: Role::Admin,
        token_digest: Some(Digest::of(b"token").to_string()),
        password_hash: Some("$argon2id$v=19$m=1,t=1,p=1$s3cr3t-value$s3cr3t-value".to_owned()),
        tokens: Vec::new(),
        subject: None,
        standing: Standing::Open,
    });
    assert_eq!(stored(&masker(), &account), account);
    let changed = Event::UserChanged {
        name: UserName::new("ada").unwrap(),
        change: AccountChange::Password {
            password_hash: "$argon2id$v=19$m=1,t=1,p=1$s3cr3t-value$s3cr3t-value".to_owned(),
        },
    };
    assert_eq!(stored(&masker(), &changed), changed);

    let token = |label: &str| Event::TokenCreated {
        name: UserName::new("ada").unwrap(),
        token: AccessToken {
            name: label.to_owned(),
            digest: Digest::of(b"token").to_string(),
            scopes: vec![Scope::Policies],
            created_at: Utc.with_ymd_and_hms(2030, 1, 1, 0, 0, 0).unwrap(),
            expires_at: None,
            last_used: None,
        },
    };
    let masker = Masker::new(["s3cr3t-value", "policies"]).unwrap();
    assert_eq!(
        stored(&masker, &token("is s3cr3t-value")),
        token("is [masked]")
    );
}

#[test]
fn a_secret_that_equals_a_word_of_the_format_does_no_harm() {
    let masker = Masker::new(["succeeded", "kebab-case", "decision"]).unwrap();
    let event = Event::ToolFinished {
        decision: DecisionId(Uuid::nil()),
        outcome: ToolOutcome::Succeeded("it succeeded: Bearer abcdefghijklmnop".to_owned()),
    };
    let Event::ToolFinished { outcome, .. } = stored(&masker, &event) else {
        panic!("another event");
    };
    let masked = "it [masked]: Bearer [masked]".to_owned();
    assert_eq!(outcome, ToolOutcome::Succeeded(masked));
}
