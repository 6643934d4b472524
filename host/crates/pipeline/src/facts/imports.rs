//! Which files import which, as far as a line of their text tells. No parser and no
//! build: a name that could mean the file counts, because taking a file for less
//! used than it is would be the dearer mistake.

use std::collections::{BTreeMap, BTreeSet};

/// A language by what it calls a module.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Family {
    Python,
    JavaScript,
    Rust,
    Go,
    Jvm,
    Ruby,
    Php,
}

fn family(path: &str) -> Option<Family> {
    let (_, ending) = path.rsplit_once('.')?;
    Some(match ending {
        "py" | "pyi" => Family::Python,
        "js" | "jsx" | "mjs" | "cjs" | "ts" | "tsx" | "mts" | "cts" | "vue" | "svelte" => {
            Family::JavaScript
        }
        "rs" => Family::Rust,
        "go" => Family::Go,
        "java" | "kt" | "kts" | "scala" | "groovy" => Family::Jvm,
        "rb" | "rake" => Family::Ruby,
        "php" => Family::Php,
        _ => return None,
    })
}

/// Does a file of this name import others?
pub(super) fn is_code(path: &str) -> bool {
    family(path).is_some()
}

/// A file whose dependents are counted.
#[derive(Debug)]
struct Target {
    path: String,
    family: Family,
    directory: String,
    /// Its name without ending; that of its directory for files that stand for it.
    stem: String,
    /// Path without ending, parts from the root.
    parts: Vec<String>,
    found: BTreeSet<String>,
}

/// Counts the files that import some.
#[derive(Debug)]
pub(super) struct Dependents {
    targets: Vec<Target>,
}

impl Dependents {
    /// For these paths; those that no language knows have no dependents.
    pub(super) fn of<'a>(paths: impl IntoIterator<Item = &'a str>) -> Self {
        let targets = paths
            .into_iter()
            .filter_map(|path| {
                let family = family(path)?;
                let (directory, name) = split(path);
                let stem = name.rsplit_once('.').map_or(name, |(stem, _)| stem);
                let mut parts: Vec<String> = directory
                    .split('/')
                    .filter(|part| !part.is_empty())
                    .map(str::to_owned)
                    .collect();
                // These stand for their directory.
                let stands = matches!(stem, "__init__" | "index" | "mod");
                if !stands {
                    parts.push(stem.to_owned());
                }
                Some(Target {
                    path: path.to_owned(),
                    family,
                    directory: directory.to_owned(),
                    stem: parts.last().cloned().unwrap_or_default(),
                    parts,
                    found: BTreeSet::new(),
                })
            })
            .collect();
        Self { targets }
    }

    /// Is there nothing to look for?
    pub(super) fn is_empty(&self) -> bool {
        self.targets.is_empty()
    }

    /// Looks at one file.
    pub(super) fn look(&mut self, path: &str, text: &str) {
        let Some(family) = family(path) else {
            return;
        };
        for target in &mut self.targets {
            if target.family == family && target.path != path && target.is_imported(path, text) {
                target.found.insert(path.to_owned());
            }
        }
    }

    /// How many import each.
    pub(super) fn counts(&self) -> BTreeMap<String, u32> {
        self.targets
            .iter()
            .map(|target| {
                let count = u32::try_from(target.found.len()).unwrap_or(u32::MAX - 1);
                (target.path.clone(), count)
            })
            .collect()
    }
}

fn split(path: &str) -> (&str, &str) {
    path.rsplit_once('/').unwrap_or(("", path))
}

/// A path from `directory`, `.` and `..` taken away.
fn joined(directory: &str, relative: &str) -> String {
    let mut parts: Vec<&str> = directory
        .split('/')
        .filter(|part| !part.is_empty())
        .collect();
    for part in relative.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    parts.join("/")
}

/// The texts in quotes of a line.
fn quoted(line: &str) -> impl Iterator<Item = &str> {
    line.split(['"', '\'', '`']).skip(1).step_by(2)
}

