//! Bounds of one answer. A model that streams without end, and a server that is none,
//! meet an error, never our memory.

/// One server-sent event, in bytes. The last one of the Responses API repeats the
/// whole answer.
pub(crate) const EVENT: usize = 8 * 1024 * 1024;

/// Everything that arrives for one answer, in bytes: not kept, so generous. A token
/// comes in an event of its own, some hundred times its size.
pub(crate) const STREAM: usize = 64 * 1024 * 1024;

/// What is kept of one answer, in bytes: texts, thinking, tool inputs.
pub(crate) const ANSWER: usize = 4 * 1024 * 1024;

/// Tool calls in one answer.
pub(crate) const CALLS: usize = 128;

/// Blocks in one answer.
pub(crate) const BLOCKS: usize = 1024;

/// Name of a tool, in bytes.
pub(crate) const NAME: usize = 256;

/// What is read of a body that explains an error, in bytes.
pub(crate) const ERROR_BODY: usize = 64 * 1024;

/// A message that is shown, in characters.
pub(crate) const MESSAGE: usize = 600;
