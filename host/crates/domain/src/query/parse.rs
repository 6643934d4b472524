//! The words that people type: `status:open severity:>=high "empty cart" -is:snoozed`.

use super::{Condition, IssueFilter, Sort, Span, Term};
use crate::issue::{Category, Priority, Severity, Source};
use crate::state::IssueStatus;
use crate::user::{Actor, UserName};
use chrono::{DateTime, Duration, NaiveDate, NaiveTime, Utc};

/// Longest query, in characters.
pub const MAX_CHARS: usize = 1_000;
/// Most terms of a query.
pub const MAX_TERMS: usize = 50;

/// What a term can begin with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Key {
    /// As typed, before the colon.
    pub name: &'static str,
    /// What comes after the colon, for people.
    pub values: &'static str,
}

const fn key(name: &'static str, values: &'static str) -> Key {
    Key { name, values }
}

const TIMES: &str = "<7d for the last seven days, >7d for before them (m, h, d, w), a day as 2026-01-31, or >=2026-01-31 (>, <, <= likewise)";

/// All keys. Everything without one is looked for in title and description.
pub const KEYS: &[Key] = &[
    key(
        "status",
        "one of open, approved, rejected, diagnosing, diagnosed, patch-pending, patching, verifying, resolved, failed, escalated, aborted",
    ),
    key(
        "severity",
        "one of critical, high, medium, low; or >=high for high and worse (>, <, <= likewise)",
    ),
    key(
        "priority",
        "one of p0, p1, p2, p3; or >=p1 for p1 and more urgent (>, <, <= likewise)",
    ),
    key("source", "one of web, skill, api, ci, error, pattern, cli"),
    key(
        "category",
        "one of bug, reliability, performance, scalability, auditability, governance",
    ),
    key("service", "the name of a service"),
    key("reported-by", "the name of a user, or me"),
    key(
        "is",
        "open (not ended), closed, waiting (for an admin's word), snoozed",
    ),
    key("created", TIMES),
    key("updated", TIMES),
    key("sort", "created or updated; what is newest comes first"),
];

const ENDED: [IssueStatus; 3] = [
    IssueStatus::Resolved,
    IssueStatus::Rejected,
    IssueStatus::Aborted,
];
const WAITING: [IssueStatus; 4] = [
    IssueStatus::Open,
    IssueStatus::PatchPending,
    IssueStatus::Failed,
    IssueStatus::Escalated,
];
const SEVERITIES: [Severity; 4] = [
    Severity::Critical,
    Severity::High,
    Severity::Medium,
    Severity::Low,
];
const PRIORITIES: [Priority; 4] = [Priority::P0, Priority::P1, Priority::P2, Priority::P3];
const SOURCES: [Source; 7] = [
    Source::Web,
    Source::Skill,
    Source::Api,
    Source::Ci,
    Source::Error,
    Source::Pattern,
    Source::Cli,
];
const CATEGORIES: [Category; 6] = [
    Category::Bug,
    Category::Reliability,
    Category::Performance,
    Category::Scalability,
    Category::Auditability,
    Category::Governance,
];

/// Who asks, and when: what `me` and `<7d` mean.
#[derive(Clone, Copy, Debug)]
pub struct Asker<'a> {
    /// Whose name `me` stands for; none where nobody's.
    pub me: Option<&'a UserName>,
    /// The time that ages count from.
    pub now: DateTime<Utc>,
}

/// What is wrong with a query, and where.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{message} (at character {})", at + 1)]
pub struct QueryError {
    /// Characters before what is wrong.
    pub at: usize,
    /// Its length in characters.
    pub length: usize,
    /// What is wrong and what is valid.
    pub message: String,
}

/// A piece of the text with its place in characters.
#[derive(Clone, Debug)]
struct Piece {
    at: usize,
    length: usize,
    text: String,
    quoted: bool,
}

impl Piece {
    fn wrong(&self, message: impl Into<String>) -> QueryError {
        QueryError {
            at: self.at,
            length: self.length,
            message: message.into(),
        }
    }
}

/// How a value is compared.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Compare {
    Less,
    AtMost,
    More,
    AtLeast,
}

