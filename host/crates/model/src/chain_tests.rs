//! Who is asked, when, and who is told.

use super::*;
use crate::conversation::{Stop, ToolChoice, Usage};
use std::sync::Mutex;

type Says = Box<dyn Fn() -> Result<Answer, ProviderError> + Send + Sync>;

struct Fake {
    name: &'static str,
    says: Says,
    patience: Mutex<Vec<Duration>>,
}

impl Provider for Fake {
    fn name(&self) -> String {
        self.name.to_owned()
    }

    fn context_window(&self) -> u64 {
        self.name.len() as u64
    }

    fn price(&self) -> Option<Price> {
        Some(Price {
            input: self.name.len() as f64,
            output: 100.0 - self.name.len() as f64,
            ..Price::default()
        })
    }

    fn ask(
        &self,
        _question: &Question<'_>,
        patience: Duration,
        _cancelled: &dyn Fn() -> bool,
        seen: &mut dyn FnMut(Delta),
    ) -> Result<Answer, ProviderError> {
        self.patience.lock().expect("unpoisoned").push(patience);
        seen(Delta::Text(self.name.to_owned()));
        (self.says)()
    }
}

fn fake(name: &'static str, says: Says) -> Arc<Fake> {
    Arc::new(Fake {
        name,
        says,
        patience: Mutex::default(),
    })
}

fn good(name: &'static str) -> Arc<Fake> {
    fake(
        name,
        Box::new(|| {
            Ok(Answer {
                blocks: Vec::new(),
                stop: Stop::EndTurn,
                usage: Usage::default(),
            })
        }),
    )
}

fn bad(name: &'static str, error: fn(String, String) -> ProviderError) -> Arc<Fake> {
    fake(
        name,
        Box::new(move || Err(error(name.to_owned(), "no".to_owned()))),
    )
}

fn down(provider: String, message: String) -> ProviderError {
    ProviderError::Unavailable { provider, message }
}

struct Run {
    chain: Chain,
    switches: Arc<Mutex<Vec<Switch>>>,
    deltas: Vec<Delta>,
}

fn run(providers: &[&Arc<Fake>]) -> Run {
    let switches = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&switches);
    let mut providers = providers
        .iter()
        .map(|provider| Arc::clone(provider) as Arc<dyn Provider>);
    Run {
        chain: Chain::new(
            providers.next().expect("one"),
            providers.collect(),
            Box::new(move |switch| log.lock().expect("unpoisoned").push(switch.clone())),
        ),
        switches,
        deltas: Vec::new(),
    }
}

impl Run {
    fn ask(&mut self) -> Result<Answer, ProviderError> {
        let deltas = &mut self.deltas;
        self.chain.ask(
            &Question {
                system: "",
                messages: &[],
                tools: &[],
                tool_choice: ToolChoice::Auto,
                max_output_tokens: 1,
            },
            Duration::from_secs(90),
            &|| false,
            &mut |delta| deltas.push(delta),
        )
    }

    fn told(&self) -> Vec<(String, String)> {
        self.switches
            .lock()
            .expect("unpoisoned")
            .iter()
            .map(|switch| (switch.from.clone(), switch.to.clone()))
            .collect()
    }
}

fn asked(provider: &Fake) -> usize {
    provider.patience.lock().expect("unpoisoned").len()
}

#[test]
fn the_next_takes_over_for_the_rest_of_the_run() {
    let (first, second, third) = (bad("first", down), good("second"), good("third"));
    let mut run = run(&[&first, &second, &third]);
    assert_eq!(run.chain.name(), "first");
    run.ask().expect("an answer");
    run.ask().expect("an answer");
    assert_eq!((asked(&first), asked(&second), asked(&third)), (1, 2, 0));
    assert_eq!(run.told(), [("first".to_owned(), "second".to_owned())]);
    assert_eq!(
        (run.chain.name(), run.chain.context_window()),
        ("second".to_owned(), 6)
    );
    assert_eq!(
        run.deltas,
        [
            Delta::Text("first".to_owned()),
            Delta::Restart,
            Delta::Text("second".to_owned()),
            Delta::Text("second".to_owned())
        ]
    );
}

#[test]
fn each_failure_of_the_provider_itself_is_a_reason() {
    let reasons: [fn(String, String) -> ProviderError; 4] = [
        down,
        |provider, message| ProviderError::OutOfBudget { provider, message },
        |provider, message| ProviderError::Refused { provider, message },
        |provider, message| ProviderError::Broken { provider, message },
    ];
    for reason in reasons {
        let (first, second) = (bad("first", reason), good("second"));
        run(&[&first, &second]).ask().expect("an answer");
    }
    let ours: [fn(String, String) -> ProviderError; 2] = [
        |_, _| ProviderError::Cancelled,
        |provider, message| ProviderError::TooLong { provider, message },
    ];
    for reason in ours {
        let (first, second) = (bad("first", reason), good("second"));
        run(&[&first, &second]).ask().expect_err("an error");
        assert_eq!(asked(&second), 0);
    }
}

#[test]
fn when_all_fail_all_are_named() {
    let (first, second) = (bad("first", down), bad("second", down));
    let mut run = run(&[&first, &second]);
    let error = run.ask().expect_err("an error").to_string();
    assert_eq!(
        error,
        "second is not available: no; before that, first is not available: no"
    );
    run.ask().expect_err("an error");
    assert_eq!((asked(&first), asked(&second)), (1, 2));
}

#[test]
fn the_price_is_the_highest() {
    let (short, longer) = (good("a"), good("bcd"));
    let price = run(&[&short, &longer]).chain.price().expect("a price");
    assert_eq!((price.input, price.output), (3.0, 99.0));
}

#[test]
fn the_first_does_not_use_all_the_time_up() {
    let (first, second) = (bad("first", down), good("second"));
    run(&[&first, &second]).ask().expect("an answer");
    let patience = |provider: &Fake| {
        provider
            .patience
            .lock()
            .expect("unpoisoned")
            .first()
            .copied()
    };
    assert!(patience(&first) <= Some(Duration::from_secs(60)));
    assert!(patience(&second) > Some(Duration::from_secs(60)));
}
