//! Registries that lie, redirect, never stop, or say nothing: scripted servers on
//! loopback.

use super::*;
use crate::component::HEADER;
use crate::fetch::{SourceProblem, Sources};
use crate::source::SourceRef;
use crate::store::{Fetched, ModuleStore};
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// What a server does with a request for a path.
enum Answer {
    Bytes(Vec<u8>),
    Head(String),
    /// A body without end.
    Endless,
    Silence,
}

struct Server {
    address: String,
    /// Requests so far.
    asked: Arc<AtomicUsize>,
}

/// Serves until the test process ends.
fn server(answer: impl Fn(&str, &str) -> Answer + Send + Sync + 'static) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&asked);
    let own = address.clone();
    std::thread::spawn(move || {
        let answer = Arc::new(answer);
        for stream in listener.incoming() {
            let (answer, own, counted) = (Arc::clone(&answer), own.clone(), Arc::clone(&counted));
            std::thread::spawn(move || serve(stream.unwrap(), &own, &*answer, &counted));
        }
    });
    Server { address, asked }
}

fn serve(
    mut stream: TcpStream,
    own: &str,
    answer: &dyn Fn(&str, &str) -> Answer,
    asked: &AtomicUsize,
) {
    let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
    let Some(Ok(first)) = lines.next() else {
        return;
    };
    while let Some(Ok(line)) = lines.next() {
        if line.is_empty() {
            break;
        }
    }
    asked.fetch_add(1, Ordering::SeqCst);
    let target = first.split(' ').nth(1).unwrap_or_default();
    let path = target.strip_prefix("http://").map_or(target, |rest| {
        rest.find('/').map_or("/", |slash| &rest[slash..])
    });
    let close = "connection: close\r\n";
    match answer(path, own) {
        Answer::Bytes(bytes) => {
            let head = format!(
                "HTTP/1.1 200 OK\r\n{close}content-length: {}\r\n\r\n",
                bytes.len()
            );
            let _ = stream.write_all(head.as_bytes());
            let _ = stream.write_all(&bytes);
        }
        Answer::Head(head) => {
            let _ =
                stream.write_all(format!("{head}\r\n{close}content-length: 0\r\n\r\n").as_bytes());
        }
        Answer::Endless => {
            let _ = stream.write_all(format!("HTTP/1.1 200 OK\r\n{close}\r\n").as_bytes());
            let piece = [b'x'; 64 << 10];
            while stream.write_all(&piece).is_ok() {}
        }
        Answer::Silence => {
            // Until the other side gives up.
            let _ = lines.next();
        }
    }
}

fn redirect(to: &str) -> Answer {
    Answer::Head(format!("HTTP/1.1 307 Temporary Redirect\r\nlocation: {to}"))
}

fn good() -> Vec<u8> {
    artifact(&HEADER, None).unwrap().manifest
}

fn good_config() -> Vec<u8> {
    artifact(&HEADER, None).unwrap().config
}

/// An honest registry, except for what `lie` says about a path.
fn honest_but(lie: impl Fn(&str, &str) -> Option<Answer> + Send + Sync + 'static) -> Server {
    server(move |path, own| {
        if let Some(lie) = lie(path, own) {
            return lie;
        }
        for bytes in [good(), good_config(), HEADER.to_vec()] {
            if path.ends_with(&Digest::of(&bytes).to_string()) {
                return Answer::Bytes(bytes);
            }
        }
        Answer::Bytes(Vec::new())
    })
}

fn pull_of(
    server: &Server,
    manifest: &[u8],
    registries: &Registries,
) -> Result<Fetched, RegistryProblem> {
    let text = format!("oci://{}/a@sha256:{}", server.address, Digest::of(manifest));
    let home = tempfile::tempdir().unwrap();
    let store = ModuleStore::open(home.path()).unwrap();
    let sources = Sources::new(Some(store.clone()), registries.clone());
    let result = sources.fetch(&SourceRef::parse(&text).unwrap());
    if result.is_err() {
        let left: Vec<_> = std::fs::read_dir(home.path()).unwrap().collect();
        assert!(left.is_empty(), "{left:?} was kept");
    }
    result.map_err(|problem| match problem {
        SourceProblem::Registry { source, .. } => source,
        SourceProblem::Manifest { source, .. } => RegistryProblem::Manifest(source),
        other => panic!("{other}"),
    })
}

