//! Signatures, judged by `git verify-commit` and `ssh-keygen`.

use super::fixture::{Fixture, message, patch, run};
use crate::message::CommitSigner;
use crate::{
    CommitKey, CommitKeyError, CommitPublicKey, GitRepository, SignatureFlaw, verify_signature,
};
use selfheal_domain::ports::Repository;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

fn key(app: &Fixture) -> Arc<CommitKey> {
    Arc::new(CommitKey::open_or_create(&app.state.join("keys/commits")).unwrap())
}

fn signed(app: &Fixture) -> GitRepository {
    app.open().with_signer(key(app))
}

fn ssh_keygen(args: &[&str]) -> (bool, String) {
    #[expect(
        clippy::disallowed_methods,
        reason = "OpenSSH is the judge of this test"
    )]
    let out = std::process::Command::new("ssh-keygen")
        .args(args)
        .output()
        .unwrap();
    let text = [out.stdout, out.stderr].concat();
    (
        out.status.success(),
        String::from_utf8_lossy(&text).into_owned(),
    )
}

#[test]
fn every_commit_passes_verify_commit_with_every_trailer_in_its_place() {
    let app = Fixture::new(&[("a", "a\n"), ("b", "b\n")]);
    app.write("b", "dirty\n");
    let repo = signed(&app);
    let fix = patch(&[("a", Some("a\n"), Some("A\n"))]);
    let mut text = message("Heal: the subject");
    text.trailers = [
        ("Selfheal-Risk", "12 low"),
        ("Selfheal-Autonomy", "apply: low risk"),
        ("Selfheal-Policy", "3 0123"),
        ("Selfheal-Approved-By", "admin-0123456789ab"),
        ("Selfheal-Audit", "42 4567"),
        ("Assisted-by", "engine:builtin"),
        ("Signed-off-by", "Nobody <nobody@example.org>"),
    ]
    .map(|(key, value)| (key.to_owned(), value.to_owned()))
    .to_vec();
    let snapshot = repo.snapshot(run(1), &text).unwrap();
    repo.open_layer(run(1), &snapshot.commit).unwrap();
    let draft = repo
        .commit_draft_run(run(1), &snapshot.commit, &fix, &text)
        .unwrap();
    let heal = repo
        .apply_run(run(1), &snapshot, &fix, &text)
        .unwrap()
        .commit;
    text.trailers.push((
        "Selfheal-Reason".to_owned(),
        "it got worse\nSelfheal-Kind: heal".to_owned(),
    ));
    let rollback = repo
        .roll_back_run(run(1), &snapshot, &fix, &text)
        .unwrap()
        .unwrap();

    let allowed = app.state.join("allowed_signers");
    let line = key(&app).public().allowed_signer("selfheal@test");
    std::fs::write(&allowed, format!("{line}\n")).unwrap();
    let file = format!("gpg.ssh.allowedSignersFile={}", allowed.display());
    for (commit, kind) in [
        (&snapshot.commit, "snapshot"),
        (&draft, "heal"),
        (&heal, "heal"),
        (&rollback, "rollback"),
    ] {
        app.git(&["-c", &file, "verify-commit", &commit.0]);
        let trailers = app.git(&["log", "-1", "--format=%(trailers:only,unfold)", &commit.0]);
        let of = |key: &str| -> Vec<&str> {
            let prefix = format!("{key}: ");
            let lines = trailers.lines();
            lines
                .filter_map(|line| line.strip_prefix(&prefix))
                .collect()
        };
        assert_eq!(of("Selfheal-Kind"), [kind], "{trailers}");
        assert_eq!(of("Selfheal-Issue"), ["7"]);
        assert_eq!(of("Selfheal-Run"), ["1"]);
        for (key, value) in &text.trailers[..6] {
            assert_eq!(of(key), [value.as_str()], "{trailers}");
        }
        assert!(of("Signed-off-by").is_empty(), "{trailers}");
        if kind == "rollback" {
            assert_eq!(of("Selfheal-Reverts"), [heal.0.as_str()]);
            assert_eq!(of("Selfheal-Reason"), ["it got worse Selfheal-Kind: heal"]);
        }
        let author = app.git(&["log", "-1", "--format=%an <%ae> %cn <%ce>", &commit.0]);
        assert_eq!(
            author.trim(),
            "Selfheal <selfheal@test> Selfheal <selfheal@test>"
        );
    }
    app.git(&["fsck", "--strict", "--no-dangling"]);

    // Another key's list does not vouch for them, and a changed commit is not vouched for.
    let other = CommitKey::open_or_create(&app.state.join("other")).unwrap();
    std::fs::write(&allowed, other.public().allowed_signer("selfheal@test")).unwrap();
    assert!(!app.try_git(&["-c", &file, "verify-commit", &heal.0]).0);
}

