//! A small provider of identities on loopback: discovery, keys, codes bound to PKCE, and
//! tokens that are signed, or forged, as a test wants them.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ring::rand::SystemRandom;
use ring::signature::{RSA_PKCS1_SHA256, RsaKeyPair};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

const KEY: &str = include_str!("key.pem");
/// The modulus of that key.
const MODULUS: &str = "6lJXos35fc9vdpiUikh0Rp3n9b6ldA5wkTP_kCVaVPPgrh-Qgi6dTzgop_sVRYnkuQ8b1uovVAd-_BeuPNkXFL8uXQYZDuNgujr7oYp4fYyDgJFH8ZJvv8q4sWMCH-CHwGeBgZWzmc-gaYSGOguwPMUae4icW9AY_8mxEDU92vbZXs3XKYfblTcKR3cJsRZR9bE1Zlru1s0GMRsWmOtyLVqXxI8JtlSqPBJoSeTFqvn-nR1KZ43HzCFYS28LqCNR4GWoE42zORoAVjLnXgtsTa6oyAIU4kMpkzXvDphY0ii7dIDQqRn7H--jPKi5mgvRVX9UgTJIQVi7m00E9zxr_w";
pub(super) const CLIENT: &str = "selfheal";
pub(super) const SECRET: &str = "a-client-secret-of-some-length";

/// How a token is wrong.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Forgery {
    /// Not at all.
    None,
    /// `alg` is `none`, and there is no signature.
    Unsigned,
    /// Signed with the client's own secret.
    ClientSecret,
    /// The claims were changed after signing.
    Changed,
    /// Of another log-in.
    Nonce,
    /// For another client.
    Audience,
    /// By another provider.
    Issuer,
    /// Over since an hour.
    Expired,
}

struct Issued {
    claims: Value,
    challenge: String,
    forgery: Forgery,
}

/// The provider; ends with the test's process.
#[derive(Clone)]
pub(super) struct Provider {
    pub(super) issuer: String,
    codes: Arc<Mutex<HashMap<String, Issued>>>,
}

