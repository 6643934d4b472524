//! From what a rule answers to a reason. Anything that is not exactly an answer is
//! an error, which denies.

use regorus::Value;
use selfheal_policy_sdk::{Evidence, Reason};

/// Longest text of each kind that is passed on, in characters.
const LONGEST: usize = 2_000;
/// Longest evidence that is passed on, in characters.
const LONGEST_EVIDENCE: usize = 200;

/// The first reason of a set of answers, in the order of their ids; none when no
/// rule fired.
///
/// # Errors
/// What is not an answer, and what would be one.
pub(crate) fn first(rule: &str, answers: &Value) -> Result<Option<Reason>, String> {
    let set = match answers {
        Value::Set(set) => set,
        Value::Undefined => return Ok(None),
        _ => {
            return Err(format!(
                "`{rule}` is no set of answers: write `{rule} contains {{\"id\": …, \"message\": …}} if {{ … }}`"
            ));
        }
    };
    let mut reasons = set
        .iter_sorted()
        .map(|answer| reason(rule, answer))
        .collect::<Result<Vec<Reason>, String>>()?;
    reasons.sort_by(|one, other| one.rule.cmp(&other.rule));
    Ok(reasons.into_iter().next())
}

fn reason(rule: &str, answer: &Value) -> Result<Reason, String> {
    let wrong = |what: String| {
        format!(
            "{what}; an answer of `{rule}` is {{\"id\": …, \"message\": …}} with \"evidence\" and \"alternative\" where there are some"
        )
    };
    let Value::Object(object) = answer else {
        return Err(wrong(format!("`{rule}` answered {answer}")));
    };
    let (mut id, mut message, mut evidence, mut alternative) = (None, None, None, None);
    for (key, value) in object.iter() {
        let name = key.as_string().map(|name| &**name).unwrap_or_default();
        let text = value.as_string().map(|text| &**text);
        let place = match name {
            "id" => &mut id,
            "message" => &mut message,
            "evidence" => &mut evidence,
            "alternative" => &mut alternative,
            _ => return Err(wrong(format!("`{rule}` answered with an unknown {key}"))),
        };
        *place = Some(text.map_err(|_| wrong(format!("{key} is a text, got {value}")))?);
    }
    let (Some(id), Some(message)) = (id, message) else {
        return Err(wrong(format!("`{rule}` answered {answer}")));
    };
    let shape = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "._-".contains(c);
    if id.is_empty() || id.len() > 64 || !id.chars().all(shape) {
        return Err(format!(
            "an id is 1 to 64 of a-z, 0-9, '.', '_', '-'; `{rule}` answered with {id:?}"
        ));
    }
    if id.starts_with("host.") || id == "rules.error" {
        return Err(format!("the id {id:?} is not a rule's to give"));
    }
    let cut = |text: &str, longest: usize| text.chars().take(longest).collect::<String>();
    Ok(Reason {
        rule: id.to_owned(),
        message: cut(message, LONGEST),
        evidence: evidence.map(|text| Evidence {
            text: cut(text, LONGEST_EVIDENCE),
            span: None,
        }),
        alternative: alternative.map(|text| cut(text, LONGEST)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(json: &str) -> Result<Option<Reason>, String> {
        let answers = Value::from_json_str(json).unwrap();
        let set = answers
            .as_array()
            .unwrap()
            .iter()
            .cloned()
            .collect::<std::collections::BTreeSet<_>>();
        first("deny", &Value::from(set))
    }

    #[test]
    fn reasons_come_in_the_order_of_their_ids() {
        let reason = of(r#"[{"id": "b", "message": "1"}, {"id": "a", "message": "2", "evidence": "e", "alternative": "x"}]"#)
            .unwrap()
            .unwrap();
        assert_eq!((reason.rule.as_str(), reason.message.as_str()), ("a", "2"));
        assert_eq!(reason.evidence.unwrap().text, "e");
        assert_eq!(reason.alternative.unwrap(), "x");
        assert!(of("[]").unwrap().is_none());
    }

    #[test]
    fn what_is_no_answer_is_an_error() {
        for json in [
            r#"["no pushes"]"#,
            "[true]",
            "[{}]",
            r#"[{"id": "a"}]"#,
            r#"[{"message": "a"}]"#,
            r#"[{"id": "a", "message": 1}]"#,
            r#"[{"id": "A b", "message": "x"}]"#,
            r#"[{"id": "", "message": "x"}]"#,
            r#"[{"id": "a", "message": "x", "alternativ": "y"}]"#,
            r#"[{"id": "host.limits", "message": "x"}]"#,
            r#"[{"id": "rules.error", "message": "x"}]"#,
        ] {
            assert!(of(json).is_err(), "{json}");
        }
        assert!(first("deny", &Value::from(true)).is_err());
        assert!(first("deny", &Value::new_object()).is_err());
    }
}