fn pull(server: &Server) -> Result<Fetched, RegistryProblem> {
    pull_of(server, &good(), &Registries::new(&[]))
}

fn is_manifest(path: &str) -> bool {
    path.contains("/manifests/")
}

fn is_module(path: &str) -> bool {
    path.ends_with(&format!("/blobs/sha256:{}", Digest::of(&HEADER)))
}

#[test]
fn an_honest_registry_is_believed() {
    let server = honest_but(|_, _| None);
    assert_eq!(pull(&server).unwrap().bytes, HEADER);
}

#[test]
fn other_bytes_than_the_digest_names_are_refused() {
    let changed = || {
        let mut bytes = good();
        bytes.push(b' ');
        bytes
    };
    let manifest = honest_but(move |path, _| is_manifest(path).then(|| Answer::Bytes(changed())));
    assert!(matches!(
        pull(&manifest),
        Err(RegistryProblem::Digest { .. })
    ));
    for wrong in [vec![0; 8], vec![0; 7], Vec::new()] {
        let module =
            honest_but(move |path, _| is_module(path).then(|| Answer::Bytes(wrong.clone())));
        assert!(matches!(pull(&module), Err(RegistryProblem::Digest { .. })));
    }
    let config = honest_but(|path, _| {
        let digest = Digest::of(&good_config()).to_string();
        path.ends_with(&digest)
            .then(|| Answer::Bytes(vec![b' '; 3]))
    });
    assert!(matches!(pull(&config), Err(RegistryProblem::Digest { .. })));
}

#[test]
fn a_manifest_with_a_wrong_digest_or_size_for_its_module_is_refused() {
    let text = String::from_utf8(good()).unwrap();
    let other = Digest::of(b"other").to_string();
    let wrong_digest = text.replace(&Digest::of(&HEADER).to_string(), &other);
    let wrong_size = text.replace("\"size\":8", "\"size\":7");
    let huge = text.replace("\"size\":8", "\"size\":99999999");
    for (manifest, expected) in [(wrong_digest, 0), (wrong_size, 1), (huge, 2)] {
        assert_ne!(manifest, text);
        let served = manifest.clone();
        let server = honest_but(move |path, _| {
            if is_manifest(path) {
                Some(Answer::Bytes(served.clone().into_bytes()))
            } else if path.ends_with(&Digest::of(b"other").to_string()) {
                Some(Answer::Bytes(HEADER.to_vec()))
            } else {
                None
            }
        });
        let result = pull_of(&server, manifest.as_bytes(), &Registries::new(&[]));
        let right = match expected {
            0 => matches!(result, Err(RegistryProblem::Digest { .. })),
            1 => matches!(result, Err(RegistryProblem::TooMuch { limit: 7, .. })),
            _ => matches!(
                result,
                Err(RegistryProblem::Manifest(BadManifest::ModuleTooLarge(
                    99_999_999
                )))
            ),
        };
        assert!(right, "{result:?}");
    }
}

#[test]
fn bodies_without_end_are_cut_off() {
    let manifest = honest_but(|path, _| is_manifest(path).then_some(Answer::Endless));
    assert!(matches!(
        pull(&manifest),
        Err(RegistryProblem::TooMuch {
            limit: PULL_BUDGET,
            ..
        })
    ));
    let module = honest_but(|path, _| is_module(path).then_some(Answer::Endless));
    assert!(matches!(
        pull(&module),
        Err(RegistryProblem::TooMuch { limit: 8, .. })
    ));
    let target = OciTarget::parse(&format!("oci://{}/a", manifest.address)).unwrap();
    let resolved = Registries::new(&[]).resolve(&target);
    assert!(
        matches!(
            resolved,
            Err(RegistryProblem::TooMuch {
                limit: TALK_BUDGET,
                ..
            })
        ),
        "{resolved:?}"
    );
    assert!(matches!(
        server_error_without_end(),
        Err(RegistryProblem::TooMuch { .. })
    ));
}

