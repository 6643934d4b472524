//! Fingerprints that hold still, traces of four languages, files that move.

use super::Watch;
use super::event::{Error, Grouper};
use super::normal::words;
use proptest::prelude::*;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

fn errors(text: &str) -> Vec<Error> {
    let mut grouper = Grouper::default();
    let mut found: Vec<Error> = text.lines().filter_map(|line| grouper.line(line)).collect();
    found.extend(grouper.flush());
    found
}

fn one(text: &str) -> Error {
    let found = errors(text);
    assert_eq!(found.len(), 1, "{text}\n{found:#?}");
    found.into_iter().next().unwrap()
}

fn python(path: &str, line: u32, message: &str) -> String {
    format!(
        "Traceback (most recent call last):\n  File \"{path}/app.py\", line {line}, in handle\n    \
         total(order)\n    ~~~~~^^^^^^^\n  File \"{path}/cart.py\", line {line}, in total\n    \
         raise KeyError\nKeyError: {message}\n"
    )
}

fn node(path: &str, line: u32, message: &str) -> String {
    format!(
        "{path}/app.js:{line}\n    throw new TypeError()\n    ^\n\nTypeError: {message}\n    \
         at total ({path}/cart.js:{line}:7)\n    at Server.<anonymous> ({path}/app.js:{line}:3)\n    \
         at node:internal/main:{line}:1 {{\n  code: 'EBAD'\n}}\n\nNode.js v20.1.0\n"
    )
}

fn rust(path: &str, line: u32, message: &str) -> String {
    format!(
        "thread 'main' ({line}) panicked at {path}/src/cart.rs:{line}:5:\n{message}\nnote: run with \
         `RUST_BACKTRACE=1` environment variable to display a backtrace\n"
    )
}

fn java(_: &str, line: u32, message: &str) -> String {
    format!(
        "Exception in thread \"main\" java.lang.IllegalStateException: {message}\n\tat \
         shop.Cart.total(Cart.java:{line})\n\tat shop.Main.main(Main.java:{line})\nCaused by: \
         java.io.IOException: closed\n\tat shop.Store.read(Store.java:{line})\n\t... 12 more\n"
    )
}

