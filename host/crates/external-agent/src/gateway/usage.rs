//! What went through the gateway, as the endpoint itself counts it.

use serde_json::Value;
use std::fmt;

/// Longest line of an answer that is looked into, in bytes.
const LONGEST_LINE: usize = 1024 * 1024;

/// Requests and tokens.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Usage {
    /// Requests that were sent on.
    pub requests: u64,
    /// Requests that were refused.
    pub refused: u64,
    /// Tokens read by the model, cached ones included.
    pub input_tokens: u64,
    /// Tokens it wrote.
    pub output_tokens: u64,
}

impl Usage {
    /// Tokens in and out.
    pub fn tokens(self) -> u64 {
        self.input_tokens.saturating_add(self.output_tokens)
    }
}

impl fmt::Display for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} model requests, {} tokens read, {} written",
            self.requests, self.input_tokens, self.output_tokens
        )?;
        if self.refused > 0 {
            write!(f, ", {} requests refused", self.refused)?;
        }
        Ok(())
    }
}

/// Bytes of a question, or of an answer in its wrapping, for one token: rather too few.
const BYTES_READ: u64 = 3;
const BYTES_WRITTEN: u64 = 12;

/// Reads along one answer and finds what it says about tokens: the last count wins,
/// for each of the two, since streams count up. Where it says nothing, bytes tell: a
/// budget that sees nothing bounds nothing.
#[derive(Debug, Default)]
pub(super) struct Meter {
    line: Vec<u8>,
    too_long: bool,
    asked: u64,
    said: u64,
    pub(super) input: u64,
    pub(super) output: u64,
}

impl Meter {
    /// Of the answer to a question of so many bytes; 0 where nothing is answered that
    /// costs anything.
    pub(super) fn of(asked: usize) -> Self {
        Self {
            asked: u64::try_from(asked).unwrap_or(u64::MAX),
            ..Self::default()
        }
    }

    pub(super) fn feed(&mut self, mut bytes: &[u8]) {
        self.said = self.said.saturating_add(bytes.len() as u64);
        while let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
            let (line, rest) = bytes.split_at(end);
            self.keep(line);
            self.end_line();
            bytes = rest.get(1..).unwrap_or_default();
        }
        self.keep(bytes);
    }

    /// The answer is over: a body without a line feed is one line.
    pub(super) fn finish(&mut self) {
        self.end_line();
        if self.input == 0 && self.output == 0 && self.asked > 0 {
            self.input = self.asked / BYTES_READ;
            self.output = self.said / BYTES_WRITTEN;
        }
    }

    fn keep(&mut self, bytes: &[u8]) {
        if self.line.len() + bytes.len() > LONGEST_LINE {
            self.too_long = true;
            self.line.clear();
        }
        if !self.too_long {
            self.line.extend_from_slice(bytes);
        }
    }

    fn end_line(&mut self) {
        let line = std::mem::take(&mut self.line);
        if std::mem::take(&mut self.too_long) {
            return;
        }
        let line = line.strip_prefix(b"data:").unwrap_or(&line);
        let counts = line.windows(7).any(|part| part == b"\"usage\"");
        let Some(value) = counts
            .then(|| serde_json::from_slice::<Value>(line).ok())
            .flatten()
        else {
            return;
        };
        // Messages: the event or its message; Responses: its response.
        for place in ["/usage", "/message/usage", "/response/usage"] {
            let Some(usage) = value.pointer(place) else {
                continue;
            };
            let of = |name: &str| usage.get(name).and_then(Value::as_u64);
            let input = of("input_tokens").or_else(|| of("prompt_tokens"));
            if let Some(input) = input {
                let cached = ["cache_creation_input_tokens", "cache_read_input_tokens"]
                    .map(|name| of(name).unwrap_or(0));
                self.input = self
                    .input
                    .max(cached.into_iter().fold(input, u64::saturating_add));
            }
            if let Some(output) = of("output_tokens").or_else(|| of("completion_tokens")) {
                self.output = self.output.max(output);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_dialects_are_counted() {
        for (answer, input, output) in [
            (
                "event: message_start\ndata: {\"message\":{\"usage\":{\"input_tokens\":10,\"cache_read_input_tokens\":90,\
                 \"output_tokens\":1}}}\n\nevent: message_delta\ndata: {\"usage\":{\"output_tokens\":15}}\n\n",
                100,
                15,
            ),
            (
                "data: {\"type\":\"response.completed\",\"response\":{\"usage\":{\"input_tokens\":7,\"output_tokens\":3}}}\n",
                7,
                3,
            ),
            (
                "{\"usage\":{\"prompt_tokens\":5,\"completion_tokens\":2}}",
                5,
                2,
            ),
            ("data: {\"usage\": nonsense", 0, 0),
        ] {
            let mut meter = Meter::default();
            for byte in answer.as_bytes() {
                meter.feed(std::slice::from_ref(byte));
            }
            meter.finish();
            assert_eq!((meter.input, meter.output), (input, output), "{answer}");
        }
        // Who does not count is counted.
        let mut meter = Meter::of(3_000);
        meter.feed(&[b'x'; 1_200]);
        meter.finish();
        assert_eq!((meter.input, meter.output), (1_000, 100));
    }
}
