//! Lists of issues: which index serves a filter, and cursors.

use crate::projection::Projection;
use crate::rows::List;
use selfheal_domain::ids::IssueNumber;
use selfheal_domain::ports::{IssueFilter, IssueSummary, Page, StoreError};

/// Most summaries looked at for one page. A page may come back short, or empty,
/// with a cursor to go on from.
pub(crate) const SCAN_ROWS: usize = 2_000;
/// Most issues looked into for one page when words are searched for.
pub(crate) const SCAN_TEXTS: usize = 500;
/// Largest page.
const MAX_LIMIT: usize = 1_000;

const CURSOR_VERSION: u8 = 1;

pub(crate) fn cursor(number: IssueNumber) -> String {
    let mut bytes = vec![CURSOR_VERSION];
    bytes.extend_from_slice(&number.0.to_be_bytes());
    let crc = crc32c::crc32c(&bytes);
    bytes.extend_from_slice(&crc.to_be_bytes());
    hex::encode(bytes)
}

fn parse_cursor(text: &str) -> Result<IssueNumber, StoreError> {
    let bytes = hex::decode(text).map_err(|_| StoreError::BadCursor)?;
    let number = bytes
        .get(1..9)
        .and_then(|number| number.try_into().ok())
        .map(|number| IssueNumber(u64::from_be_bytes(number)))
        .ok_or(StoreError::BadCursor)?;
    if cursor(number) == text {
        Ok(number)
    } else {
        Err(StoreError::BadCursor)
    }
}

/// The index that has the fewest rows beside the wanted ones.
fn list_for(filter: &IssueFilter) -> List {
    match (&filter.reported_by, filter.statuses.as_slice()) {
        (Some(actor), _) => List::Reporter(actor.clone()),
        (None, [status]) => List::Status(*status),
        (None, _) => List::All,
    }
}

fn matches(filter: &IssueFilter, summary: &IssueSummary) -> bool {
    fn fits<T: PartialEq>(wanted: Option<&T>, found: &T) -> bool {
        wanted.is_none_or(|wanted| wanted == found)
    }
    (filter.statuses.is_empty() || filter.statuses.contains(&summary.status))
        && fits(filter.severity.as_ref(), &summary.severity)
        && fits(filter.priority.as_ref(), &summary.priority)
        && fits(filter.source.as_ref(), &summary.source)
        && fits(filter.reported_by.as_ref(), &summary.reported_by)
        && (filter.service.is_none() || filter.service == summary.service)
}

pub(crate) fn page(
    projection: &Projection,
    filter: &IssueFilter,
    cursor_text: Option<&str>,
    limit: usize,
) -> Result<Page<IssueSummary>, StoreError> {
    let before = cursor_text.map(parse_cursor).transpose()?;
    let limit = limit.min(MAX_LIMIT);
    let words: Vec<String> = filter
        .query
        .iter()
        .flat_map(|query| query.split_whitespace())
        .map(str::to_lowercase)
        .collect();
    let mut items = Vec::new();
    let mut next_cursor = None;
    if limit == 0 {
        return Ok(Page { items, next_cursor });
    }
    let (mut rows, mut texts, mut last) = (0, 0, None);
    projection
        .walk(&list_for(filter), before, |projection, summary| {
            // One row further than needed, so that the last page has no cursor.
            if items.len() == limit || rows == SCAN_ROWS || texts == SCAN_TEXTS {
                next_cursor = last.map(cursor);
                return Ok(false);
            }
            rows += 1;
            last = Some(summary.number);
            if !matches(filter, &summary) {
                return Ok(true);
            }
            if !words.is_empty() {
                texts += 1;
                if !projection.mentions(summary.number, &words)? {
                    return Ok(true);
                }
            }
            items.push(summary);
            Ok(true)
        })
        .map_err(|error| StoreError::Read(Box::new(error)))?;
    Ok(Page { items, next_cursor })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_cursors_that_were_handed_out_are_taken() {
        let number = IssueNumber(4711);
        assert_eq!(parse_cursor(&cursor(number)).unwrap(), number);
        let mut forged = cursor(number);
        forged.replace_range(
            17..18,
            if forged.as_bytes()[17] == b'0' {
                "1"
            } else {
                "0"
            },
        );
        for bad in [
            "",
            "zz",
            "01",
            "42",
            &forged,
            &cursor(number).to_uppercase(),
            "01000000000000126700000000",
        ] {
            assert!(
                matches!(parse_cursor(bad), Err(StoreError::BadCursor)),
                "{bad}"
            );
        }
    }
}