fn server_error_without_end() -> Result<Fetched, RegistryProblem> {
    // The body of an error is read, too.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            std::thread::spawn(move || {
                let _ = stream.write_all(b"HTTP/1.1 500 No\r\nconnection: close\r\n\r\n");
                while stream.write_all(&[b'x'; 64 << 10]).is_ok() {}
            });
        }
    });
    let endless = Server {
        address,
        asked: Arc::default(),
    };
    pull(&endless)
}

#[test]
fn redirects_to_this_network_are_not_followed() {
    let inner = server(|_, _| Answer::Bytes(b"the password".to_vec()));
    let plain = format!("http://{}/latest/meta-data", inner.address);
    let tls = format!("https://{}/", inner.address);
    let name = format!(
        "https://localhost:{}/",
        inner.address.rsplit(':').next().unwrap()
    );
    let ours = "http://169.254.169.254/latest/meta-data".to_owned();
    for to in [plain, tls, name, ours] {
        for which in [is_manifest as fn(&str) -> bool, is_module] {
            let to = to.clone();
            let server = honest_but(move |path, _| which(path).then(|| redirect(&to)));
            let result = pull(&server);
            assert!(
                matches!(result, Err(RegistryProblem::Elsewhere { .. })),
                "{result:?}"
            );
        }
    }
    assert_eq!(inner.asked.load(Ordering::SeqCst), 0);
    // Around in its own circle it may go.
    let server = honest_but(|path, own| {
        let rest = path.strip_prefix("/v2/a/blobs/")?;
        is_module(path).then(|| redirect(&format!("http://{own}/elsewhere/{rest}")))
    });
    assert_eq!(pull(&server).unwrap().bytes, HEADER);
}

#[test]
fn passwords_do_not_follow_a_registrys_word() {
    let thief = server(|_, _| Answer::Bytes(br#"{"token":"x"}"#.to_vec()));
    let realm = thief.address.clone();
    let server = server(move |_, _| {
        Answer::Head(format!(
            "HTTP/1.1 401 Unauthorized\r\nwww-authenticate: Bearer realm=\"http://{realm}/token\""
        ))
    });
    let json = format!(
        r#"{{"auths": {{"{}": {{"username": "a", "password": "b"}}}}}}"#,
        server.address
    );
    let credentials = Credentials::parse(json.as_bytes(), "test").unwrap();
    let registries = Registries::new(&[]).with_credentials(credentials);
    let result = pull_of(&server, &good(), &registries);
    assert!(
        matches!(result, Err(RegistryProblem::Elsewhere { .. })),
        "{result:?}"
    );
    assert_eq!(thief.asked.load(Ordering::SeqCst), 0);
}

#[test]
fn silence_and_absence_end() {
    let silent = server(|_, _| Answer::Silence);
    let mut registries = Registries::new(&[]);
    registries.patience = Duration::from_millis(200);
    assert!(matches!(
        pull_of(&silent, &good(), &registries),
        Err(RegistryProblem::TooSlow { .. })
    ));
    let gone = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let gone = Server {
        address: gone.to_string(),
        asked: Arc::default(),
    };
    assert!(matches!(
        pull(&gone),
        Err(RegistryProblem::Unreachable { .. })
    ));
}

#[test]
fn plain_http_is_for_loopback_and_listed_registries() {
    let listed = Registries::new(&["registry.corp:5000".to_owned()]);
    assert_eq!(listed.plain("registry.corp:5000"), Some(Plain::Listed));
    for other in [
        "registry.corp",
        "registry.corp:5001",
        "ghcr.io",
        "10.0.0.1:5000",
        "127.0.0.1.example.org",
    ] {
        assert_eq!(listed.plain(other), None, "{other}");
    }
    for own in ["localhost:5000", "127.0.0.1", "127.1.2.3:80"] {
        assert_eq!(listed.plain(own), Some(Plain::Loopback), "{own}");
    }
    // Over TLS, a server that speaks HTTP is not believed.
    let server = honest_but(|_, _| None);
    let name = format!("tls.invalid:{}", server.address.rsplit(':').next().unwrap());
    let text = format!("oci://{name}/a@sha256:{}", Digest::of(&good()));
    let result = Sources::new(None, Registries::new(&[])).fetch(&SourceRef::parse(&text).unwrap());
    assert!(result.is_err());
    assert_eq!(server.asked.load(Ordering::SeqCst), 0);
}
