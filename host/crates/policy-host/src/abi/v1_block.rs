//! A question of contract line 1 in one piece of memory. The canonical ABI has the
//! guest allocate every text and every list on its own, and each of these calls costs
//! as much as a rule. A module that says that it never gives memory back ([`SECTION`])
//! cannot tell one allocation from many: the whole question is laid out once, for all
//! such modules of a set, and copied behind one call.
//!
//! What the module says is its own word, and whoever says it falsely corrupts nothing
//! but its own memory.

use super::v1_bindings::types as wit;
use super::v1_facts as facts;
use super::{Question, Subject};
use selfheal_domain::policy as domain;
use selfheal_domain::risk::Assessment;
use std::marker::PhantomData;
use std::mem::MaybeUninit;
use wasmtime::Result;
use wasmtime::component::__internal::{
    CanonicalAbiInfo, InstanceType, InterfaceType, LowerContext,
};
use wasmtime::component::{ComponentNamedList, ComponentType, Lower};

/// Custom section, of the component or of a core module in it, by which a module says
/// that it never gives memory back.
pub(crate) const SECTION: &str = "selfheal:keeps-memory";

/// Largest alignment of the canonical ABI.
const ALIGN: usize = 8;

/// Parameters of a function as they stand in the memory of a guest: first what has a
/// fixed size, then the rest.
pub(super) struct Block {
    bytes: Vec<u8>,
    /// Where the rest begins.
    head: usize,
    /// Where pointers into the rest stand, which count from its beginning.
    pointers: Vec<usize>,
}

impl Block {
    /// Parameters of the function that answers `question`.
    pub(super) fn of(question: &Question<'_>) -> Self {
        let head = match question.subject {
            Subject::ToolCall(_) => size_of_params::<(wit::Context, wit::ToolCall)>(),
            Subject::Patch(_) => size_of_params::<(wit::Context, wit::Patch)>(),
            Subject::Assessed(..) => {
                size_of_params::<(wit::Context, wit::Patch, wit::Assessment)>()
            }
            Subject::Issue(_) => size_of_params::<(wit::Context, wit::Issue)>(),
        };
        let mut block = Self {
            bytes: Vec::with_capacity(4096),
            head: head.next_multiple_of(ALIGN),
            pointers: Vec::with_capacity(64),
        };
        block.take(head, ALIGN);
        block.take(0, ALIGN);
        let mut record = Record::at(0);
        record.part::<wit::Context>(&mut block, |block, at| context(block, at, question.context));
        match question.subject {
            Subject::ToolCall(call) => {
                record.part::<wit::ToolCall>(&mut block, |block, at| tool_call(block, at, call));
            }
            Subject::Patch(subject) => {
                record.part::<wit::Patch>(&mut block, |block, at| patch(block, at, subject));
            }
            Subject::Assessed(subject, assessed) => {
                record.part::<wit::Patch>(&mut block, |block, at| patch(block, at, subject));
                record.part::<wit::Assessment>(&mut block, |block, at| {
                    assessment(block, at, assessed);
                });
            }
            Subject::Issue(subject) => {
                record.part::<wit::Issue>(&mut block, |block, at| issue(block, at, subject));
            }
        }
        block
    }

    /// The same as the parameters `P` that it holds.
    pub(super) fn standing_for<P>(&self) -> OnePiece<'_, P> {
        OnePiece {
            block: self,
            types: PhantomData,
        }
    }

    /// Room at the end.
    fn take(&mut self, size: usize, align: usize) -> usize {
        let start = self.bytes.len().next_multiple_of(align);
        self.bytes.resize(start + size, 0);
        start
    }

    fn put(&mut self, at: usize, value: &[u8]) {
        if let Some(place) = self.bytes.get_mut(at..at + value.len()) {
            place.copy_from_slice(value);
        }
    }

    /// A pointer to what begins at `target`, and how many there are.
    fn put_list(&mut self, at: usize, target: usize, count: usize) {
        // A block of 4 GiB fits into no memory: it is refused when it is copied.
        let relative = u32::try_from(target - self.head).unwrap_or(u32::MAX);
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        self.put(at, &relative.to_le_bytes());
        self.put(at + 4, &count.to_le_bytes());
        self.pointers.push(at);
    }
}

fn size_of_params<P: ComponentType>() -> usize {
    P::SIZE32
}

/// Writes the fields of a record one after the other, each where it is due.
struct Record {
    next: usize,
}

impl Record {
    fn at(start: usize) -> Self {
        Self { next: start }
    }

    fn place(&mut self, size: usize, align: usize) -> usize {
        let at = self.next.next_multiple_of(align);
        self.next = at + size;
        at
    }

    /// A field that is a record itself.
    fn part<T: ComponentType>(&mut self, block: &mut Block, write: impl FnOnce(&mut Block, usize)) {
        let at = self.place(T::SIZE32, align_of::<T>());
        write(block, at);
    }

    /// A byte: a boolean, or a case of an enumeration.
    fn byte(&mut self, block: &mut Block, value: u8) {
        let at = self.place(1, 1);
        block.put(at, &[value]);
    }

