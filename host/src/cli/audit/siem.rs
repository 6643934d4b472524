//! Records in the formats of security tools: OCSF and CEF.

use selfheal_domain::event::Record;
use selfheal_domain::user::Actor;
use serde_json::{Value, json};

/// Data of an event above this many bytes stays in the log: collectors cut it anyway.
const MOST_DATA: usize = 16 << 10;
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Name and data of the event.
fn parts(record: &Record) -> Result<(String, Value), serde_json::Error> {
    let mut event = serde_json::to_value(&record.event)?;
    let name = event
        .get("type")
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_owned();
    Ok((
        name,
        event.get_mut("data").map(Value::take).unwrap_or_default(),
    ))
}

/// 1 to 5, as in OCSF: what refuses, fails or undoes stands out.
fn severity(name: &str) -> (u8, &'static str) {
    match name {
        "abort.started" | "rollback.started" | "policy.granted" | "issue.escalated" => (4, "High"),
        "session.refused" | "policy.refused" | "policy.quarantine" | "patch.refuted"
        | "run.failed" | "freeze.changed" | "autonomy.changed" => (3, "Medium"),
        _ => (1, "Informational"),
    }
}

/// OCSF 1.3, class 6003 API Activity.
pub(super) fn ocsf(record: &Record) -> Result<String, serde_json::Error> {
    let (name, data) = parts(record)?;
    let (severity_id, severity) = severity(&name);
    let actor = match &record.actor {
        Actor::User(user) => json!({ "user": { "name": user, "type_id": 1, "type": "User" } }),
        other => json!({ "app_name": other.to_string() }),
    };
    let data = data.to_string();
    serde_json::to_string(&json!({
        "metadata": {
            "version": "1.3.0", "uid": record.hash, "sequence": record.seq,
            "log_name": "selfheal audit", "event_code": name,
            "product": { "name": "Selfheal", "vendor_name": "Selfheal", "version": VERSION },
        },
        "time": record.at.timestamp_millis(),
        "category_uid": 6, "category_name": "Application Activity",
        "class_uid": 6003, "class_name": "API Activity",
        "activity_id": 99, "activity_name": name, "type_uid": 600_399,
        "severity_id": severity_id, "severity": severity,
        "actor": actor,
        "api": { "operation": name, "service": { "name": "selfheal" } },
        "src_endpoint": { "name": "selfheal" },
        "raw_data": (data.len() <= MOST_DATA && data != "null").then_some(data),
        "unmapped": {
            "issue": record.issue, "previous": record.previous, "hash": record.hash,
        },
    }))
}

/// ArcSight's Common Event Format, version 0.
pub(super) fn cef(record: &Record) -> Result<String, serde_json::Error> {
    let (name, data) = parts(record)?;
    let (severity, _) = severity(&name);
    let mut line = format!(
        "CEF:0|Selfheal|Selfheal|{}|{}|{}|{}|",
        header(VERSION),
        header(&name),
        header(&name),
        severity * 2
    );
    let data = data.to_string();
    let mut fields = vec![
        ("rt", record.at.timestamp_millis().to_string()),
        ("externalId", record.seq.to_string()),
        ("suser", record.actor.to_string()),
        ("cs1Label", "hash".to_owned()),
        ("cs1", record.hash.to_string()),
        ("cs2Label", "previous".to_owned()),
        ("cs2", record.previous.to_string()),
    ];
    if let Some(issue) = record.issue {
        fields.push(("cn1Label", "issue".to_owned()));
        fields.push(("cn1", issue.to_string()));
    }
    if data.len() <= MOST_DATA && data != "null" {
        fields.push(("msg", data));
    }
    let fields: Vec<String> = fields
        .iter()
        .map(|(key, value)| format!("{key}={}", extension(value)))
        .collect();
    line.push_str(&fields.join(" "));
    Ok(line)
}

fn header(text: &str) -> String {
    text.replace('\\', "\\\\")
        .replace('|', "\\|")
        .replace(['\n', '\r'], " ")
}

fn extension(text: &str) -> String {
    text.replace('\\', "\\\\")
        .replace('=', "\\=")
        .replace('\n', "\\n")
        .replace('\r', "\\r")
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::DateTime;
    use selfheal_domain::digest::Digest;
    use selfheal_domain::event::Event;
    use selfheal_domain::user::UserName;

    fn record() -> Record {
        Record {
            seq: 7,
            at: DateTime::from_timestamp_millis(1_790_000_000_123).unwrap(),
            actor: Actor::User(UserName::new("ada").unwrap()),
            issue: None,
            event: Event::SessionRefused {
                name: "a|b=c\\d\nCEF:0|forged".to_owned(),
            },
            previous: Digest([1; 32]),
            hash: Digest([2; 32]),
        }
    }

    #[test]
    fn texts_cannot_break_out_of_a_line_or_field() {
        let line = cef(&record()).unwrap();
        assert!(line.starts_with("CEF:0|Selfheal|Selfheal|"), "{line}");
        assert!(line.contains(
            "|session.refused|session.refused|6|rt=1790000000123 externalId=7 suser=ada "
        ));
        assert!(
            line.ends_with("msg={\"name\":\"a|b\\=c\\\\\\\\d\\\\nCEF:0|forged\"}"),
            "{line}"
        );
        assert!(!line.contains('\n'));

        let line = ocsf(&record()).unwrap();
        assert!(!line.contains('\n'));
        let event: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(event["class_uid"], 6003);
        assert_eq!(event["type_uid"], 600_399);
        assert_eq!(event["actor"]["user"]["name"], "ada");
        assert_eq!(event["metadata"]["sequence"], 7);
        assert_eq!(event["severity_id"], 3);
        assert_eq!(event["unmapped"]["hash"], "02".repeat(32));
    }
}
