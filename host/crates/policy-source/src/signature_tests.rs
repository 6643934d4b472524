//! Each way in which a signature can be wrong, and agreement with `wasmsign2`.

use super::*;
use proptest::prelude::*;

fn component() -> Vec<u8> {
    let mut bytes = HEADER.to_vec();
    bytes.extend(component::custom_section(b"name", b"a module"));
    bytes.extend([1, 3, 0xaa, 0xbb, 0xcc]);
    bytes
}

fn publisher(name: &str, key: &SecretKey) -> Publisher {
    Publisher {
        name: name.to_owned(),
        key: key.public(),
    }
}

fn world() -> (SecretKey, Vec<Publisher>) {
    let key = SecretKey::generate().unwrap();
    let other = SecretKey::generate().unwrap();
    let publishers = vec![publisher("bob", &other), publisher("alice", &key)];
    (key, publishers)
}

#[test]
fn what_a_publisher_signed_is_known_as_its() {
    let (key, publishers) = world();
    let bytes = component();
    let detached = sign_detached(&bytes, &key).unwrap();
    let found = verify(&bytes, Some(&detached), &publishers).unwrap();
    assert_eq!(
        (found.publisher.as_str(), found.key),
        ("alice", key.public())
    );
    assert_eq!(found.placement, Placement::Detached);
    let signed = sign_embedded(&bytes, &key).unwrap();
    let found = verify(&signed, None, &publishers).unwrap();
    assert_eq!(found.placement, Placement::Embedded);
    assert_ne!(Digest::of(&signed), Digest::of(&bytes));
    // A compiler skips custom sections: the rest is byte for byte what was built.
    assert!(signed.ends_with(&bytes[HEADER.len()..]));
}

#[test]
fn every_changed_byte_is_found() {
    let (key, publishers) = world();
    let bytes = component();
    let detached = sign_detached(&bytes, &key).unwrap();
    let signed = sign_embedded(&bytes, &key).unwrap();
    for bit in [0x01, 0x80] {
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= bit;
            assert!(
                verify(&changed, Some(&detached), &publishers).is_err(),
                "{at}"
            );
        }
        for at in 0..signed.len() {
            let mut changed = signed.clone();
            changed[at] ^= bit;
            assert!(verify(&changed, None, &publishers).is_err(), "{at}");
        }
        for at in 0..detached.len() {
            let mut changed = detached.clone();
            changed[at] ^= bit;
            assert!(verify(&bytes, Some(&changed), &publishers).is_err(), "{at}");
        }
    }
    let mut longer = bytes.clone();
    longer.extend(component::custom_section(b"more", b""));
    let expected = SignatureProblem::Changed {
        publisher: "alice".to_owned(),
    };
    assert_eq!(verify(&longer, Some(&detached), &publishers), Err(expected));
}

#[test]
fn a_section_after_the_signed_module_is_found() {
    let (key, publishers) = world();
    let mut signed = sign_embedded(&component(), &key).unwrap();
    signed.extend(component::custom_section(b"more", b""));
    assert!(matches!(
        verify(&signed, None, &publishers),
        Err(SignatureProblem::Changed { .. })
    ));
}

#[test]
fn unsigned_unknown_and_several_have_their_names() {
    let (key, publishers) = world();
    let bytes = component();
    let detached = sign_detached(&bytes, &key).unwrap();
    let signed = sign_embedded(&bytes, &key).unwrap();
    assert_eq!(
        verify(&bytes, None, &publishers),
        Err(SignatureProblem::Unsigned)
    );
    assert!(matches!(
        verify(&bytes, Some(&detached), &publishers[..1]),
        Err(SignatureProblem::UnknownKey { id }) if id.len() == 24
    ));
    assert!(matches!(
        verify(&bytes, Some(&detached), &[]),
        Err(SignatureProblem::UnknownKey { .. })
    ));
    assert_eq!(
        verify(&signed, Some(&detached), &publishers),
        Err(SignatureProblem::Several)
    );
    let header = signed.len() - (bytes.len() - HEADER.len());
    let section = &signed[HEADER.len()..header];
    let twice = [&HEADER[..], section, section, &bytes[HEADER.len()..]].concat();
    assert_eq!(
        verify(&twice, None, &publishers),
        Err(SignatureProblem::Several)
    );
    let last = [&bytes[..], section].concat();
    assert_eq!(
        verify(&last, None, &publishers),
        Err(SignatureProblem::Misplaced)
    );
    let parts = [&bytes[..], &component::custom_section(DELIMITER, &[0; 16])].concat();
    assert_eq!(
        verify(&parts, Some(&detached), &publishers),
        Err(SignatureProblem::Parts)
    );
    for already in [&signed, &parts] {
        assert_eq!(
            sign_detached(already, &key),
            Err(SignatureProblem::AlreadySigned)
        );
        assert_eq!(
            sign_embedded(already, &key),
            Err(SignatureProblem::AlreadySigned)
        );
    }
}

