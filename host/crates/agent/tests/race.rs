//! Our own file tools beside a contained process that keeps exchanging a directory for a
//! link to a place outside: what was looked at is what is opened, or nothing is.

#![allow(
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot set itself up should stop where it is"
)]

mod support;

use selfheal_domain::tools::{ContainedAgent, ToolError, ToolRequest, WorkspaceAccess};
use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;
use support::{Bench, bash, read, text, write};

/// Calls of each tool.
const ROUNDS: usize = 400;

/// `d` is a directory, is gone, is a link, is gone, and so on, as fast as it can.
const EXCHANGE: &str = "
import os, sys
os.mkdir('d')
open('d/secret', 'w').write('inside')
print('going', flush=True)
while True:
    os.rename('d', 'e')
    os.symlink(sys.argv[1], 'd')
    os.unlink('d')
    os.rename('e', 'd')
";

#[test]
fn no_file_tool_follows_a_link_that_comes_and_goes() {
    let bench = Bench::new();
    let drafting = bench.drafting();
    let tools = drafting.as_tools();
    let outside = bench.base.join("outside");
    let command = format!("python3 -c \"{EXCHANGE}\" {}", outside.display());
    let mut exchanging = tools
        .contain(ContainedAgent {
            request: ToolRequest::Bash {
                command,
                directory: String::new(),
                timeout: Duration::from_secs(300),
                access: WorkspaceAccess::Keep,
            },
            environment: BTreeMap::new(),
            visible: Vec::new(),
            gateway: None,
        })
        .expect("it starts");
    let said = exchanging.receive(Duration::from_secs(60)).expect("a line");
    assert_eq!(said, "going", "{}", exchanging.stderr_tail());
    let mut inside = 0;
    for round in 0..ROUNDS {
        let requests = [
            read("d/secret"),
            read("e/../d/secret"),
            ToolRequest::Grep {
                pattern: "secret|inside".to_owned(),
                glob: Some("secret".to_owned()),
            },
            ToolRequest::Glob {
                pattern: "d/**".to_owned(),
            },
        ];
        for request in requests {
            let shown = match tools.call(request) {
                Ok(output) => text(Ok(output)),
                Err(ToolError::Invalid(_) | ToolError::Denied(_)) => continue,
                Err(error) => panic!("round {round}: {error:?}"),
            };
            assert!(!shown.contains("outside-secret"), "round {round}: {shown}");
            inside += usize::from(shown.contains("inside"));
        }
        for request in [
            write("d/secret", "written"),
            ToolRequest::edit("d/secret", "inside", "written"),
        ] {
            assert!(tools.call(request).is_err(), "it is alone in its worktree");
        }
    }
    assert!(inside > 0, "the directory was seen as well");
    drop(exchanging);
    // It is over: the tools write again, where the names lead then, and nowhere else.
    let _ = tools.call(bash("rm -rf d e; mkdir d", WorkspaceAccess::Keep));
    tools.call(write("d/secret", "written")).expect("written");
    let left: Vec<_> = fs::read_dir(&outside)
        .expect("directory")
        .map(|entry| entry.expect("entry").file_name())
        .collect();
    assert_eq!(left, ["secret"]);
    let secret = fs::read_to_string(outside.join("secret")).expect("file");
    assert_eq!(secret, "outside-secret\n");
}
