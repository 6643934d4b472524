//! What a module may import beyond `host`, by the names that `policy.toml` grants.
//!
//! Everything that can be granted is virtual: no capability reaches the machine.
//! Clocks tell the run's own time, randomness follows from the question, the file
//! system is empty, streams end in the host's log. There is no name for sockets.

mod bindings;
mod empty_files;
mod virtual_wasi;

pub(crate) use virtual_wasi::{Denied, Origin, VirtualWasi};

use bindings::wasi;
use std::fmt;
use wasmtime::component::{HasSelf, Linker};

/// One capability: a WASI 0.2 package, as `wasi:clocks`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Capability {
    /// `wasi:cli`: no arguments, no environment, an empty standard input, and
    /// outputs that end in the host's log. Exit is a fault.
    Cli,
    /// `wasi:clocks`: frozen clocks that move only when the module waits.
    Clocks,
    /// `wasi:filesystem`: a file system without any directory in it.
    Filesystem,
    /// `wasi:io`: streams and polling, for the others.
    Io,
    /// `wasi:random`: numbers that follow from the question.
    Random,
}

impl Capability {
    /// All there are, in the order of their names.
    pub const ALL: [Self; 5] = [
        Self::Cli,
        Self::Clocks,
        Self::Filesystem,
        Self::Io,
        Self::Random,
    ];

    /// Name in `policy.toml` and in front of a module's imports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Cli => "wasi:cli",
            Self::Clocks => "wasi:clocks",
            Self::Filesystem => "wasi:filesystem",
            Self::Io => "wasi:io",
            Self::Random => "wasi:random",
        }
    }

    /// From its name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|one| one.name() == name)
    }

    /// The one that an import such as `wasi:io/poll@0.2.0` needs; none where nothing
    /// grants it.
    pub(crate) fn of_import(import: &str) -> Option<Self> {
        let (package, interface) = import.split_once('/')?;
        let (_, version) = interface.split_once('@')?;
        let mut numbers = version.split('.');
        let line = numbers.next() == Some("0") && numbers.next() == Some("2");
        Self::named(package).filter(|_| line)
    }
}

impl fmt::Display for Capability {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// What one module is granted.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct Capabilities(u8);

impl Capabilities {
    /// Nothing beyond the contract.
    pub const NONE: Self = Self(0);

    /// Also this one.
    #[must_use]
    pub fn with(self, capability: Capability) -> Self {
        Self(self.0 | 1 << capability as u8)
    }

    /// From their names.
    ///
    /// # Errors
    /// The first name that nothing goes by.
    pub fn named<'a>(names: impl IntoIterator<Item = &'a str>) -> Result<Self, &'a str> {
        names.into_iter().try_fold(Self::NONE, |granted, name| {
            Ok(granted.with(Capability::named(name).ok_or(name)?))
        })
    }

    /// Whether this one is granted.
    pub fn has(self, capability: Capability) -> bool {
        self.0 & (1 << capability as u8) != 0
    }

    /// Nothing is granted.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Those that `earlier` did not grant: a change that loosens.
    #[must_use]
    pub fn beyond(self, earlier: Self) -> Self {
        Self(self.0 & !earlier.0)
    }

    /// In the order of their names.
    pub fn iter(self) -> impl Iterator<Item = Capability> {
        Capability::ALL
            .into_iter()
            .filter(move |one| self.has(*one))
    }
}

impl FromIterator<Capability> for Capabilities {
    fn from_iter<T: IntoIterator<Item = Capability>>(granted: T) -> Self {
        granted.into_iter().fold(Self::NONE, Self::with)
    }
}

/// Names with commas between; empty where nothing is granted.
impl fmt::Display for Capabilities {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, capability) in self.iter().enumerate() {
            let comma = if place == 0 { "" } else { ", " };
            write!(formatter, "{comma}{capability}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Capabilities {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "[{self}]")
    }
}

/// Puts what is granted, and nothing else, into a linker. `state` finds the virtual
/// WASI of the decision that is under way.
pub(crate) fn link<T: 'static>(
    linker: &mut Linker<T>,
    granted: Capabilities,
    state: fn(&mut T) -> &mut VirtualWasi,
) -> wasmtime::Result<()> {
    type Own = HasSelf<VirtualWasi>;
    for capability in granted.iter() {
        match capability {
            Capability::Cli => {
                wasi::cli::environment::add_to_linker::<_, Own>(linker, state)?;
                wasi::cli::exit::add_to_linker::<_, Own>(linker, state)?;
                wasi::cli::stdin::add_to_linker::<_, Own>(linker, state)?;
                wasi::cli::stdout::add_to_linker::<_, Own>(linker, state)?;
                wasi::cli::stderr::add_to_linker::<_, Own>(linker, state)?;
                wasi::cli::terminal_input::add_to_linker::<_, Own>(linker, state)?;
                wasi::cli::terminal_output::add_to_linker::<_, Own>(linker, state)?;
                wasi::cli::terminal_stdin::add_to_linker::<_, Own>(linker, state)?;
                wasi::cli::terminal_stdout::add_to_linker::<_, Own>(linker, state)?;
                wasi::cli::terminal_stderr::add_to_linker::<_, Own>(linker, state)?;
            }
            Capability::Clocks => {
                wasi::clocks::monotonic_clock::add_to_linker::<_, Own>(linker, state)?;
                wasi::clocks::wall_clock::add_to_linker::<_, Own>(linker, state)?;
            }
            Capability::Filesystem => {
                wasi::filesystem::types::add_to_linker::<_, Own>(linker, state)?;
                wasi::filesystem::preopens::add_to_linker::<_, Own>(linker, state)?;
            }
            Capability::Io => {
                wasi::io::error::add_to_linker::<_, Own>(linker, state)?;
                wasi::io::poll::add_to_linker::<_, Own>(linker, state)?;
                wasi::io::streams::add_to_linker::<_, Own>(linker, state)?;
            }
            Capability::Random => {
                wasi::random::random::add_to_linker::<_, Own>(linker, state)?;
                wasi::random::insecure::add_to_linker::<_, Own>(linker, state)?;
                wasi::random::insecure_seed::add_to_linker::<_, Own>(linker, state)?;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_sets_go_both_ways() {
        for capability in Capability::ALL {
            assert_eq!(Capability::named(capability.name()), Some(capability));
        }
        let granted = Capabilities::named(["wasi:io", "wasi:cli", "wasi:io"]).unwrap();
        assert_eq!(granted.to_string(), "wasi:cli, wasi:io");
        assert_eq!(
            Capabilities::named(["wasi:io", "wasi:sockets"]),
            Err("wasi:sockets")
        );
        assert!(Capabilities::NONE.is_empty() && !granted.is_empty());
        let earlier = Capabilities::NONE.with(Capability::Io);
        assert_eq!(
            granted.beyond(earlier),
            Capabilities::NONE.with(Capability::Cli)
        );
        assert!(earlier.beyond(granted).is_empty());
    }

    #[test]
    fn an_import_names_what_would_grant_it() {
        let of = Capability::of_import;
        assert_eq!(of("wasi:io/poll@0.2.0"), Some(Capability::Io));
        assert_eq!(
            of("wasi:clocks/wall-clock@0.2.12"),
            Some(Capability::Clocks)
        );
        for nothing in [
            "wasi:sockets/tcp@0.2.0",
            "wasi:http/outgoing-handler@0.2.0",
            "wasi:io/poll@0.3.0",
            "wasi:io/poll",
            "env",
            "wasi:io",
        ] {
            assert_eq!(of(nothing), None, "{nothing}");
        }
    }
}