impl Target {
    fn is_imported(&self, by: &str, text: &str) -> bool {
        // Without its name nothing imports it.
        if self.family == Family::Go {
            let (directory, _) = split(by);
            if directory == self.directory {
                return true;
            }
        } else if !text.contains(self.stem.as_str()) && !self.is_crate_root() {
            return false;
        }
        text.lines().map(str::trim).any(|line| match self.family {
            Family::Python => self.by_python(by, line),
            Family::JavaScript => self.by_javascript(by, line),
            Family::Rust => self.by_rust(by, line),
            Family::Go => self.by_go(line),
            Family::Jvm => self.by_jvm(by, line),
            Family::Ruby => self.by_ruby(by, line),
            Family::Php => self.by_php(line),
        })
    }

    /// Do the parts end like this file's path? One part alone only counts where the
    /// file lies in a root of sources or beside the importer.
    fn ends_with(&self, parts: &[&str], by: &str) -> bool {
        if parts.is_empty() || parts.len() > self.parts.len() {
            return false;
        }
        let tail = self.parts.get(self.parts.len() - parts.len()..);
        let same = tail.is_some_and(|tail| tail.iter().zip(parts).all(|(one, other)| one == other));
        let root = matches!(self.parts.len() - parts.len(), 0)
            || self.parts.len() == 2
                && matches!(
                    self.parts.first().map(String::as_str),
                    Some("src" | "lib" | "app" | "test" | "tests")
                );
        same && (parts.len() > 1 || root || split(by).0 == self.directory)
    }

    fn by_python(&self, by: &str, line: &str) -> bool {
        let module = |name: &str, more: Option<&str>| {
            let dots = name.chars().take_while(|c| *c == '.').count();
            let mut parts: Vec<String> = name
                .get(dots..)
                .unwrap_or_default()
                .split('.')
                .chain(more)
                .filter(|part| !part.is_empty())
                .map(str::to_owned)
                .collect();
            if dots > 0 {
                let mut from = joined(split(by).0, &"../".repeat(dots - 1));
                if !from.is_empty() {
                    from.push('/');
                }
                parts = format!("{from}{}", parts.join("/"))
                    .split('/')
                    .filter(|part| !part.is_empty())
                    .map(str::to_owned)
                    .collect();
                return parts == self.parts;
            }
            let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
            self.ends_with(&parts, by)
        };
        let first = |text: &str| {
            text.split_whitespace()
                .next()
                .unwrap_or_default()
                .trim_matches(|c: char| !c.is_alphanumeric() && c != '_' && c != '.')
                .to_owned()
        };
        if let Some(rest) = line.strip_prefix("import ") {
            return rest.split(',').any(|name| module(&first(name), None));
        }
        let Some((name, names)) = line
            .strip_prefix("from ")
            .and_then(|rest| rest.split_once(" import"))
        else {
            return false;
        };
        let name = name.trim();
        module(name, None)
            || names
                .split(',')
                .any(|imported| module(name, Some(&first(imported))))
    }

    fn by_javascript(&self, by: &str, line: &str) -> bool {
        let imports = ["import", "require(", "export", "from ", "jest.mock("]
            .iter()
            .any(|mark| line.contains(mark));
        imports
            && quoted(line).any(|name| {
                let without = |path: &str| {
                    let path = path.strip_suffix("/index").unwrap_or(path);
                    match path.rsplit_once('.') {
                        Some((stem, ending)) if family(&format!("x.{ending}")).is_some() => {
                            stem.strip_suffix("/index").unwrap_or(stem).to_owned()
                        }
                        _ => path.to_owned(),
                    }
                };
                if name.starts_with('.') {
                    return without(&joined(split(by).0, name)) == self.parts.join("/");
                }
                // Aliases such as `@/cart` and paths from a root of sources.
                let name = name
                    .trim_start_matches(['@', '~', '#'])
                    .trim_start_matches('/');
                let parts = without(name);
                let parts: Vec<&str> = parts.split('/').filter(|part| !part.is_empty()).collect();
                name.contains('/') && self.ends_with(&parts, by)
            })
    }

