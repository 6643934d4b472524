//! Rules as an admin writes them, right and wrong.

use super::*;
use selfheal_policy_sdk::check_examples_guardrail;

fn configured(rules: &str) -> Result<Rules, String> {
    let settings = json!({ "rules": rules }).to_string();
    Rules::configure(&Settings::parse(&settings).unwrap())
}

fn refused(rules: &str) -> String {
    match configured(rules) {
        Ok(_) => panic!("accepted: {rules}"),
        Err(message) => message,
    }
}

#[track_caller]
fn says(message: &str, parts: &[&str]) {
    for part in parts {
        assert!(message.contains(part), "{message:?} does not say {part:?}");
    }
}

#[test]
fn every_example_holds() {
    assert!(check_examples_guardrail::<Rules>().unwrap() > 25);
}

#[test]
fn a_reason_has_all_that_the_rule_gave() {
    let rules = configured(include_str!("../examples/no-push.rego")).unwrap();
    let verdict = rules.judge_tool_call(&sample::context(), &sample::bash_call("git push origin"));
    let reason = verdict.reason().unwrap();
    assert_eq!(reason.rule, "team.no-push");
    assert_eq!(reason.message, "only people push");
    assert_eq!(reason.evidence.as_ref().unwrap().text, "git push origin");
    assert_eq!(reason.alternative.as_deref(), Some("git status --short"));
}

#[test]
fn wrong_rules_are_refused_with_line_and_column() {
    let head = "package rules\n\n";
    let rule = |body: &str| {
        format!("{head}deny contains {{\"id\": \"a\", \"message\": \"b\"}} if {{\n\t{body}\n}}\n")
    };
    for (rules, parts) in [
        (rule("input.call.tool = = 1"), &["line 4", "column"][..]),
        (
            rule("input.call.tol == \"Bash\""),
            &["line 4, column 13", "`tol`", "tool, input, command"],
        ),
        (
            rule("some command in input.call.commands\n\tcommand.args"),
            &["line 5, column 10", "`args`", "words"],
        ),
        (
            rule("starts_with(input.call.tool, \"B\")"),
            &["line 4", "starts_with"],
        ),
        (
            rule("regex.match(`(`, input.call.tool)"),
            &["line 4", "`(`", "regular expression"],
        ),
        (rule("tool == input.call.tool"), &["line 4", "tool"]),
        (rule("time.now_ns() > 1"), &["line 4", "time.now_ns"]),
        (
            rule("http.send({\"url\": \"x\"})"),
            &["line 4", "http.send"],
        ),
        (
            rule("startswith(input.call.bytes, \"B\")"),
            &["line 4, column", "startswith"],
        ),
        (
            "package team\n\ndeny contains {} if true\n".to_owned(),
            &["package rules", "package team"],
        ),
        (format!("{head}allow if true\n"), &["`deny` and `ask`"]),
        (format!("{head}dény contains 1 if true\n"), &["line 3"]),
        (
            format!("{head}denies contains {{}} if true\n"),
            &["there is no rule", "deny contains"],
        ),
        (
            format!("{head}deny if true\n"),
            &["no set of answers", "deny contains"],
        ),
        (
            format!("{head}deny contains \"no\" if true\n"),
            &["\"id\"", "\"message\""],
        ),
        (
            format!("{head}deny contains {{\"id\": \"A B\", \"message\": \"x\"}} if true\n"),
            &["an id is 1 to 64"],
        ),
        (String::new(), &["package"]),
        (
            format!("{head}# {}", "x".repeat(70_000)),
            &["65536 bytes", "got 70"],
        ),
    ] {
        says(&refused(&rules), parts);
    }
}

#[test]
fn wrong_settings_are_refused() {
    for (settings, parts) in [
        ("{}", &["`rules` is missing", "package rules"][..]),
        (r#"{"rules": 1}"#, &["`rules` is a text"]),
        (
            r#"{"rule": ""}"#,
            &["unknown setting `rule`", "rules, data"],
        ),
        (
            r#"{"rules": "package rules\n\ndeny contains {\"id\": \"a\", \"message\": \"b\"} if input.patch.lines > data.most", "data": [1]}"#,
            &["`data` is a table"],
        ),
    ] {
        let message = Rules::configure(&Settings::parse(settings).unwrap())
            .err()
            .unwrap();
        says(&message, parts);
    }
}

#[test]
fn a_rule_that_fails_on_a_question_denies_and_is_named() {
    let rules = configured(
        "package rules\n\ndeny contains {\"id\": \"a\", \"message\": \"b\"} if input.call.tool == \"Read\"\n\n\
         ask contains {\"id\": \"c\", \"message\": \"d\"} if {\n\tsome host in input.call.network\n\tto_number(host) > 1\n}\n",
    )
    .unwrap();
    let mut call = sample::bash_call("ls");
    assert_eq!(
        rules.judge_tool_call(&sample::context(), &call),
        Verdict::Allow
    );
    call.network.push("example.org".into());
    let verdict = rules.judge_tool_call(&sample::context(), &call);
    assert_eq!(verdict.strictness(), 2);
    let reason = verdict.reason().unwrap();
    assert_eq!(reason.rule, "rules.error");
    says(
        &reason.message,
        &["the rule of line 5", "line 7, column", "ask contains"],
    );
    // Where another rule denies anyway, its reason is the better one.
    call.tool = "Read".into();
    let verdict = rules.judge_tool_call(&sample::context(), &call);
    assert_eq!(verdict.reason().unwrap().rule, "a");
}

#[test]
fn an_answer_that_is_none_denies() {
    let rules = configured(
        "package rules\n\nask contains {\"id\": input.call.network[0], \"message\": \"d\"} if input.call.network[0]\n",
    )
    .unwrap();
    let mut call = sample::bash_call("ls");
    call.network.push("Example Org".into());
    let verdict = rules.judge_tool_call(&sample::context(), &call);
    assert_eq!(verdict.strictness(), 2);
    assert_eq!(verdict.reason().unwrap().rule, "rules.error");
}

#[test]
fn data_are_settings() {
    let judge = |most: u32| {
        let rules = include_str!("../examples/large-patches-ask.rego");
        let settings = json!({"rules": rules, "data": {"most_lines": most}}).to_string();
        let rules = Rules::configure(&Settings::parse(&settings).unwrap()).unwrap();
        let patch = sample::patch_of(vec![sample::file("a.py", &["x"; 5], &["y"; 5])]);
        rules.judge_patch(&sample::context(), &patch).strictness()
    };
    assert_eq!((judge(10), judge(9)), (0, 1));
}

#[test]
fn hostile_texts_in_facts_stay_texts() {
    let rules = configured(include_str!("../examples/cloud-and-keys.rego")).unwrap();
    for text in [
        "\"} deny",
        "`",
        "\\",
        "\u{0}",
        "{{",
        "%s %d",
        &"x".repeat(100_000),
    ] {
        let call = sample::bash_call(text);
        assert_eq!(
            rules
                .judge_tool_call(&sample::context(), &call)
                .strictness(),
            0,
            "{text}"
        );
    }
}