fn encode(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// The decoded parameters of a query or form.
pub(super) fn parameters(text: &str) -> HashMap<String, String> {
    let decoded = |text: &str| {
        let mut bytes = Vec::new();
        let mut rest = text.bytes();
        while let Some(byte) = rest.next() {
            bytes.push(match byte {
                b'%' => {
                    let hex = [rest.next().unwrap(), rest.next().unwrap()];
                    u8::from_str_radix(std::str::from_utf8(&hex).unwrap(), 16).unwrap()
                }
                b'+' => b' ',
                byte => byte,
            });
        }
        String::from_utf8(bytes).unwrap()
    };
    let pairs = text.split('&').filter_map(|pair| pair.split_once('='));
    pairs
        .map(|(name, value)| (decoded(name), decoded(value)))
        .collect()
}

impl Provider {
    pub(super) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let issuer = format!("http://{}", listener.local_addr().unwrap());
        let provider = Self {
            issuer,
            codes: Arc::default(),
        };
        let serving = provider.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let provider = serving.clone();
                std::thread::spawn(move || provider.answer(&stream));
            }
        });
        provider
    }

    /// Somebody logs in where the host sent the browser; the code and state that the
    /// browser comes back with.
    pub(super) fn log_in(&self, url: &str, claims: Value, forgery: Forgery) -> (String, String) {
        let (place, query) = url.split_once('?').unwrap();
        assert_eq!(place, format!("{}/authorize", self.issuer));
        let asked = parameters(query);
        assert_eq!(asked["response_type"], "code");
        assert_eq!(asked["client_id"], CLIENT);
        assert_eq!(asked["code_challenge_method"], "S256");
        assert!(asked["scope"].split(' ').any(|scope| scope == "openid"));
        assert!(asked["redirect_uri"].ends_with("/api/v1/session/oidc/callback"));
        let now = std::time::SystemTime::now();
        let now = now.duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
        let mut whole = json!({
            "iss": self.issuer, "aud": CLIENT, "iat": now, "exp": now + 300,
            "nonce": asked["nonce"],
        });
        for (name, value) in claims.as_object().unwrap() {
            whole[name] = value.clone();
        }
        match forgery {
            Forgery::Nonce => whole["nonce"] = json!("another"),
            Forgery::Audience => whole["aud"] = json!("another"),
            Forgery::Issuer => whole["iss"] = json!("http://127.0.0.1:9"),
            Forgery::Expired => {
                whole["iat"] = json!(now - 7200);
                whole["exp"] = json!(now - 3600);
            }
            Forgery::None | Forgery::Unsigned | Forgery::ClientSecret | Forgery::Changed => {}
        }
        let mut codes = self.codes.lock().unwrap();
        let code = format!("code-{}", encode(&Sha256::digest(query)));
        let issued = Issued {
            claims: whole,
            challenge: asked["code_challenge"].clone(),
            forgery,
        };
        codes.insert(code.clone(), issued);
        (code, asked["state"].clone())
    }

    fn answer(&self, stream: &TcpStream) {
        let mut reader = BufReader::new(stream);
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        let path = line.split(' ').nth(1).unwrap_or_default().to_owned();
        let (mut length, mut authorization) = (0, String::new());
        loop {
            let mut header = String::new();
            reader.read_line(&mut header).unwrap();
            let Some((name, value)) = header.trim().split_once(':') else {
                break;
            };
            match name.to_ascii_lowercase().as_str() {
                "content-length" => length = value.trim().parse().unwrap(),
                "authorization" => authorization = value.trim().to_owned(),
                _ => {}
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).unwrap();
        let (status, answer) = match path.as_str() {
            "/.well-known/openid-configuration" => ("200 OK", self.metadata()),
            "/keys" => (
                "200 OK",
                json!({"keys": [{
                    "kty": "RSA", "use": "sig", "alg": "RS256", "kid": "one",
                    "n": MODULUS, "e": "AQAB",
                }]}),
            ),
            "/token" => match self.redeem(&String::from_utf8(body).unwrap(), &authorization) {
                Some(answer) => ("200 OK", answer),
                None => ("400 Bad Request", json!({"error": "invalid_grant"})),
            },
            _ => ("404 Not Found", json!({})),
        };
        let answer = answer.to_string();
        let head = format!(
            "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\
             connection: close\r\n\r\n",
            answer.len()
        );
        let mut stream = stream;
        stream.write_all((head + &answer).as_bytes()).unwrap();
    }

    fn metadata(&self) -> Value {
        let place = |path: &str| format!("{}/{path}", self.issuer);
        json!({
            "issuer": self.issuer,
            "authorization_endpoint": place("authorize"),
            "token_endpoint": place("token"),
            "jwks_uri": place("keys"),
            "response_types_supported": ["code"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["RS256"],
        })
    }

    /// A code is good once, for the client that asked for it.
    fn redeem(&self, form: &str, authorization: &str) -> Option<Value> {
        let form = parameters(form);
        let client = STANDARD.encode(format!("{CLIENT}:{SECRET}"));
        if authorization != format!("Basic {client}") {
            return None;
        }
        let issued = self.codes.lock().unwrap().remove(form.get("code")?)?;
        let challenge = encode(&Sha256::digest(form.get("code_verifier")?));
        if challenge != issued.challenge {
            return None;
        }
        let token = signed(&issued.claims, issued.forgery);
        Some(json!({"access_token": "of no use", "token_type": "Bearer", "id_token": token}))
    }
}

fn signed(claims: &Value, forgery: Forgery) -> String {
    let algorithm = match forgery {
        Forgery::Unsigned => "none",
        Forgery::ClientSecret => "HS256",
        _ => "RS256",
    };
    let header = json!({"alg": algorithm, "typ": "JWT", "kid": "one"});
    let part = |value: &Value| encode(value.to_string().as_bytes());
    let text = format!("{}.{}", part(&header), part(claims));
    let signature = match forgery {
        Forgery::Unsigned => Vec::new(),
        Forgery::ClientSecret => {
            let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, SECRET.as_bytes());
            ring::hmac::sign(&key, text.as_bytes()).as_ref().to_vec()
        }
        _ => {
            let body: String = KEY.lines().filter(|line| !line.starts_with("--")).collect();
            let key = RsaKeyPair::from_pkcs8(&STANDARD.decode(body).unwrap()).unwrap();
            let mut signature = vec![0; key.public().modulus_len()];
            let random = SystemRandom::new();
            key.sign(&RSA_PKCS1_SHA256, &random, text.as_bytes(), &mut signature)
                .unwrap();
            signature
        }
    };
    if forgery == Forgery::Changed {
        let mut changed = claims.clone();
        changed["preferred_username"] = json!("admin");
        let text = format!("{}.{}", part(&header), part(&changed));
        return format!("{text}.{}", encode(&signature));
    }
    format!("{text}.{}", encode(&signature))
}