    fn u32(&mut self, block: &mut Block, value: u32) {
        let at = self.place(4, 4);
        block.put(at, &value.to_le_bytes());
    }

    fn u64(&mut self, block: &mut Block, value: u64) {
        let at = self.place(8, 8);
        block.put(at, &value.to_le_bytes());
    }

    fn f64(&mut self, block: &mut Block, value: f64) {
        // Not every bit pattern of a NaN may cross: the canonical one does.
        let value = if value.is_nan() {
            f64::from_bits(0x7ff8_0000_0000_0000)
        } else {
            value
        };
        self.u64(block, value.to_bits());
    }

    fn text(&mut self, block: &mut Block, text: &str) {
        let at = self.place(8, 4);
        put_text(block, at, text);
    }

    fn some_text(&mut self, block: &mut Block, text: Option<&str>) {
        let at = self.place(12, 4);
        if let Some(text) = text {
            block.put(at, &[1]);
            put_text(block, at + 4, text);
        }
    }

    fn texts(&mut self, block: &mut Block, texts: &[String]) {
        self.list::<String, _>(block, texts, |block, at, text| put_text(block, at, text));
    }

    fn list<T: ComponentType, I>(
        &mut self,
        block: &mut Block,
        items: &[I],
        write: impl Fn(&mut Block, usize, &I),
    ) {
        let at = self.place(8, 4);
        let (size, align) = (T::SIZE32, align_of::<T>());
        let first = block.take(size * items.len(), align);
        for (n, item) in items.iter().enumerate() {
            write(block, first + n * size, item);
        }
        block.put_list(at, first, items.len());
    }
}

fn align_of<T: ComponentType>() -> usize {
    T::ALIGN32 as usize
}

fn put_text(block: &mut Block, at: usize, text: &str) {
    let start = block.bytes.len();
    block.bytes.extend_from_slice(text.as_bytes());
    block.put_list(at, start, text.len());
}

fn context(block: &mut Block, at: usize, context: &domain::PolicyContext) {
    let mut record = Record::at(at);
    record.part::<Option<wit::RunRef>>(block, |block, at| {
        if let Some(run) = &context.run {
            block.put(at, &[1]);
            let mut record = Record::at(at + align_of::<wit::RunRef>());
            record.u64(block, run.issue.0);
            record.u32(block, run.run.0);
            record.text(block, &run.id.to_string());
        }
    });
    record.byte(block, facts::phase(context.phase) as u8);
    record.byte(block, facts::environment(context.environment) as u8);
    record.byte(block, facts::level(context.level) as u8);
    record.text(block, &context.actor);
    record.byte(block, facts::trust(context.trust) as u8);
    record.some_text(block, context.service.as_deref());
    record.part::<wit::TrackRecord>(block, |block, at| {
        let mut record = Record::at(at);
        record.u32(block, context.earned.healed);
        record.u32(block, context.earned.failed);
        record.u32(block, context.earned.rolled_back);
        record.u32(block, context.earned.streak);
    });
    record.part::<wit::Counters>(block, |block, at| {
        let mut record = Record::at(at);
        record.u64(block, context.counters.tool_calls);
        record.u64(block, context.counters.denied);
        record.u64(block, context.counters.files_written);
        record.u64(block, context.counters.bytes_written);
        record.u64(block, context.counters.seconds);
    });
}

fn tool_call(block: &mut Block, at: usize, call: &domain::ToolCallFacts) {
    let mut record = Record::at(at);
    record.text(block, &call.tool);
    record.text(block, &call.input);
    record.list::<wit::SimpleCommand, _>(block, &call.commands, command);
    record.byte(block, u8::from(call.parsed));
    record.list::<wit::PathAccess, _>(block, &call.paths, path);
    record.texts(block, &call.network);
    record.u64(block, call.bytes);
}

fn word(block: &mut Block, at: usize, word: &domain::Word) {
    let mut record = Record::at(at);
    record.text(block, &word.text);
    record.byte(block, u8::from(word.certain));
}

fn command(block: &mut Block, at: usize, command: &domain::SimpleCommand) {
    let mut record = Record::at(at);
    record.part::<wit::Word>(block, |block, at| word(block, at, &command.program));
    record.some_text(block, command.resolved.as_deref());
    record.list::<wit::Word, _>(block, &command.arguments, word);
    record.byte(block, u8::from(command.certain));
}

fn path(block: &mut Block, at: usize, access: &domain::PathAccess) {
    let mut record = Record::at(at);
    record.text(block, &access.path);
    record.some_text(block, access.relative.as_deref());
    record.byte(block, facts::mode(access.mode) as u8);
    record.byte(block, u8::from(access.certain));
    record.byte(block, u8::from(access.tracked));
    record.byte(block, u8::from(access.protected));
    record.some_text(block, access.link.as_deref());
}