    /// Others name the package, not this file.
    fn is_crate_root(&self) -> bool {
        self.family == Family::Rust && matches!(self.stem.as_str(), "lib" | "main")
    }

    fn by_rust(&self, by: &str, line: &str) -> bool {
        let root = |path: &str| {
            path.split_once("/src/")
                .map_or_else(String::new, |(root, _)| root.to_owned())
        };
        if self.is_crate_root() {
            let package = split(&root(&self.path)).1.replace('-', "_");
            return !package.is_empty() && line.contains(&format!("{package}::"));
        }
        if root(&self.path) != root(by) {
            return false;
        }
        let declares = line
            .split_once("mod ")
            .is_some_and(|(_, name)| name.trim_end_matches([';', '{', ' ']) == self.stem);
        declares
            || line.match_indices(self.stem.as_str()).any(|(start, _)| {
                let before = line.get(..start).unwrap_or_default();
                let after = line.get(start + self.stem.len()..).unwrap_or_default();
                let inner = |c: char| c.is_alphanumeric() || c == '_';
                !before.ends_with(inner)
                    && !after.starts_with(inner)
                    && (before.ends_with("::") && before.contains("use ")
                        || after.starts_with("::")
                        || before.contains("::{") && line.starts_with("use "))
            })
    }

    fn by_go(&self, line: &str) -> bool {
        let package: Vec<&str> = self
            .directory
            .split('/')
            .filter(|part| !part.is_empty())
            .collect();
        !package.is_empty()
            && quoted(line).any(|name| {
                let parts: Vec<&str> = name.split('/').collect();
                parts.len() > package.len() && parts.ends_with(&package)
            })
    }

    fn by_jvm(&self, by: &str, line: &str) -> bool {
        if let Some(name) = line.strip_prefix("import ") {
            let name = name.split(';').next().unwrap_or_default();
            let name = name.trim_start_matches("static ").trim();
            let parts: Vec<&str> = name.split('.').collect();
            let package = self.parts.get(..self.parts.len().saturating_sub(1));
            // The class itself, something in it, or all of its package.
            let all = parts.last() == Some(&"*")
                && package.is_some_and(|package| {
                    let wanted = parts.get(..parts.len() - 1).unwrap_or_default();
                    package.len() >= wanted.len()
                        && package
                            .iter()
                            .rev()
                            .zip(wanted.iter().rev())
                            .all(|(one, other)| one == other)
                });
            return all
                || self.ends_with(&parts, by)
                || parts
                    .get(..parts.len().saturating_sub(1))
                    .is_some_and(|parts| self.ends_with(parts, by));
        }
        // Classes of one package need no import.
        split(by).0 == self.directory
            && line
                .split(|c: char| !c.is_alphanumeric() && c != '_')
                .any(|word| word == self.stem)
    }

    fn by_ruby(&self, by: &str, line: &str) -> bool {
        let relative = line.starts_with("require_relative");
        (relative || line.starts_with("require") || line.starts_with("load"))
            && quoted(line).any(|name| {
                let name = name.trim_end_matches(".rb");
                if relative || name.starts_with('.') {
                    return joined(split(by).0, name) == self.parts.join("/");
                }
                let parts: Vec<&str> = name.split('/').collect();
                self.ends_with(&parts, by)
            })
    }