/// The filter that `text` asks for.
///
/// # Errors
/// The first thing in it that makes no sense.
pub fn parse(text: &str, asker: Asker<'_>) -> Result<IssueFilter, QueryError> {
    let length = text.chars().count();
    if length > MAX_CHARS {
        return Err(QueryError {
            at: MAX_CHARS,
            length: length - MAX_CHARS,
            message: format!("a query has at most {MAX_CHARS} characters; this one has {length}"),
        });
    }
    let mut reader = Reader {
        text: text.chars().collect(),
        at: 0,
    };
    let mut filter = IssueFilter::default();
    let mut sorted = false;
    while reader.skip_gap() {
        let start = reader.at;
        let negated = reader.take('-');
        let first = reader.piece(&[':'])?;
        let is_key = !first.quoted && reader.take(':');
        if !is_key {
            if first.text.is_empty() {
                let message = if first.quoted {
                    "there is no text between the quotes"
                } else {
                    "\"-\" stands before what must not be there; add a text"
                };
                return Err(first.wrong(message));
            }
            filter.terms.push(Term {
                condition: Condition::text(&first.text),
                negated,
            });
        } else if first.text == "sort" {
            let value = reader.piece(&[])?;
            if negated || sorted {
                let message = "an order is given once, without \"-\"";
                return Err(reader.since(start).wrong(message));
            }
            sorted = true;
            filter.sort = match value.text.as_str() {
                "created" => Sort::Created,
                "updated" => Sort::Updated,
                _ => return Err(invalid("sort", &value)),
            };
        } else {
            let condition = reader.condition(&first, asker)?;
            filter.terms.push(Term { condition, negated });
        }
        if filter.terms.len() > MAX_TERMS {
            let message = format!("a query has at most {MAX_TERMS} terms");
            return Err(reader.since(start).wrong(message));
        }
    }
    Ok(filter)
}

fn invalid(key: &str, value: &Piece) -> QueryError {
    let valid = KEYS.iter().find(|known| known.name == key);
    let valid = valid.map_or("", |known| known.values);
    let found = if value.text.is_empty() {
        format!("{key}: has no value")
    } else {
        format!("{:?} is no value of {key}", value.text)
    };
    value.wrong(format!("{found}; valid: {valid}"))
}

struct Reader {
    text: Vec<char>,
    at: usize,
}

impl Reader {
    fn peek(&self) -> Option<char> {
        self.text.get(self.at).copied()
    }

    fn take(&mut self, wanted: char) -> bool {
        let found = self.peek() == Some(wanted);
        self.at += usize::from(found);
        found
    }

    /// Whether anything follows the white space.
    fn skip_gap(&mut self) -> bool {
        while self.peek().is_some_and(char::is_whitespace) {
            self.at += 1;
        }
        self.peek().is_some()
    }

    /// What was read since `start`.
    fn since(&self, start: usize) -> Piece {
        Piece {
            at: start,
            length: self.at - start,
            text: String::new(),
            quoted: false,
        }
    }

    /// A text in quotes, or all up to white space or one of `ends`.
    fn piece(&mut self, ends: &[char]) -> Result<Piece, QueryError> {
        let start = self.at;
        let mut text = String::new();
        let quoted = self.take('"');
        loop {
            let Some(next) = self.peek() else {
                if quoted {
                    let message = "the quotes are not closed; add \" at the end of the text";
                    return Err(self.since(start).wrong(message));
                }
                break;
            };
            if quoted && next == '"' {
                self.at += 1;
                break;
            }
            if !quoted && (next.is_whitespace() || ends.contains(&next)) {
                break;
            }
            self.at += 1;
            match self.peek() {
                Some(meant @ ('"' | '\\')) if quoted && next == '\\' => {
                    self.at += 1;
                    text.push(meant);
                }
                _ => text.push(next),
            }
        }
        Ok(Piece {
            text,
            quoted,
            ..self.since(start)
        })
    }

    fn compare(&mut self) -> Option<Compare> {
        if self.take('<') {
            Some(if self.take('=') {
                Compare::AtMost
            } else {
                Compare::Less
            })
        } else if self.take('>') {
            Some(if self.take('=') {
                Compare::AtLeast
            } else {
                Compare::More
            })
        } else {
            None
        }
    }

    /// Values with commas between.
    fn values<T>(
        &mut self,
        key: &str,
        one: impl Fn(&Piece) -> Option<T>,
    ) -> Result<Vec<T>, QueryError> {
        let mut values = Vec::new();
        loop {
            let value = self.piece(&[','])?;
            values.push(one(&value).ok_or_else(|| invalid(key, &value))?);
            if !self.take(',') {
                return Ok(values);
            }
        }
    }

    /// Values of a closed set, by name.
    fn named<T: Copy>(
        &mut self,
        key: &str,
        all: &[T],
        name: impl Fn(T) -> &'static str,
    ) -> Result<Vec<T>, QueryError> {
        self.values(key, |value| find(all, &name, &value.text))
    }

    /// The same for a set that is in order, the greatest first.
    fn ranked<T: Copy>(
        &mut self,
        key: &str,
        all: &[T],
        name: impl Fn(T) -> &'static str,
    ) -> Result<Vec<T>, QueryError> {
        let Some(compare) = self.compare() else {
            return self.named(key, all, name);
        };
        let value = self.piece(&[])?;
        let place = all
            .iter()
            .position(|one| same(name(*one), &value.text))
            .ok_or_else(|| invalid(key, &value))?;
        let wanted = |index: &usize| match compare {
            Compare::More => *index < place,
            Compare::AtLeast => *index <= place,
            Compare::Less => *index > place,
            Compare::AtMost => *index >= place,
        };
        let fitting = all.iter().enumerate();
        let fitting = fitting.filter(|(index, _)| wanted(index));
        Ok(fitting.map(|(_, one)| *one).collect())
    }

