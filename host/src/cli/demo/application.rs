//! The application of the demo: files, repository, configuration, and the bugs
//! that can be planted.

use super::git;
use crate::failure::{Because, Exit, Failure};
use std::net::TcpListener;
use std::path::{Path, PathBuf};

const FILES: &[(&str, &str)] = &[
    (".gitignore", include_str!("../../../demo/gitignore")),
    ("README.md", include_str!("../../../demo/README.md")),
    (
        "shop/__init__.py",
        include_str!("../../../demo/shop/__init__.py"),
    ),
    (
        "shop/catalog.py",
        include_str!("../../../demo/shop/catalog.py"),
    ),
    (
        "shop/orders.py",
        include_str!("../../../demo/shop/orders.py"),
    ),
    (
        "shop/pricing.py",
        include_str!("../../../demo/shop/pricing.py"),
    ),
    (
        "shop/server.py",
        include_str!("../../../demo/shop/server.py"),
    ),
    (
        "tests/__init__.py",
        include_str!("../../../demo/tests/__init__.py"),
    ),
    (
        "tests/test_catalog.py",
        include_str!("../../../demo/tests/test_catalog.py"),
    ),
    (
        "tests/test_orders.py",
        include_str!("../../../demo/tests/test_orders.py"),
    ),
    (
        "tests/test_pricing.py",
        include_str!("../../../demo/tests/test_pricing.py"),
    ),
    (
        "tests/test_server.py",
        include_str!("../../../demo/tests/test_server.py"),
    ),
];

/// A mistake somebody could have committed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
pub(super) enum Bug {
    LastChange,
    Discount,
    Pages,
    Tax,
    None,
}

impl Bug {
    /// File, right text, wrong text.
    fn edit(self) -> Option<(&'static str, &'static str, &'static str)> {
        match self {
            Self::LastChange => Some((
                "shop/orders.py",
                "history[len(history) - 1]",
                "history[len(history)]",
            )),
            Self::Discount => Some((
                "shop/pricing.py",
                "quantity >= minimum",
                "quantity > minimum",
            )),
            Self::Pages => Some((
                "shop/catalog.py",
                "(len(PRODUCTS) + size - 1) // size",
                "len(PRODUCTS) // size",
            )),
            Self::Tax => Some((
                "shop/pricing.py",
                "    return net_total(order) * VAT[order[\"country\"]] // 100\n",
                "    raise NotImplementedError(\"tax\")\n",
            )),
            Self::None => None,
        }
    }
}

pub(super) struct Application {
    directory: PathBuf,
    /// It was laid out just now, not found.
    pub(super) fresh: bool,
}

impl Application {
    pub(super) fn lay_out(directory: &Path, bug: Bug) -> Result<Self, Failure> {
        std::fs::create_dir_all(directory).because(Exit::Unavailable)?;
        let directory = directory.canonicalize().because(Exit::Unavailable)?;
        let fresh = !directory.join("app").exists();
        let application = Self { directory, fresh };
        let app = application.app();
        if fresh {
            for (name, text) in FILES {
                write(&app.join(name), text)?;
            }
            git(&app, &["init", "--quiet"])?;
            git(&app, &["add", "--all"])?;
            git(
                &app,
                &["commit", "--quiet", "--message", "shop: first version"],
            )?;
            if let Some((file, right, wrong)) = bug.edit() {
                let text = std::fs::read_to_string(app.join(file)).because(Exit::Unavailable)?;
                write(&app.join(file), &text.replace(right, wrong))?;
                git(
                    &app,
                    &[
                        "commit",
                        "--quiet",
                        "--all",
                        "--message",
                        "shop: today's update",
                    ],
                )?;
            }
        }
        application.configure()?;
        Ok(application)
    }

    fn configure(&self) -> Result<(), Failure> {
        crate::compose::make_data_directory(&self.data())?;
        let listener = TcpListener::bind("127.0.0.1:0").because(Exit::Unavailable)?;
        let port = listener.local_addr().because(Exit::Unavailable)?.port();
        drop(listener);
        let config = include_str!("../../../demo/selfheal.toml.template")
            .replace("{port}", &port.to_string());
        write(&self.config_file(), &config)?;
        write(
            &self.directory.join("policy.toml"),
            selfheal_policy_host::DEFAULT_POLICY_TOML,
        )
    }

    fn app(&self) -> PathBuf {
        self.directory.join("app")
    }

    pub(super) fn data(&self) -> PathBuf {
        self.directory.join("data")
    }

    pub(super) fn config_file(&self) -> PathBuf {
        self.directory.join("selfheal.toml")
    }

    /// The newest commits with their trailers.
    pub(super) fn history(&self) -> Result<String, Failure> {
        let format = "--format=  %h %s%n%w(0,6,6)%-(trailers:only,unfold)";
        git(&self.app(), &["log", "--max-count=3", format])
    }
}

fn write(path: &Path, text: &str) -> Result<(), Failure> {
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent).because(Exit::Unavailable)?;
    }
    std::fs::write(path, text).because(Exit::Unavailable)
}