    fn by_php(&self, line: &str) -> bool {
        if let Some(name) = line.strip_prefix("use ") {
            let name = name.split([' ', ';', '{']).next().unwrap_or_default();
            return name.rsplit('\\').next() == Some(self.stem.as_str());
        }
        ["require", "include"]
            .iter()
            .any(|mark| line.starts_with(mark))
            && quoted(line).any(|name| split(name).1.trim_end_matches(".php") == self.stem)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(target: &str, by: &str, text: &str) -> u32 {
        let mut dependents = Dependents::of([target]);
        dependents.look(by, text);
        dependents.counts().values().sum()
    }

    #[test]
    fn imports_are_seen() {
        for (target, by, line) in [
            (
                "shop/cart.py",
                "web/views.py",
                "from shop.cart import total",
            ),
            (
                "shop/cart.py",
                "web/views.py",
                "from shop import cart, stock",
            ),
            ("shop/cart.py", "web/views.py", "import os, shop.cart as c"),
            (
                "shop/cart.py",
                "shop/checkout.py",
                "from .cart import total",
            ),
            ("shop/cart.py", "shop/checkout.py", "from . import cart"),
            (
                "shop/cart.py",
                "shop/deep/x.py",
                "    from ..cart import total",
            ),
            (
                "src/shop/cart.py",
                "tests/test_cart.py",
                "from shop.cart import total",
            ),
            ("cart.py", "test_cart.py", "import cart"),
            ("shop/__init__.py", "web/views.py", "import shop"),
            (
                "src/cart.js",
                "src/app.js",
                "import { total } from './cart';",
            ),
            (
                "src/cart.js",
                "test/cart.test.js",
                "const { total } = require('../src/cart.js');",
            ),
            (
                "src/cart/index.ts",
                "src/app.ts",
                "import cart from './cart';",
            ),
            (
                "src/shop/cart.ts",
                "src/app.ts",
                "import cart from '@/shop/cart';",
            ),
            ("host/a/src/cart.rs", "host/a/src/lib.rs", "pub mod cart;"),
            (
                "host/a/src/cart.rs",
                "host/a/src/till.rs",
                "use crate::cart::total;",
            ),
            (
                "host/a/src/cart.rs",
                "host/a/src/till.rs",
                "use crate::{cart, stock};",
            ),
            (
                "host/a-b/src/lib.rs",
                "host/c/src/lib.rs",
                "use a_b::total;",
            ),
            (
                "internal/cart/cart.go",
                "cmd/main.go",
                "\"example.org/shop/internal/cart\"",
            ),
            (
                "internal/cart/cart.go",
                "internal/cart/stock.go",
                "package cart",
            ),
            (
                "src/main/java/org/shop/Cart.java",
                "src/main/java/org/web/View.java",
                "import org.shop.Cart;",
            ),
            (
                "src/main/java/org/shop/Cart.java",
                "src/main/java/org/web/View.java",
                "import org.shop.*; // Cart",
            ),
            (
                "src/main/java/org/shop/Cart.java",
                "src/main/java/org/shop/Till.java",
                "  Cart cart = new Cart();",
            ),
            (
                "lib/shop/cart.rb",
                "test/cart_test.rb",
                "require 'shop/cart'",
            ),
            (
                "lib/shop/cart.rb",
                "lib/shop/till.rb",
                "require_relative 'cart'",
            ),
            (
                "src/Shop/Cart.php",
                "src/Web/View.php",
                "use App\\Shop\\Cart;",
            ),
        ] {
            assert_eq!(count(target, by, line), 1, "{by}: {line}");
        }
    }

    #[test]
    fn other_lines_are_not() {
        for (target, by, line) in [
            (
                "shop/cart.py",
                "web/views.py",
                "from market.cart import total",
            ),
            ("shop/cart.py", "web/views.py", "cart = 3  # shop.cart"),
            (
                "shop/cart.py",
                "shop/cart.py",
                "from shop.cart import total",
            ),
            ("shop/utils.py", "web/views.py", "import utils"),
            (
                "src/cart.js",
                "lib/app.js",
                "import { total } from './cart';",
            ),
            ("src/cart.js", "src/app.js", "const cart = 'cart';"),
            ("host/a/src/cart.rs", "host/b/src/lib.rs", "mod cart;"),
            (
                "host/a/src/cart.rs",
                "host/a/src/lib.rs",
                "let cart = cartography();",
            ),
            (
                "internal/cart/cart.go",
                "cmd/main.go",
                "\"example.org/shop/internal/cartography\"",
            ),
            ("shop/cart.py", "web/cart.js", "import cart from './cart'"),
            ("README.md", "web/views.py", "import README"),
        ] {
            assert_eq!(count(target, by, line), 0, "{by}: {line}");
        }
    }
}