#[test]
fn cut_off_and_oversized_are_refused() {
    let (key, publishers) = world();
    let bytes = component();
    let signed = sign_embedded(&bytes, &key).unwrap();
    for end in 0..signed.len() {
        assert!(verify(&signed[..end], None, &publishers).is_err(), "{end}");
    }
    let detached = sign_detached(&bytes, &key).unwrap();
    for end in 1..detached.len() {
        assert!(matches!(
            verify(&bytes, Some(&detached[..end]), &publishers),
            Err(SignatureProblem::CutOff(_))
        ));
    }
    assert!(matches!(
        verify(&bytes, Some(&[0; 5000]), &publishers),
        Err(SignatureProblem::TooLarge { .. })
    ));
    let mut large = HEADER.to_vec();
    large.extend(component::custom_section(b"x", &vec![0; 24 << 20]));
    assert!(matches!(
        sign_detached(&large, &key),
        Err(SignatureProblem::TooLarge { .. })
    ));
    let big = component::custom_section(SECTION, &[0; 5000]);
    let big = [&HEADER[..], &big].concat();
    assert!(matches!(
        verify(&big, None, &publishers),
        Err(SignatureProblem::TooLarge { .. })
    ));
}

#[test]
fn only_components_are_signed() {
    let (key, publishers) = world();
    let core = [&b"\0asm\x01\0\0\0"[..], &[1, 0]].concat();
    for bytes in [&core[..], b"(component)", b""] {
        assert_eq!(
            sign_embedded(bytes, &key),
            Err(SignatureProblem::NotAComponent)
        );
        assert_eq!(
            verify(bytes, Some(&[1]), &publishers),
            Err(SignatureProblem::NotAComponent)
        );
    }
    // The hash does not cover the header, the comparison does.
    let bytes = component();
    let detached = sign_detached(&bytes, &key).unwrap();
    let mut as_core = bytes;
    as_core[4] = 1;
    as_core[6] = 0;
    assert_eq!(
        verify(&as_core, Some(&detached), &publishers),
        Err(SignatureProblem::NotAComponent)
    );
}

#[test]
fn the_reference_implementation_and_we_agree() {
    let theirs = wasmsign2::KeyPair::generate();
    let public: [u8; 32] = theirs.pk.pk.as_ref().try_into().unwrap();
    let text = {
        use base64::Engine;
        format!(
            "ed25519:{}",
            base64::engine::general_purpose::STANDARD.encode(public)
        )
    };
    let publishers = [Publisher {
        name: "alice".to_owned(),
        key: text.parse().unwrap(),
    }];
    let bytes = component();
    let module = || wasmsign2::Module::deserialize(&mut bytes.as_slice()).unwrap();
    let written = |module: &wasmsign2::Module| {
        let mut out = Vec::new();
        module.serialize(&mut out).unwrap();
        out
    };
    // Theirs, read by us.
    let simple = theirs.sk.sign(module(), None).unwrap();
    assert!(verify(&written(&simple), None, &publishers).is_ok());
    let (multi, _) = theirs.sk.sign_multi(module(), None, false, false).unwrap();
    assert!(verify(&written(&multi), None, &publishers).is_ok());
    let (_, detached) = theirs.sk.sign_multi(module(), None, true, false).unwrap();
    assert!(verify(&bytes, Some(&detached), &publishers).is_ok());
    let (parts, _) = theirs.sk.sign_multi(module(), None, false, true).unwrap();
    assert_eq!(
        verify(&written(&parts), None, &publishers),
        Err(SignatureProblem::Parts)
    );
    let second = wasmsign2::KeyPair::generate();
    let (two, _) = second.sk.sign_multi(multi, None, false, false).unwrap();
    assert_eq!(
        verify(&written(&two), None, &publishers),
        Err(SignatureProblem::Several)
    );
    // Ours, read by them.
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("key.pem");
    std::fs::write(&path, theirs.sk.to_pem()).unwrap();
    std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let key = SecretKey::read(&path).unwrap();
    let signed = sign_embedded(&bytes, &key).unwrap();
    theirs.pk.verify(&mut signed.as_slice(), None).unwrap();
    let detached = sign_detached(&bytes, &key).unwrap();
    theirs
        .pk
        .verify(&mut bytes.as_slice(), Some(&detached))
        .unwrap();
    let named = theirs.pk.clone().attach_default_key_id();
    named
        .verify_multi(&mut bytes.as_slice(), Some(&detached), |_| true)
        .unwrap();
}

proptest! {
    #[test]
    fn no_bytes_panic_or_pass(tail: Vec<u8>, sig: Vec<u8>) {
        let (_, publishers) = world();
        let bytes = [&HEADER[..], &tail].concat();
        prop_assert!(verify(&bytes, Some(&sig), &publishers).is_err());
        prop_assert!(verify(&bytes, None, &publishers).is_err());
        let section = component::custom_section(SECTION, &sig);
        let bytes = [&HEADER[..], &section, &tail].concat();
        prop_assert!(verify(&bytes, None, &publishers).is_err());
    }
}
