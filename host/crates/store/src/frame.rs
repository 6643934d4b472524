//! Bytes of the journal's files.
//!
//! ```text
//! segment: magic [u8; 8] | format u32 | first seq u64 | previous [u8; 32] | crc32c u32, then frames
//! frame:   length u32 | crc32c of length and offset u32 | crc32c of the record u32 | record
//! ```
//!
//! All integers big endian. The length has a checksum of its own, so that a
//! frame that is cut off (the host died while writing) is never mistaken for one
//! whose length was changed, or the other way round.

use selfheal_domain::digest::Digest;

/// Version of the file format.
pub(crate) const FORMAT: u32 = 1;
const MAGIC: &[u8; 8] = b"SELFHEAL";
/// Bytes of a segment's header.
pub(crate) const HEADER_BYTES: usize = 56;
/// Bytes before a frame's record.
pub(crate) const FRAME_BYTES: usize = 12;
/// Largest record, in bytes.
pub(crate) const MAX_RECORD_BYTES: usize = 64 << 20;

pub(crate) fn header(first: u64, previous: Digest) -> Vec<u8> {
    let mut out = Vec::with_capacity(HEADER_BYTES);
    out.extend_from_slice(MAGIC);
    out.extend_from_slice(&FORMAT.to_be_bytes());
    out.extend_from_slice(&first.to_be_bytes());
    out.extend_from_slice(&previous.0);
    let crc = crc32c::crc32c(&out);
    out.extend_from_slice(&crc.to_be_bytes());
    out
}

/// What is wrong with a segment's header, if anything.
pub(crate) fn check_header(found: &[u8], first: u64, previous: Digest) -> Option<String> {
    if found == header(first, previous) {
        return None;
    }
    let version = found
        .get(8..12)
        .and_then(|bytes| bytes.try_into().ok())
        .map(u32::from_be_bytes);
    Some(match version {
        Some(version) if found.starts_with(MAGIC) && version > FORMAT => format!(
            "the segment has format version {version}, and this program reads {FORMAT}: use a newer Selfheal"
        ),
        _ => "the segment's header was changed, or it is not the segment that follows".to_owned(),
    })
}

/// Appends a frame that will stand at `offset`.
pub(crate) fn put_frame(out: &mut Vec<u8>, offset: u64, stored: &[u8]) {
    let length = u32::try_from(stored.len()).unwrap_or(u32::MAX);
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(&length_crc(length, offset).to_be_bytes());
    out.extend_from_slice(&crc32c::crc32c(stored).to_be_bytes());
    out.extend_from_slice(stored);
}

fn length_crc(length: u32, offset: u64) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&length.to_be_bytes()), &offset.to_be_bytes())
}

/// Reads the start of the frame at `offset`: length and checksum of its record.
/// None when it is not one.
pub(crate) fn frame_start(bytes: [u8; FRAME_BYTES], offset: u64) -> Option<(usize, u32)> {
    let [a, b, c, d, e, f, g, h, i, j, k, l] = bytes;
    let length = u32::from_be_bytes([a, b, c, d]);
    let valid = length_crc(length, offset) == u32::from_be_bytes([e, f, g, h]);
    let size = usize::try_from(length).ok()?;
    (valid && size > 0 && size <= MAX_RECORD_BYTES)
        .then_some((size, u32::from_be_bytes([i, j, k, l])))
}

/// File name of the segment that begins with record `first`.
pub(crate) fn segment_name(first: u64) -> String {
    format!("{first:020}.seg")
}

/// The first record of the segment with this file name; none when it is no segment.
pub(crate) fn segment_first(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(".seg")?;
    (digits.len() == 20)
        .then(|| digits.parse().ok())
        .flatten()
        .filter(|first| segment_name(*first) == name)
}