fn patch(block: &mut Block, at: usize, patch: &domain::PatchFacts) {
    let mut record = Record::at(at);
    record.text(block, &patch.digest.to_string());
    record.text(block, &patch.diff);
    record.list::<wit::PatchFile, _>(block, &patch.files, file);
    record.f64(block, patch.claimed_confidence);
    record.byte(block, u8::from(patch.reproduction_proved));
    record.u32(block, patch.rivals);
    record.text(block, &patch.severity);
}

fn file(block: &mut Block, at: usize, file: &domain::PatchFileFacts) {
    let mut record = Record::at(at);
    record.text(block, &file.path);
    record.byte(block, facts::change(file.change) as u8);
    record.texts(block, &file.added);
    record.texts(block, &file.removed);
    record.byte(block, u8::from(file.test));
    record.byte(block, u8::from(file.protected));
    record.u32(block, file.dependents);
    record.texts(block, &file.owners);
    record.u32(block, file.earlier_heals);
    record.u32(block, file.earlier_rollbacks);
}

fn assessment(block: &mut Block, at: usize, assessment: &Assessment) {
    let mut record = Record::at(at);
    record.u32(block, u32::from(assessment.score.get()));
    record.list::<wit::Factor, _>(block, &assessment.factors, |block, at, factor| {
        let mut record = Record::at(at);
        record.text(block, &factor.name);
        record.u32(block, factor.points);
        record.text(block, &factor.evidence);
    });
}

fn issue(block: &mut Block, at: usize, issue: &domain::IssueFacts) {
    let mut record = Record::at(at);
    record.u64(block, issue.number);
    record.text(block, &issue.severity);
    record.text(block, &issue.category);
    record.text(block, &issue.source);
    record.byte(block, facts::trust(issue.trust) as u8);
}

/// A [`Block`] where parameters `P` are expected.
pub(super) struct OnePiece<'a, P> {
    block: &'a Block,
    types: PhantomData<P>,
}

#[expect(
    unsafe_code,
    reason = "it says of itself what `P` says: same types, same size, same alignment"
)]
// SAFETY: everything is taken from `P`, whose memory `Block::of` lays out.
unsafe impl<P: ComponentType> ComponentType for OnePiece<'_, P> {
    type Lower = P::Lower;
    const ABI: CanonicalAbiInfo = P::ABI;

    fn typecheck(ty: &InterfaceType, types: &InstanceType<'_>) -> Result<()> {
        P::typecheck(ty, types)
    }
}

#[expect(unsafe_code, reason = "as for `P`")]
// SAFETY: it stands for a list of parameters exactly where `P` is one.
unsafe impl<P: ComponentNamedList> ComponentNamedList for OnePiece<'_, P> {}

#[expect(
    unsafe_code,
    reason = "writes into the memory that the guest's own allocation gave, through checked slices"
)]
// SAFETY: nothing is written outside of what `realloc` gave, which the engine has
// checked to lie in the memory; `P` never fits into registers, so that
// `linear_lower_to_flat` is not called, and refuses if it is.
unsafe impl<P: ComponentType> Lower for OnePiece<'_, P> {
    fn linear_lower_to_flat<T>(
        &self,
        _: &mut LowerContext<'_, T>,
        _: InterfaceType,
        _: &mut MaybeUninit<Self::Lower>,
    ) -> Result<()> {
        Err(wasmtime::Error::msg(
            "a question is not passed in registers",
        ))
    }

    fn linear_lower_to_memory<T>(
        &self,
        cx: &mut LowerContext<'_, T>,
        _: InterfaceType,
        offset: usize,
    ) -> Result<()> {
        let block = self.block;
        let (head, rest) = block
            .bytes
            .split_at_checked(block.head)
            .unwrap_or((&block.bytes, &[]));
        let align = u32::try_from(ALIGN)?;
        let base = if rest.is_empty() {
            // Empty lists point nowhere, but not to null.
            ALIGN
        } else {
            cx.realloc(0, 0, align, rest.len())?
        };
        // The fixed part may be followed by padding that the guest did not allocate.
        let head = head.get(..P::SIZE32).unwrap_or(head);
        let memory = cx.as_slice_mut();
        let outside = || wasmtime::Error::msg("the question lies outside of the memory");
        memory
            .get_mut(offset..offset + head.len())
            .ok_or_else(outside)?
            .copy_from_slice(head);
        if !rest.is_empty() {
            memory
                .get_mut(base..base + rest.len())
                .ok_or_else(outside)?
                .copy_from_slice(rest);
        }
        for &pointer in &block.pointers {
            let at = match pointer.checked_sub(block.head) {
                Some(in_rest) => base + in_rest,
                None => offset + pointer,
            };
            let place = memory.get_mut(at..at + 4).ok_or_else(outside)?;
            let bytes: [u8; 4] = (&*place).try_into()?;
            let target = u32::try_from(base)?
                .checked_add(u32::from_le_bytes(bytes))
                .ok_or_else(outside)?;
            place.copy_from_slice(&target.to_le_bytes());
        }
        Ok(())
    }
}

#[cfg(test)]
#[path = "v1_block_tests.rs"]
mod tests;
