//! The outer framing of a WebAssembly component: a header and sections, each an
//! identifier, a length and that many bytes. What stands inside the sections is the
//! compiler's business; signatures need to know only where they begin and end.

use std::ops::Range;

/// How every component begins: `\0asm`, version 13, layer 1.
pub(crate) const HEADER: [u8; 8] = [0x00, b'a', b's', b'm', 0x0d, 0x00, 0x01, 0x00];
const CUSTOM: u8 = 0;
/// Most sections; the components of all known compilers have less than a thousandth.
const MOST_SECTIONS: usize = 100_000;

/// The bytes are no component.
#[derive(Debug, thiserror::Error, PartialEq, Eq, Clone, Copy)]
pub(crate) enum BadFraming {
    /// The header is another one: a core module, text, something else.
    #[error("it does not begin like a WebAssembly component")]
    Header,
    /// A section, or its length, does not end before the file does.
    #[error("the section at byte {0} is cut off")]
    CutOff(usize),
    /// A length is written in more than five bytes or is above 2^32.
    #[error("the section at byte {0} has an impossible length")]
    Length(usize),
    /// More sections than any compiler writes: listing them would cost more than the
    /// module.
    #[error("it has more than {MOST_SECTIONS} sections")]
    TooMany,
}

/// One section.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Section<'a> {
    /// Where it stands in the file, its identifier and length included.
    pub(crate) place: Range<usize>,
    /// The name and content of a custom section.
    pub(crate) custom: Option<(&'a [u8], &'a [u8])>,
}

/// All sections, in order. They cover everything after the header.
pub(crate) fn sections(bytes: &[u8]) -> Result<Vec<Section<'_>>, BadFraming> {
    if bytes.get(..HEADER.len()) != Some(&HEADER) {
        return Err(BadFraming::Header);
    }
    let mut found = Vec::new();
    let mut at = HEADER.len();
    while let Some(&id) = bytes.get(at) {
        if found.len() == MOST_SECTIONS {
            return Err(BadFraming::TooMany);
        }
        let rest = bytes.get(at + 1..).unwrap_or_default();
        let (payload, after) = take_prefixed(rest).map_err(|problem| match problem {
            BadPrefix::CutOff => BadFraming::CutOff(at),
            BadPrefix::Length => BadFraming::Length(at),
        })?;
        let end = bytes.len() - after.len();
        // A custom section without a readable name is none of ours.
        let custom = (id == CUSTOM)
            .then(|| take_prefixed(payload).ok())
            .flatten();
        found.push(Section {
            place: at..end,
            custom,
        });
        at = end;
    }
    Ok(found)
}

/// A custom section, ready to be written.
pub(crate) fn custom_section(name: &[u8], content: &[u8]) -> Vec<u8> {
    let mut payload = Vec::with_capacity(name.len() + content.len() + 5);
    put_prefixed(&mut payload, name);
    payload.extend_from_slice(content);
    let mut section = vec![CUSTOM];
    put_prefixed(&mut section, &payload);
    section
}

/// What is wrong with a length and the bytes it announces.
#[derive(Debug, PartialEq, Eq, Clone, Copy)]
pub(crate) enum BadPrefix {
    CutOff,
    Length,
}

/// Splits off bytes that are announced by their length (LEB128, 32 bits). Nothing is
/// allocated: an announced length can at most be wrong.
pub(crate) fn take_prefixed(bytes: &[u8]) -> Result<(&[u8], &[u8]), BadPrefix> {
    let (length, rest) = take_number(bytes)?;
    let length = usize::try_from(length).map_err(|_| BadPrefix::Length)?;
    rest.split_at_checked(length).ok_or(BadPrefix::CutOff)
}

/// Splits off a number (LEB128, 32 bits).
pub(crate) fn take_number(bytes: &[u8]) -> Result<(u32, &[u8]), BadPrefix> {
    let mut number = 0u32;
    for (index, &byte) in bytes.iter().take(5).enumerate() {
        let bits = u32::from(byte & 0x7f);
        if index == 4 && byte > 0x0f {
            return Err(BadPrefix::Length);
        }
        number |= bits << (7 * index);
        if byte & 0x80 == 0 {
            return Ok((number, bytes.get(index + 1..).unwrap_or_default()));
        }
    }
    Err(BadPrefix::CutOff)
}

/// Appends a number (LEB128) in as few bytes as possible.
pub(crate) fn put_number(out: &mut Vec<u8>, mut number: usize) {
    loop {
        let bits = u8::try_from(number & 0x7f).unwrap_or_default();
        number >>= 7;
        if number == 0 {
            out.push(bits);
            return;
        }
        out.push(bits | 0x80);
    }
}

/// Appends bytes behind their length.
pub(crate) fn put_prefixed(out: &mut Vec<u8>, bytes: &[u8]) {
    put_number(out, bytes.len());
    out.extend_from_slice(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn sections_cover_the_whole_file() {
        let mut bytes = HEADER.to_vec();
        assert_eq!(sections(&bytes).unwrap(), []);
        bytes.extend(custom_section(b"one", b"1"));
        bytes.extend([7, 2, 0xaa, 0xbb]);
        let found = sections(&bytes).unwrap();
        assert_eq!(found[0].custom, Some((&b"one"[..], &b"1"[..])));
        assert_eq!(found[0].place, 8..15);
        assert_eq!(found[1].custom, None);
        assert_eq!(found[1].place, 15..19);
    }

    #[test]
    fn every_cut_inside_a_section_is_found() {
        let mut bytes = HEADER.to_vec();
        bytes.extend(custom_section(b"name", &[7; 300]));
        for end in HEADER.len() + 1..bytes.len() {
            assert_eq!(sections(&bytes[..end]), Err(BadFraming::CutOff(8)), "{end}");
        }
        for end in 0..HEADER.len() {
            assert_eq!(sections(&bytes[..end]), Err(BadFraming::Header));
        }
        let huge = [&HEADER[..], &[1, 0xff, 0xff, 0xff, 0xff, 0x0f]].concat();
        assert_eq!(sections(&huge), Err(BadFraming::CutOff(8)));
        let many = [&HEADER[..], &[1, 0].repeat(MOST_SECTIONS + 1)].concat();
        assert_eq!(sections(&many), Err(BadFraming::TooMany));
        assert_eq!(
            sections(&many[..many.len() - 2]).unwrap().len(),
            MOST_SECTIONS
        );
        let longer = [&HEADER[..], &[1, 0xff, 0xff, 0xff, 0xff, 0x7f]].concat();
        assert_eq!(sections(&longer), Err(BadFraming::Length(8)));
    }

    proptest! {
        #[test]
        fn numbers_read_back(number: u32, tail: Vec<u8>) {
            let mut bytes = Vec::new();
            put_number(&mut bytes, number as usize);
            bytes.extend(&tail);
            prop_assert_eq!(take_number(&bytes), Ok((number, &tail[..])));
        }

        #[test]
        fn any_bytes_are_framed_or_refused(tail: Vec<u8>) {
            let bytes = [&HEADER[..], &tail].concat();
            if let Ok(found) = sections(&bytes) {
                let mut at = HEADER.len();
                for section in found {
                    prop_assert_eq!(section.place.start, at);
                    at = section.place.end;
                }
                prop_assert_eq!(at, bytes.len());
            }
        }
    }
}
