//! Lists of issues: which index serves a filter, and cursors.

use crate::harden::ProjectionError;
use crate::projection::Projection;
use crate::rows::{self, List};
use chrono::{DateTime, Utc};
use selfheal_domain::ids::IssueNumber;
use selfheal_domain::ports::{IssueSummary, Page, StoreError};
use selfheal_domain::query::{Fit, IssueFilter, Sort};
use selfheal_domain::state::IssueStatus;

/// Most summaries looked at for one page. A page may come back short, or empty,
/// with a cursor to go on from.
pub(crate) const SCAN_ROWS: usize = 2_000;
/// Most issues looked into for one page when words are searched for.
pub(crate) const SCAN_TEXTS: usize = 500;
/// Largest page.
const MAX_LIMIT: usize = 1_000;

const CURSOR_VERSION: u8 = 2;

/// Where a page ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Position {
    Created(IssueNumber),
    Updated(DateTime<Utc>, IssueNumber),
}

impl Position {
    fn of(sort: Sort, summary: &IssueSummary) -> Self {
        match sort {
            Sort::Created => Self::Created(summary.number),
            Sort::Updated => Self::Updated(summary.updated_at, summary.number),
        }
    }

    fn place(self) -> Vec<u8> {
        match self {
            Self::Created(number) => rows::place(number),
            Self::Updated(at, number) => rows::changed_place(at, number),
        }
    }

    fn cursor(self) -> String {
        let mut bytes = vec![CURSOR_VERSION];
        bytes.extend(self.place());
        let crc = crc32c::crc32c(&bytes);
        bytes.extend_from_slice(&crc.to_be_bytes());
        hex::encode(bytes)
    }

    fn parse(text: &str, sort: Sort) -> Result<Self, StoreError> {
        let bytes = hex::decode(text).map_err(|_| StoreError::BadCursor)?;
        let number = |from: usize| {
            let bytes = bytes.get(from..from + 8)?;
            Some(!u64::from_be_bytes(bytes.try_into().ok()?))
        };
        let position = match sort {
            Sort::Created => number(1).map(|number| Self::Created(IssueNumber(number))),
            Sort::Updated => number(1).zip(number(9)).and_then(|(time, number)| {
                let time = DateTime::from_timestamp_micros(i64::try_from(time).ok()?)?;
                Some(Self::Updated(time, IssueNumber(number)))
            }),
        };
        position
            .filter(|position| position.cursor() == text)
            .ok_or(StoreError::BadCursor)
    }
}

/// The indexes that have the fewest rows beside the wanted ones.
fn lists_for(filter: &IssueFilter) -> Vec<List> {
    if let Some(reporter) = filter.reporter() {
        return vec![List::Reporter(reporter.clone())];
    }
    if filter.sort == Sort::Updated {
        return vec![List::Changed(None)];
    }
    let statuses = filter.statuses();
    if statuses.len() == IssueStatus::ALL.len() {
        return vec![List::All];
    }
    statuses.into_iter().map(List::Status).collect()
}

/// What one page holds so far, and what it cost.
struct Gathering<'a> {
    filter: &'a IssueFilter,
    limit: usize,
    rows: usize,
    texts: usize,
    last: Option<Position>,
    page: Page<IssueSummary>,
}

impl Gathering<'_> {
    /// Takes the next issue of the list; whether more may come.
    fn visit(
        &mut self,
        projection: &Projection,
        summary: IssueSummary,
    ) -> Result<bool, ProjectionError> {
        // One row further than needed, so that the last page has no cursor.
        let full = self.page.items.len() == self.limit;
        if full || self.rows == SCAN_ROWS || self.texts == SCAN_TEXTS {
            self.page.next_cursor = self.last.map(Position::cursor);
            return Ok(false);
        }
        self.rows += 1;
        self.last = Some(Position::of(self.filter.sort, &summary));
        let fits = match self.filter.on_summary(&summary) {
            Fit::Yes => true,
            Fit::No => false,
            Fit::Ask => {
                self.texts += 1;
                let description = projection.description(summary.number)?;
                self.filter.on_text(&summary, &description)
            }
        };
        if fits {
            self.page.items.push(summary);
        }
        Ok(true)
    }
}

pub(crate) fn page(
    projection: &Projection,
    filter: &IssueFilter,
    cursor_text: Option<&str>,
    limit: usize,
) -> Result<Page<IssueSummary>, StoreError> {
    let after = cursor_text
        .map(|text| Position::parse(text, filter.sort))
        .transpose()?;
    let mut gathering = Gathering {
        filter,
        limit: limit.min(MAX_LIMIT),
        rows: 0,
        texts: 0,
        last: None,
        page: Page {
            items: Vec::new(),
            next_cursor: None,
        },
    };
    if gathering.limit == 0 {
        return Ok(gathering.page);
    }
    let read_error = |error| StoreError::Read(Box::new(error));
    let lists = lists_for(filter);
    if filter.sort == Sort::Updated && filter.reporter().is_some() {
        // One person's issues are few; an index of their own would cost every record.
        let mut all = Vec::new();
        projection
            .walk(&lists, None, |_, summary| {
                all.push(summary);
                Ok(all.len() <= SCAN_ROWS)
            })
            .map_err(read_error)?;
        if all.len() > SCAN_ROWS {
            return Err(StoreError::TooManyToSort(SCAN_ROWS));
        }
        let place = |summary: &IssueSummary| Position::of(Sort::Updated, summary).place();
        all.sort_by_key(place);
        let after = after.map(Position::place);
        for summary in all {
            let before = after
                .as_ref()
                .is_some_and(|after| place(&summary) <= *after);
            if !before && !gathering.visit(projection, summary).map_err(read_error)? {
                break;
            }
        }
    } else {
        let after = after.map(Position::place);
        projection
            .walk(&lists, after.as_deref(), |projection, summary| {
                gathering.visit(projection, summary)
            })
            .map_err(read_error)?;
    }
    Ok(gathering.page)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_cursors_that_were_handed_out_are_taken() {
        let number = IssueNumber(4711);
        let time = DateTime::from_timestamp_micros(1_800_000_000_123_456).unwrap();
        let good = Position::Created(number);
        let other = Position::Updated(time, number);
        assert_eq!(
            Position::parse(&good.cursor(), Sort::Created).unwrap(),
            good
        );
        assert_eq!(
            Position::parse(&other.cursor(), Sort::Updated).unwrap(),
            other
        );
        let mut forged = good.cursor();
        let digit = if forged.as_bytes()[17] == b'0' {
            "1"
        } else {
            "0"
        };
        forged.replace_range(17..18, digit);
        for bad in [
            "",
            "zz",
            "01",
            "42",
            &forged,
            &good.cursor().to_uppercase(),
            &other.cursor(),
            "02000000000000126700000000",
        ] {
            assert!(
                matches!(
                    Position::parse(bad, Sort::Created),
                    Err(StoreError::BadCursor)
                ),
                "{bad}"
            );
        }
        assert!(matches!(
            Position::parse(&good.cursor(), Sort::Updated),
            Err(StoreError::BadCursor)
        ));
    }
}