type Language = (&'static str, fn(&str, u32, &str) -> String);
const LANGUAGES: [Language; 4] = [
    ("python", python),
    ("node", node),
    ("rust", rust),
    ("java", java),
];

#[test]
fn a_trace_is_one_error_whatever_surrounds_it() {
    for (name, trace) in LANGUAGES {
        let text = format!(
            "GET / 200\n{}GET / 200\nINFO all is well\n",
            trace("/srv/app", 7, "total of order 12")
        );
        let error = one(&text);
        let other = one(&trace("/srv/app", 7, "number of baskets"));
        assert_ne!(error.fingerprint, other.fingerprint, "{name}");
        assert!(
            error.line.contains("total of order 12"),
            "{name}: {}",
            error.line
        );
        assert!(error.text.lines().count() >= 3, "{name}: {}", error.text);
    }
}

#[test]
fn a_logged_message_and_its_trace_are_one_error() {
    let error = one(&format!(
        "2026-11-21 10:00:00,123 ERROR shop: it failed\n{}",
        python("/srv", 3, "'x'")
    ));
    assert_eq!(error.line, "KeyError: 'x'");
    let error = one("10:00 ERROR it failed\njava.lang.Error: x\n\tat a.B.c(B.java:3)\n");
    assert!(error.text.contains("B.java"), "{}", error.text);
}

#[test]
fn chained_exceptions_of_python_are_one_error() {
    let text = format!(
        "{}\nDuring handling of the above exception, another exception occurred:\n\n{}",
        python("/srv", 3, "'x'"),
        python("/srv", 9, "'y'")
    );
    assert_eq!(one(&text).line, "KeyError: 'y'");
}

#[test]
fn a_panic_of_go_is_one_error() {
    let text = "panic: runtime error: index out of range [5] with length 3\n\ngoroutine 1 \
                [running]:\nmain.main()\n\t/srv/main.go:8 +0x1d\nexit status 2\n";
    assert!(one(text).line.starts_with("panic:"));
}

#[test]
fn levels_decide_and_words_in_messages_do_not() {
    for line in [
        "2026-11-21 ERROR cart: no price",
        "[error] 12#12: upstream timed out",
        "{\"level\":\"error\",\"msg\":\"x\"}",
        "{\"level\":50,\"time\":1,\"msg\":\"x\"}",
        "level=fatal msg=x",
        "CRITICAL:root:x",
        "E1121 13:07:06.000000 7 server.cc:3] x",
        "Segmentation fault (core dumped)",
        "error: x",
        "Unhandled promise rejection",
    ] {
        assert_eq!(errors(line).len(), 1, "{line}");
    }
    for line in [
        "GET /error 200",
        "INFO no ERROR was found",
        "WARNING: retrying after an error",
        "{\"level\":\"info\",\"msg\":\"error rate 0\"}",
        "{\"level\":30,\"msg\":\"x\"}",
        "the error page is up",
        "I1121 13:07:06.000000 7 server.cc:3] ERR",
        "",
    ] {
        assert_eq!(errors(line), [], "{line}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn fingerprints_hold_under_what_varies(
        language in 0_usize..4,
        lines in (1_u32..99_999, 1_u32..99_999),
        numbers in (any::<i64>(), any::<i64>()),
        floats in (0.0_f64..1e9, 0.0_f64..1e9),
        ids in (any::<u128>(), any::<u128>()),
        tokens in ("[0-9a-f]{4}[0-9][0-9a-f]{7}", "[0-9a-f]{4}[0-9][0-9a-f]{7}"),
        addresses in (any::<[u8; 4]>(), any::<[u8; 4]>()),
        ports in (any::<u16>(), any::<u16>()),
        six in (any::<[u16; 8]>(), any::<[u16; 8]>()),
        times in (0_i64..4_000_000_000, 0_i64..4_000_000_000),
        paths in ("(/[a-z]{1,8}){1,5}", "(/[a-z]{1,8}){1,5}"),
    ) {
        let message = |number: i64, float: f64, id: u128, token: &str, address: [u8; 4], port: u16, six: [u16; 8], time: i64, path: &str| {
            let id = uuid::Uuid::from_u128(id);
            let time = chrono::DateTime::from_timestamp(time, 0).unwrap();
            format!(
                "order {number} of {id} (request {token}) cost {float:.2} at {} from {}:{port} and \
                 [{}] by {:#x}; see {path}/log.txt and '{path}/My Files'",
                time.to_rfc3339(),
                std::net::Ipv4Addr::from(address),
                std::net::Ipv6Addr::from(six),
                number.unsigned_abs(),
            )
        };
        let first = message(numbers.0, floats.0, ids.0, &tokens.0, addresses.0, ports.0, six.0, times.0, &paths.0);
        let second = message(numbers.1, floats.1, ids.1, &tokens.1, addresses.1, ports.1, six.1, times.1, &paths.1);
        prop_assert_eq!(words(&first), words(&second));
        let plain = |message: &str| one(&format!("ERROR {message}")).fingerprint;
        prop_assert_eq!(plain(&first), plain(&second));
        let (_, trace) = LANGUAGES[language];
        let first = one(&trace(&paths.0, lines.0, &first));
        let second = one(&trace(&paths.1, lines.1, &second));
        prop_assert_eq!(&first.fingerprint, &second.fingerprint);
        // What is said still counts.
        let other = one(&trace(&paths.0, lines.0, "there is no such basket"));
        prop_assert_ne!(other.fingerprint, second.fingerprint);
    }

    #[test]
    fn no_bytes_stop_it(text in "\\PC*(\n\\PC*){0,20}", bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        errors(&text);
        errors(&String::from_utf8_lossy(&bytes));
        let once = words(&text);
        prop_assert!(once.len() <= text.len() * 6 + 6);
    }
}

struct Place {
    directory: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        Self {
            directory: tempfile::tempdir().unwrap(),
        }
    }

    fn log(&self) -> PathBuf {
        self.directory.path().join("web.log")
    }

    fn watch(&self) -> Watch {
        Watch::new(vec![self.log()], self.directory.path().join("web.watch"))
    }

    fn say(&self, text: &str) {
        append(&self.log(), text);
    }
}

fn append(path: &Path, text: &str) {
    let mut file = fs::File::options()
        .append(true)
        .create(true)
        .open(path)
        .unwrap();
    file.write_all(text.as_bytes()).unwrap();
}

fn lines(watch: &mut Watch) -> Vec<String> {
    let found = watch.fresh().unwrap();
    found.into_iter().map(|error| error.line).collect()
}

#[test]
fn what_was_there_before_is_the_baseline() {
    let place = Place::new();
    place.say("ERROR order 1 lost\n");
    let mut watch = place.watch();
    place.say("ERROR basket 1 lost\n");
    watch.mark().unwrap();
    place.say("ERROR order 2 lost\nERROR basket 2 lost\nINFO fine\n");
    assert_eq!(lines(&mut watch), Vec::<String>::new());
    place.say("ERROR price 1 lost\nERROR price 2 lost\n");
    let found = watch.fresh().unwrap();
    assert_eq!(found.len(), 1);
    assert_eq!(
        (found[0].line.as_str(), found[0].count),
        ("ERROR price 1 lost", 2)
    );
}

#[test]
fn a_log_that_is_rotated_or_truncated_loses_nothing() {
    let place = Place::new();
    let mut watch = place.watch();
    watch.mark().unwrap();
    place.say("ERROR apples\n");
    watch.poll().unwrap();
    // By name, with lines that were not read yet.
    place.say("ERROR pears\n");
    fs::rename(place.log(), place.directory.path().join("web.log.1")).unwrap();
    place.say("ERROR plums\n");
    watch.poll().unwrap();
    // Copied and truncated, then longer than it was.
    place.say("ERROR figs\n");
    fs::copy(place.log(), place.directory.path().join("web.log.1")).unwrap();
    fs::write(place.log(), "").unwrap();
    place.say("ERROR nuts of many kinds, a whole basket of them, and more\n");
    assert_eq!(
        lines(&mut watch),
        [
            "ERROR apples",
            "ERROR pears",
            "ERROR plums",
            "ERROR figs",
            "ERROR nuts of many kinds, a whole basket of them, and more"
        ]
    );
    // Truncated without a copy, and gone.
    fs::write(place.log(), "ERROR dates\n").unwrap();
    assert_eq!(lines(&mut watch).last().unwrap(), "ERROR dates");
    fs::remove_file(place.log()).unwrap();
    assert_eq!(lines(&mut watch).len(), 6);
}

#[test]
fn an_error_that_failed_a_verification_is_no_baseline_the_second_time() {
    let place = Place::new();
    let mut watch = place.watch();
    watch.mark().unwrap();
    place.say("ERROR of a bad patch\n");
    assert_eq!(lines(&mut watch).len(), 1);
    // Rolled back and restarted; then the next patch brings it again.
    watch.mark().unwrap();
    watch.mark().unwrap();
    place.say("ERROR of a bad patch\n");
    assert_eq!(lines(&mut watch).len(), 1);
    // The next host knows as well.
    let mut watch = place.watch();
    assert_eq!(lines(&mut watch).len(), 1);
    // It comes up although nobody healed anything: it is just how the program is.
    watch.mark().unwrap();
    place.say("ERROR of a bad patch\n");
    watch.mark().unwrap();
    place.say("ERROR of a bad patch\n");
    assert_eq!(lines(&mut watch), Vec::<String>::new());
}

#[test]
fn a_mark_outlives_the_host() {
    let place = Place::new();
    place.say("ERROR old\n");
    let mut watch = place.watch();
    assert!(!watch.is_marked());
    watch.mark().unwrap();
    place.say("ERROR old\nERROR new\n");
    drop(watch);
    let mut watch = place.watch();
    assert!(watch.is_marked());
    assert_eq!(lines(&mut watch), ["ERROR new"]);
}

#[test]
fn a_pipe_in_place_of_a_log_is_an_error_and_no_trap() {
    let place = Place::new();
    let mut watch = place.watch();
    fs::create_dir(place.log()).unwrap();
    assert!(watch.fresh().is_err());
}
