//! MCP's stdio transport: JSON-RPC, one message a line. The client's person can be asked
//! (`elicitation/create`) where the client said that it can.

use crate::failure::{Because, Exit, Failure};
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::io::{BufRead, Read, Write};

/// Versions of the protocol in which everything used here is the same; newest first.
const VERSIONS: [&str; 4] = ["2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05"];
/// Messages that may wait while a person is asked.
const MAX_WAITING: usize = 64;

/// What a server offers.
pub(crate) trait Offer {
    /// Longest line that is read, in bytes.
    fn longest_line(&self) -> usize;

    /// How to use the tools, for the client's model.
    fn instructions(&self) -> Option<&'static str> {
        None
    }

    /// The tools, as `tools/list` has them.
    fn tools(&self) -> Value;

    /// The result of a tool; none where there is no tool of that name.
    ///
    /// # Errors
    /// The client is gone.
    fn call(
        &self,
        tool: &str,
        arguments: &Value,
        person: &mut dyn Person,
    ) -> Result<Option<Value>, Failure>;
}

/// What a person said who was asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Word {
    /// Yes.
    Yes,
    /// No, or nothing.
    No,
    /// The client cannot ask.
    Unasked,
}

/// Who sits before the client.
pub(crate) trait Person {
    /// Asks whether what `message` says shall be done.
    ///
    /// # Errors
    /// The client is gone.
    fn asked(&mut self, message: &str) -> Result<Word, Failure>;
}

/// Serves until the client is gone.
///
/// # Errors
/// A line over the bound; output that nobody takes.
pub(crate) fn serve(
    offer: &dyn Offer,
    input: impl BufRead,
    output: impl Write,
) -> Result<Exit, Failure> {
    let mut client = Client {
        longest: offer.longest_line(),
        input,
        output,
        can_ask: false,
        questions: 0,
        waiting: VecDeque::new(),
    };
    while let Some(line) = client.next()? {
        if let Some(answer) = answer(offer, &line, &mut client)? {
            client.write(&answer)?;
        }
    }
    Ok(Exit::Done)
}

struct Client<R, W> {
    longest: usize,
    input: R,
    output: W,
    can_ask: bool,
    questions: u64,
    /// Lines that came while a person was asked.
    waiting: VecDeque<Vec<u8>>,
}

impl<R: BufRead, W: Write> Client<R, W> {
    fn next(&mut self) -> Result<Option<Vec<u8>>, Failure> {
        match self.waiting.pop_front() {
            Some(line) => Ok(Some(line)),
            None => self.read(),
        }
    }

    fn read(&mut self) -> Result<Option<Vec<u8>>, Failure> {
        let mut line = Vec::new();
        let most = u64::try_from(self.longest).unwrap_or(u64::MAX);
        let read = self.input.by_ref().take(most).read_until(b'\n', &mut line);
        if read.because(Exit::Unavailable)? == 0 {
            return Ok(None);
        }
        if !line.ends_with(b"\n") && line.len() >= self.longest {
            let message = format!("a line has at most {} bytes", self.longest);
            return Err(Failure::new(Exit::Usage, message));
        }
        Ok(Some(line))
    }

    fn write(&mut self, message: &Value) -> Result<(), Failure> {
        let text = format!("{message}\n");
        let written = self.output.write_all(text.as_bytes());
        written.because(Exit::Unavailable)?;
        self.output.flush().because(Exit::Unavailable)
    }
}

impl<R: BufRead, W: Write> Person for Client<R, W> {
    fn asked(&mut self, message: &str) -> Result<Word, Failure> {
        if !self.can_ask {
            return Ok(Word::Unasked);
        }
        self.questions += 1;
        let id = json!(format!("ask-{}", self.questions));
        self.write(&json!({
            "jsonrpc": "2.0", "id": id, "method": "elicitation/create",
            "params": {
                "message": message,
                "requestedSchema": {
                    "type": "object",
                    "properties": { "yes": { "type": "boolean", "title": "Yes, send it" } },
                    "required": ["yes"],
                },
            },
        }))?;
        loop {
            let Some(line) = self.read()? else {
                return Ok(Word::No);
            };
            let message: Value = serde_json::from_slice(&line).unwrap_or_default();
            let method = message.get("method").and_then(Value::as_str);
            match (method, message.get("id")) {
                (None, Some(of)) if *of == id => return Ok(word(message.get("result"))),
                (Some("ping"), Some(of)) => {
                    let pong = json!({ "jsonrpc": "2.0", "id": of, "result": {} });
                    self.write(&pong)?;
                }
                // Whoever called does not want it any more.
                (Some("notifications/cancelled"), _) => return Ok(Word::No),
                _ if self.waiting.len() < MAX_WAITING => self.waiting.push_back(line),
                _ => return Ok(Word::No),
            }
        }
    }
}

