//! Anthropic's Messages API, streamed.
//!
//! - Thinking is said again with its signature, to the model that said it.
//! - Prompt caching has its four breakpoints: tools, system, and the last two turns of
//!   the user, so that each question finds what the one before it wrote.
//! - A paused turn goes on when it is asked again.

mod request;
mod stream;

use crate::conversation::Question;
use crate::endpoint::Dialect;
use crate::wire::Assembler;
use serde_json::Value;

pub(crate) use request::Settings;

/// The version of the API that all this is written for.
pub(crate) const VERSION: &str = "2023-06-01";

/// The Messages API.
pub(crate) struct Messages(pub(crate) Settings);

impl Dialect for Messages {
    fn body(&self, question: &Question<'_>, own: &str) -> Value {
        request::body(question, &self.0, own)
    }

    fn assembler(&self, own: &str) -> Box<dyn Assembler> {
        Box::new(stream::Assembly::new(own))
    }
}
