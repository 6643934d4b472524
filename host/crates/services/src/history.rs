//! What was seen of a service's health, bounded.

use chrono::{DateTime, Utc};
use selfheal_domain::service::HealthSample;
use std::collections::VecDeque;

/// Most samples; equal answers in a row are one.
const MOST: usize = 50;
/// Most bytes of what was seen.
const DETAIL: usize = 500;

/// The latest answers, oldest first.
#[derive(Debug, Default)]
pub(crate) struct History(VecDeque<HealthSample>);

impl History {
    pub(crate) fn note(&mut self, at: DateTime<Utc>, healthy: bool, detail: &str) {
        let detail = crate::watch::clip(detail, DETAIL);
        if let Some(last) = self.0.back_mut()
            && last.healthy == healthy
            && last.detail == detail
        {
            last.until = at;
            last.count = last.count.saturating_add(1);
            return;
        }
        if self.0.len() >= MOST {
            self.0.pop_front();
        }
        self.0.push_back(HealthSample {
            from: at,
            until: at,
            count: 1,
            healthy,
            detail: detail.to_owned(),
        });
    }

    pub(crate) fn samples(&self) -> Vec<HealthSample> {
        self.0.iter().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_answers_are_one_sample_and_there_are_never_many() {
        let mut history = History::default();
        let at = DateTime::UNIX_EPOCH;
        for _ in 0..3 {
            history.note(at, true, "200");
        }
        assert_eq!(history.samples()[0].count, 3);
        for number in 0..200 {
            history.note(at, false, &format!("{number}"));
        }
        let samples = history.samples();
        assert_eq!(samples.len(), MOST);
        assert_eq!(samples.last().unwrap().detail, "199");
    }
}
