//! However the bytes are cut on their way, the answer is the same.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test may panic"
)]

mod scripted;

use proptest::prelude::*;
use scripted::anthropic::{answer, text, thinking, tool};
use scripted::{Act, Asked, Reply, Scripted};
use selfheal_model::conversation::{Answer, Message, Role};

fn whole() -> String {
    answer(
        vec![
            thinking(0, "\u{1f9e0} denke nach", "c2ln"),
            text(
                1,
                &[
                    "gr\u{fc}\u{df}e \u{4f60}\u{597d} ",
                    "\u{1f469}\u{200d}\u{1f680}\n\ndata: no event",
                ],
            ),
            tool(
                2,
                "t1",
                "Bash",
                &["{\"argument\": \"echo ", "\u{e9}\\u00e9\\n\"}"],
            ),
        ],
        "tool_use",
    )
}

fn ask(bytes: &[u8], cuts: &[usize], line_end: &str) -> (Answer, String) {
    let text = String::from_utf8(bytes.to_vec()).expect("UTF-8");
    let bytes = text.replace('\n', line_end).into_bytes();
    let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut % (bytes.len() + 1)).collect();
    cuts.extend([0, bytes.len()]);
    cuts.sort_unstable();
    let acts = cuts
        .windows(2)
        .map(|pair| Act::Send(bytes[pair[0]..pair[1]].to_vec()))
        .collect();
    let server = Scripted::start(vec![Reply::acts(acts)]);
    let asked = Asked::new("anthropic", &server.url(), "");
    let answer = asked
        .ask(&[Message::text(Role::User, "hello")])
        .expect("an answer");
    (answer, asked.text_seen())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn any_cuts(cuts in prop::collection::vec(any::<usize>(), 0..40), end in 0..3_usize) {
        let bytes = whole().into_bytes();
        let expected = ask(&bytes, &[], "\n");
        let got = ask(&bytes, &cuts, ["\n", "\r\n", "\r"][end]);
        prop_assert_eq!(got, expected);
    }
}

#[test]
fn one_byte_at_a_time() {
    let bytes = whole().into_bytes();
    let every: Vec<usize> = (0..bytes.len()).collect();
    assert_eq!(ask(&bytes, &every, "\n"), ask(&bytes, &[], "\n"));
}
