//! Modules in a real registry: Debian's `docker-registry` on a free port of loopback.

#![allow(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test may stop at a surprise"
)]

#[path = "../../../../tests/src/registry.rs"]
mod server;

use selfheal_domain::digest::Digest;
use selfheal_policy_source::{
    Credentials, ModuleStore, OciRef, OciTarget, Publisher, Registries, RegistryProblem, SecretKey,
    SourceProblem, SourceRef, Sources, Trust, TrustRules, Wanted, load, save, sign_detached,
    sign_embedded,
};
use server::Registry;
use std::path::Path;

/// The shortest component: nothing in, nothing out.
const EMPTY: [u8; 8] = [0, b'a', b's', b'm', 0x0d, 0, 1, 0];

/// `alice`, `secret`.
const HTPASSWD: &str = "alice:$2a$05$GmqR09rkxMQTVvaLbhPq4eOx/SZIWrgfutABvL9jNFRBhhF4rb/Me\n";

fn target(registry: &Registry, rest: &str) -> OciTarget {
    OciTarget::parse(&format!("oci://{}/{rest}", registry.address)).unwrap()
}

fn store(path: &Path) -> ModuleStore {
    ModuleStore::open(path).unwrap()
}

#[test]
fn a_signed_module_goes_up_and_comes_down_and_stays() {
    let Some(registry) = Registry::start(None) else {
        return;
    };
    let registries = Registries::new(&[]);
    let key = SecretKey::generate().unwrap();
    let detached = sign_detached(&EMPTY, &key).unwrap();
    let target = target(&registry, "team/policies/empty:1.0");
    let pushed = registries.push(&target, &EMPTY, Some(&detached)).unwrap();
    assert_eq!(
        registries.push(&target, &EMPTY, Some(&detached)).unwrap(),
        pushed,
        "the same module, another digest"
    );
    assert_eq!(registries.resolve(&target).unwrap(), pushed);
    let source = SourceRef::parse(&pushed.to_string()).unwrap();

    let home = tempfile::tempdir().unwrap();
    let kept = store(&home.path().join("kept"));
    let sources = Sources::new(Some(kept.clone()), registries);
    let fetched = sources.fetch(&source).unwrap();
    assert_eq!(fetched.bytes, EMPTY);
    assert_eq!(fetched.signature.as_deref(), Some(&detached[..]));
    let rules = TrustRules::new(
        vec![Publisher {
            name: "alice".to_owned(),
            key: key.public(),
        }],
        false,
        Vec::new(),
    )
    .unwrap();
    assert!(matches!(
        rules.admit(&source, Wanted::default(), &fetched),
        Ok(Trust::Signed(by)) if by.publisher == "alice"
    ));

    // The registry goes away; what was pulled once is there, also by its own digest,
    // and on another machine by a bundle.
    drop(registry);
    assert_eq!(sources.fetch(&source).unwrap(), fetched);
    let stored = SourceRef::Stored(Digest::of(&EMPTY));
    assert_eq!(sources.fetch(&stored).unwrap(), fetched);
    let mut bundle = Vec::new();
    let modules = [("empty".to_owned(), source.clone())];
    save(&modules, &sources, &mut bundle).unwrap();
    let there = store(&home.path().join("there"));
    let offline = Sources::new(Some(there.clone()), Registries::offline());
    assert!(matches!(
        offline.fetch(&source),
        Err(SourceProblem::Registry {
            source: RegistryProblem::Offline,
            ..
        })
    ));
    let loaded = load(bundle.as_slice(), &there).unwrap();
    assert_eq!(loaded[0].manifest, pushed.digest);
    assert_eq!(offline.fetch(&source).unwrap(), fetched);
}

#[test]
fn a_large_module_with_an_embedded_signature_comes_through() {
    let Some(registry) = Registry::start(None) else {
        return;
    };
    // A custom section of 12 MiB: more than a chunk of anything.
    let payload = [&[1, b'x'][..], &vec![7; 12 << 20]].concat();
    let mut module = EMPTY.to_vec();
    module.push(0);
    let mut length = payload.len();
    while length > 0x7f {
        module.push((length & 0x7f) as u8 | 0x80);
        length >>= 7;
    }
    module.push(length as u8);
    module.extend(payload);
    let key = SecretKey::generate().unwrap();
    let signed = sign_embedded(&module, &key).unwrap();
    let registries = Registries::new(&[]);
    let pushed = registries
        .push(&target(&registry, "large"), &signed, None)
        .unwrap();
    let fetched = Sources::new(None, registries)
        .fetch(&SourceRef::Oci(pushed))
        .unwrap();
    assert_eq!(fetched.digest, Digest::of(&signed));
}

#[test]
fn credentials_are_needed_where_the_registry_asks_for_them() {
    let Some(registry) = Registry::start(Some(HTPASSWD)) else {
        return;
    };
    let target = target(&registry, "private");
    let with = |password: &str| {
        let json = format!(
            r#"{{"auths": {{"{}": {{"username": "alice", "password": "{password}"}}}}}}"#,
            registry.address
        );
        let credentials = Credentials::parse(json.as_bytes(), "test").unwrap();
        Registries::new(&[]).with_credentials(credentials)
    };
    for registries in [Registries::new(&[]), with("wrong")] {
        let refused = registries.push(&target, &EMPTY, None);
        assert!(
            matches!(refused, Err(RegistryProblem::Unauthorized { .. })),
            "{refused:?}"
        );
    }
    let pushed = with("secret").push(&target, &EMPTY, None).unwrap();
    assert!(matches!(
        Registries::new(&[]).resolve(&target),
        Err(RegistryProblem::Unauthorized { .. })
    ));
    let fetched = Sources::new(None, with("secret")).fetch(&SourceRef::Oci(pushed));
    assert_eq!(fetched.unwrap().bytes, EMPTY);
}

#[test]
fn what_is_not_there_is_named() {
    let Some(registry) = Registry::start(None) else {
        return;
    };
    let registries = Registries::new(&[]);
    assert!(matches!(
        registries.resolve(&target(&registry, "nothing:here")),
        Err(RegistryProblem::NotFound { .. })
    ));
    let pushed = registries
        .push(&target(&registry, "something"), &EMPTY, None)
        .unwrap();
    let other = OciRef {
        digest: Digest::of(b"another"),
        ..pushed
    };
    let missing = Sources::new(None, registries.clone()).fetch(&SourceRef::Oci(other));
    assert!(
        matches!(
            missing,
            Err(SourceProblem::Registry {
                source: RegistryProblem::NotFound { .. },
                ..
            })
        ),
        "{missing:?}"
    );
    assert!(matches!(
        registries.push(&target(&registry, "text"), b"(component)", None),
        Err(RegistryProblem::NotAComponent)
    ));
}