#[test]
fn openssh_reads_our_key_and_checks_our_signatures() {
    let app = Fixture::new(&[("a", "a\n")]);
    let key = key(&app);
    let path = app.state.join("keys/commits");
    let shown = path.to_str().unwrap();
    let (read, public) = ssh_keygen(&["-y", "-f", shown]);
    assert!(read, "{public}");
    assert!(public.starts_with(&key.public().to_string()), "{public}");
    let (_, listed) = ssh_keygen(&["-l", "-f", shown]);
    assert!(listed.contains(&key.public().fingerprint()), "{listed}");
    assert_eq!(public.parse::<CommitPublicKey>().ok(), Some(key.public()));
    // And we read what ssh-keygen makes.
    let theirs = app.state.join("theirs");
    let (made, out) = ssh_keygen(&[
        "-q",
        "-t",
        "ed25519",
        "-N",
        "",
        "-f",
        theirs.to_str().unwrap(),
    ]);
    assert!(made, "{out}");
    let theirs = CommitKey::open_or_create(&theirs).unwrap();
    let content = app.state.join("content");
    std::fs::write(&content, "content").unwrap();
    let (made, out) = ssh_keygen(&[
        "-q",
        "-Y",
        "sign",
        "-n",
        "git",
        "-f",
        shown,
        content.to_str().unwrap(),
    ]);
    assert!(made, "{out}");
    let signature = std::fs::read_to_string(app.state.join("content.sig")).unwrap();
    assert_eq!(
        verify_signature(&[theirs.public(), key.public()], b"content", &signature),
        Ok(key.public())
    );
    // Ed25519 has one signature per key and content: ours is theirs.
    assert_eq!(key.sign(b"content").unwrap(), signature);
}

#[test]
fn a_signature_that_does_not_count_says_why() {
    let app = Fixture::new(&[("a", "a\n")]);
    let key = key(&app);
    let other = CommitKey::open_or_create(&app.state.join("other")).unwrap();
    let keys = [key.public()];
    let signature = key.sign(b"content").unwrap();
    assert_eq!(
        verify_signature(&keys, b"content", &signature),
        Ok(key.public())
    );
    assert_eq!(
        verify_signature(&keys, b"Content", &signature),
        Err(SignatureFlaw::Wrong)
    );
    let foreign = other.sign(b"content").unwrap();
    assert_eq!(
        verify_signature(&keys, b"content", &foreign),
        Err(SignatureFlaw::UnknownKey(other.public().fingerprint()))
    );
    for bad in [
        "",
        "x",
        &signature[..100],
        &signature.replace("U1NIU0lH", "U1NIU0lI"),
    ] {
        assert!(
            matches!(
                verify_signature(&keys, b"content", bad),
                Err(SignatureFlaw::Unreadable(_))
            ),
            "{bad}"
        );
    }
    // No prefix of the blob makes it fall over.
    let body: String = signature
        .lines()
        .filter(|line| !line.starts_with('-'))
        .collect();
    for end in (0..body.len()).step_by(4) {
        let cut = format!(
            "-----BEGIN SSH SIGNATURE-----\n{}\n-----END SSH SIGNATURE-----",
            &body[..end]
        );
        assert!(verify_signature(&keys, b"content", &cut).is_err());
    }
}

#[test]
fn a_key_that_others_can_read_or_that_is_none_is_refused() {
    let app = Fixture::new(&[("a", "a\n")]);
    let path = app.state.join("keys/commits");
    let key = key(&app);
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&path), 0o600);
    let again = CommitKey::open_or_create(&path).unwrap();
    assert_eq!(again.public(), key.public());
    assert!(!format!("{key:?}").contains("PRIVATE"));
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
    assert!(matches!(
        CommitKey::open_or_create(&path),
        Err(CommitKeyError::Exposed { mode: 0o640, .. })
    ));
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    let text = std::fs::read_to_string(&path).unwrap();
    for bad in [
        String::new(),
        text[..200].to_owned(),
        text.replace("b3BlbnNzaC1", "b3BlbnNzaC2"),
    ] {
        std::fs::write(&path, bad).unwrap();
        assert!(matches!(
            CommitKey::open_or_create(&path),
            Err(CommitKeyError::NotAKey { .. })
        ));
    }
}