    fn condition(&mut self, key: &Piece, asker: Asker<'_>) -> Result<Condition, QueryError> {
        let name = key.text.as_str();
        Ok(match name {
            "status" => {
                Condition::Status(self.named(name, &IssueStatus::ALL, IssueStatus::as_str)?)
            }
            "severity" => Condition::Severity(self.ranked(name, &SEVERITIES, Severity::as_str)?),
            "priority" => Condition::Priority(self.ranked(name, &PRIORITIES, Priority::as_str)?),
            "source" => Condition::Source(self.named(name, &SOURCES, Source::as_str)?),
            "category" => Condition::Category(self.named(name, &CATEGORIES, Category::as_str)?),
            "service" => Condition::Service(self.values(name, |value| {
                (!value.text.is_empty()).then(|| value.text.clone())
            })?),
            "reported-by" => Condition::Reporter(self.values(name, |value| {
                let me = asker.me.filter(|_| value.text == "me" && !value.quoted);
                let named = || UserName::new(value.text.clone()).ok();
                me.cloned().or_else(named).map(Actor::User)
            })?),
            "is" => {
                let value = self.piece(&[])?;
                let states = |wanted: fn(&IssueStatus) -> bool| {
                    Condition::Status(IssueStatus::ALL.into_iter().filter(wanted).collect())
                };
                match value.text.as_str() {
                    "open" => states(|status| !ENDED.contains(status)),
                    "closed" => states(|status| ENDED.contains(status)),
                    "waiting" => states(|status| WAITING.contains(status)),
                    "snoozed" => Condition::Snoozed(asker.now),
                    _ => return Err(invalid(name, &value)),
                }
            }
            "created" => Condition::Created(self.span(name, asker.now)?),
            "updated" => Condition::Updated(self.span(name, asker.now)?),
            _ => {
                let known: Vec<&str> = KEYS.iter().map(|key| key.name).collect();
                return Err(key.wrong(format!(
                    "{name:?} is no key; known: {}. Put a text that has a colon in quotes",
                    known.join(", ")
                )));
            }
        })
    }

    /// An age or a day.
    fn span(&mut self, key: &str, now: DateTime<Utc>) -> Result<Span, QueryError> {
        let compare = self.compare();
        let value = self.piece(&[])?;
        let wrong = || invalid(key, &value);
        if let Some(age) = parse_age(&value.text) {
            let then = now.checked_sub_signed(age).ok_or_else(wrong)?;
            return match compare {
                Some(Compare::Less | Compare::AtMost) => Ok(Span {
                    from: Some(then),
                    before: None,
                }),
                Some(Compare::More | Compare::AtLeast) => Ok(Span {
                    from: None,
                    before: Some(then),
                }),
                None => Err(wrong()),
            };
        }
        let day = NaiveDate::parse_from_str(&value.text, "%Y-%m-%d").map_err(|_| wrong())?;
        let after = day.succ_opt().ok_or_else(wrong)?;
        let [begin, end] = [day, after].map(|day| Some(day.and_time(NaiveTime::MIN).and_utc()));
        Ok(match compare {
            None => Span {
                from: begin,
                before: end,
            },
            Some(Compare::Less) => Span {
                from: None,
                before: begin,
            },
            Some(Compare::AtMost) => Span {
                from: None,
                before: end,
            },
            Some(Compare::More) => Span {
                from: end,
                before: None,
            },
            Some(Compare::AtLeast) => Span {
                from: begin,
                before: None,
            },
        })
    }
}

fn find<T: Copy>(all: &[T], name: impl Fn(T) -> &'static str, text: &str) -> Option<T> {
    all.iter().copied().find(|one| same(name(*one), text))
}

/// `patch-pending`, `PATCH_PENDING` and `Patch_Pending` are one.
fn same(name: &str, text: &str) -> bool {
    name.len() == text.len()
        && name
            .chars()
            .zip(text.chars())
            .all(|(a, b)| a.eq_ignore_ascii_case(&b) || (a == '_' && b == '-'))
}

/// A length of time as people type it: a number and `m`, `h`, `d` or `w`, as in `7d`.
pub fn parse_age(text: &str) -> Option<Duration> {
    let unit = text.chars().next_back()?;
    let count: i64 = text.strip_suffix(unit)?.parse::<u32>().ok()?.into();
    match unit {
        'm' => Duration::try_minutes(count),
        'h' => Duration::try_hours(count),
        'd' => Duration::try_days(count),
        'w' => Duration::try_weeks(count),
        _ => None,
    }
}