/// A plain yes, and nothing else, is one.
fn word(result: Option<&Value>) -> Word {
    let accepted = result.and_then(|result| result.get("action")) == Some(&json!("accept"));
    let yes = result.and_then(|result| result.pointer("/content/yes")) == Some(&json!(true));
    if accepted && yes { Word::Yes } else { Word::No }
}

/// The answer to one message; none to a notification.
fn answer<R: BufRead, W: Write>(
    offer: &dyn Offer,
    line: &[u8],
    client: &mut Client<R, W>,
) -> Result<Option<Value>, Failure> {
    let refused = |id: Value, code: i32, message: &str| {
        Ok(Some(json!({ "jsonrpc": "2.0", "id": id,
            "error": { "code": code, "message": message } })))
    };
    if line.iter().all(u8::is_ascii_whitespace) {
        return Ok(None);
    }
    let Ok(message) = serde_json::from_slice::<Value>(line) else {
        return refused(Value::Null, -32700, "the message is not JSON");
    };
    let Some(id) = message.get("id").filter(|id| !id.is_null()).cloned() else {
        return Ok(None);
    };
    let Some(method) = message.get("method").and_then(Value::as_str) else {
        return refused(id, -32600, "the message names no method");
    };
    let none = Value::Null;
    let parameters = message.get("params").unwrap_or(&none);
    let result = match method {
        "initialize" => {
            client.can_ask = can_ask(parameters);
            let mut hello = json!({
                "protocolVersion": version(parameters),
                "capabilities": { "tools": {} },
                "serverInfo": { "name": "selfheal", "version": env!("CARGO_PKG_VERSION") },
            });
            if let (Some(text), Some(hello)) = (offer.instructions(), hello.as_object_mut()) {
                hello.insert("instructions".to_owned(), json!(text));
            }
            hello
        }
        "ping" => json!({}),
        "tools/list" => json!({ "tools": offer.tools() }),
        "tools/call" => {
            let tool = parameters.get("name").and_then(Value::as_str);
            let arguments = parameters.get("arguments").unwrap_or(&none);
            match offer.call(tool.unwrap_or_default(), arguments, client)? {
                Some(result) => result,
                None => return refused(id, -32602, "there is no such tool; ask tools/list"),
            }
        }
        _ => return refused(id, -32601, "this server knows no such method"),
    };
    Ok(Some(
        json!({ "jsonrpc": "2.0", "id": id, "result": result }),
    ))
}

/// Whether the client shows forms to its person.
fn can_ask(parameters: &Value) -> bool {
    let elicitation = parameters.pointer("/capabilities/elicitation");
    let modes = elicitation.and_then(Value::as_object);
    modes.is_some_and(|modes| modes.is_empty() || modes.contains_key("form"))
}

/// The client's version where it is known, else the newest.
fn version(parameters: &Value) -> &'static str {
    let wanted = parameters.get("protocolVersion").and_then(Value::as_str);
    let known = VERSIONS.iter().find(|version| Some(**version) == wanted);
    known.copied().unwrap_or(VERSIONS[0])
}

/// What a tool has to say.
pub(crate) fn said(text: impl Into<String>) -> Value {
    json!({ "content": [{ "type": "text", "text": text.into() }] })
}

/// Why a tool did nothing.
pub(crate) fn refusal(text: impl Into<String>) -> Value {
    json!({ "content": [{ "type": "text", "text": text.into() }], "isError": true })
}

/// What a server answers to these lines.
#[cfg(test)]
pub(crate) fn talk(offer: &dyn Offer, lines: &str) -> Vec<Value> {
    let mut output = Vec::new();
    serve(offer, lines.as_bytes(), &mut output).unwrap();
    let text = String::from_utf8(output).unwrap();
    let lines = text.lines();
    lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Asks, and says what the word was.
    struct Asks;

    impl Offer for Asks {
        fn longest_line(&self) -> usize {
            1_000
        }

        fn tools(&self) -> Value {
            json!([{ "name": "ask" }])
        }

        fn call(
            &self,
            tool: &str,
            _: &Value,
            person: &mut dyn Person,
        ) -> Result<Option<Value>, Failure> {
            if tool != "ask" {
                return Ok(None);
            }
            Ok(Some(said(format!("{:?}", person.asked("Shall I?")?))))
        }
    }

    const CALL: &str = r#"{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"ask"}}"#;

    fn hello(capabilities: &Value) -> String {
        let hello = json!({ "jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {
            "protocolVersion": "2025-06-18", "capabilities": capabilities } });
        hello.to_string()
    }

    fn word_after(capabilities: &Value, reply: &str) -> String {
        let lines = format!("{}\n{CALL}\n{reply}\n", hello(capabilities));
        let answers = talk(&Asks, &lines);
        let last = answers.iter().find(|answer| answer["id"] == 2).unwrap();
        let text = last["result"]["content"][0]["text"].as_str();
        text.unwrap().to_owned()
    }

    #[test]
    fn a_client_is_greeted_in_its_own_version() {
        let version = |wanted: &str| {
            let hello = hello(&json!({})).replace("2025-06-18", wanted);
            talk(&Asks, &hello)[0]["result"]["protocolVersion"].clone()
        };
        assert_eq!(version("2025-03-26"), "2025-03-26");
        assert_eq!(version("1999-01-01"), VERSIONS[0]);
        let tools = talk(&Asks, r#"{"jsonrpc":"2.0","id":"a","method":"tools/list"}"#);
        assert_eq!(
            (&tools[0]["id"], &tools[0]["result"]["tools"][0]["name"]),
            (&json!("a"), &json!("ask"))
        );
        let note = r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#;
        assert!(talk(&Asks, &format!("{note}\n\n")).is_empty());
    }

    #[test]
    fn nothing_but_a_plain_yes_is_one() {
        let forms = json!({ "elicitation": {} });
        let reply = |result: Value| {
            json!({ "jsonrpc": "2.0", "id": "ask-1", "result": result }).to_string()
        };
        let yes = reply(json!({ "action": "accept", "content": { "yes": true } }));
        assert_eq!(word_after(&forms, &yes), "Yes");
        assert_eq!(
            word_after(&json!({ "elicitation": { "form": {} } }), &yes),
            "Yes"
        );
        for no in [
            reply(json!({ "action": "accept", "content": { "yes": false } })),
            reply(json!({ "action": "accept", "content": { "yes": "true" } })),
            reply(json!({ "action": "accept" })),
            reply(json!({ "action": "decline", "content": { "yes": true } })),
            reply(json!({ "action": "cancel" })),
            yes.replace("ask-1", "ask-2"),
            r#"{"jsonrpc":"2.0","id":"ask-1","error":{"code":-1,"message":"no"}}"#.to_owned(),
            r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":2}}"#
                .to_owned(),
            String::new(),
        ] {
            assert_eq!(word_after(&forms, &no), "No", "{no}");
        }
        for unable in [json!({}), json!({ "elicitation": { "url": {} } })] {
            assert_eq!(word_after(&unable, &yes), "Unasked");
        }
    }

    #[test]
    fn what_comes_while_a_person_is_asked_is_not_lost() {
        let ping = r#"{"jsonrpc":"2.0","id":7,"method":"ping"}"#;
        let list = r#"{"jsonrpc":"2.0","id":8,"method":"tools/list"}"#;
        let yes = json!({ "jsonrpc": "2.0", "id": "ask-1",
            "result": { "action": "accept", "content": { "yes": true } } });
        let hello = hello(&json!({ "elicitation": {} }));
        let answers = talk(&Asks, &format!("{hello}\n{CALL}\n{ping}\n{list}\n{yes}\n"));
        let ids: Vec<_> = answers.iter().map(|answer| answer["id"].clone()).collect();
        assert_eq!(
            ids,
            [json!(1), json!("ask-1"), json!(7), json!(2), json!(8)]
        );
    }

    #[test]
    fn what_is_no_request_is_refused() {
        for (message, code) in [
            ("nonsense", -32700),
            (r#"{"id":1}"#, -32600),
            (r#"{"id":1,"method":"resources/list"}"#, -32601),
            (
                r#"{"id":1,"method":"tools/call","params":{"name":"other"}}"#,
                -32602,
            ),
        ] {
            assert_eq!(talk(&Asks, message)[0]["error"]["code"], code, "{message}");
        }
        let long = "x".repeat(2_000);
        assert!(serve(&Asks, long.as_bytes(), Vec::new()).is_err());
    }
}
