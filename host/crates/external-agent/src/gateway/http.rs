//! Just enough of HTTP/1.1 to serve one client that is not trusted.

use super::forward::{Answer, Forwarder};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

/// Longest head of a request, in bytes.
const LONGEST_HEAD: usize = 64 * 1024;

/// Longest body of a request, in bytes.
const LONGEST_BODY: usize = 32 * 1024 * 1024;

/// How long a connection may be silent.
const IDLE: Duration = Duration::from_secs(300);

/// A request, read whole.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) method: String,
    /// With its query.
    pub(super) target: String,
    /// Names in lower case.
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
}

impl Request {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.as_str())
    }
}

/// Requests of one connection, one after the other.
pub(super) fn serve(stream: UnixStream, forwarder: &Forwarder) -> io::Result<()> {
    stream.set_read_timeout(Some(IDLE))?;
    stream.set_write_timeout(Some(IDLE))?;
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut writer = stream;
    loop {
        let request = match read(&mut reader, &mut writer) {
            Ok(Some(request)) => request,
            Ok(None) => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                let text = error.to_string();
                return refuse(&mut writer, 400, &text);
            }
            Err(error) => return Err(error),
        };
        let last = request
            .header("connection")
            .is_some_and(|value| value.eq_ignore_ascii_case("close"));
        answer(&mut writer, &request, forwarder)?;
        if last {
            return Ok(());
        }
    }
}

fn answer(writer: &mut UnixStream, request: &Request, forwarder: &Forwarder) -> io::Result<()> {
    let mut answer = match forwarder.forward(request) {
        Ok(answer) => answer,
        Err(refusal) => return refuse(writer, refusal.status, &refusal.text),
    };
    let mut head = format!("HTTP/1.1 {} {}\r\n", answer.status, reason(answer.status));
    for (name, value) in &answer.headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    let headless = request.method == "HEAD";
    head.push_str(if headless {
        "content-length: 0\r\n\r\n"
    } else {
        "transfer-encoding: chunked\r\n\r\n"
    });
    writer.write_all(head.as_bytes())?;
    if headless {
        return Ok(());
    }
    copy(&mut answer, writer)
}

/// As it comes; an answer that breaks off breaks off for the agent as well.
fn copy(answer: &mut Answer<'_>, writer: &mut UnixStream) -> io::Result<()> {
    let mut chunk = vec![0; 64 * 1024];
    loop {
        let count = answer.read(&mut chunk)?;
        if count == 0 {
            return writer.write_all(b"0\r\n\r\n");
        }
        write!(writer, "{count:x}\r\n")?;
        writer.write_all(chunk.get(..count).unwrap_or_default())?;
        writer.write_all(b"\r\n")?;
        writer.flush()?;
    }
}

/// In the form that both dialects read.
fn refuse(writer: &mut UnixStream, status: u16, text: &str) -> io::Result<()> {
    let body = serde_json::json!({
        "type": "error",
        "error": {"type": "permission_error", "message": text, "code": "selfheal"},
    })
    .to_string();
    write!(
        writer,
        "HTTP/1.1 {status} {}\r\ncontent-type: application/json\r\nx-should-retry: false\r\ncontent-length: {}\r\n\r\n{body}",
        reason(status),
        body.len()
    )
}

fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        400 => "Bad Request",
        403 => "Forbidden",
        404 => "Not Found",
        413 => "Content Too Large",
        429 => "Too Many Requests",
        502 => "Bad Gateway",
        _ => "Answer",
    }
}

fn invalid(text: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, text.to_owned())
}

/// The next request; none when the connection ends between two.
fn read(
    reader: &mut BufReader<UnixStream>,
    writer: &mut UnixStream,
) -> io::Result<Option<Request>> {
    let mut head = Vec::new();
    loop {
        let line = line(reader, LONGEST_HEAD.saturating_sub(head.len()))?;
        let blank = line == b"\r\n" || line == b"\n";
        if line.is_empty() {
            return if head.is_empty() {
                Ok(None)
            } else {
                Err(io::ErrorKind::UnexpectedEof.into())
            };
        }
        if blank && head.is_empty() {
            continue;
        }
        head.extend_from_slice(&line);
        if blank {
            break;
        }
    }
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut parsed = httparse::Request::new(&mut headers);
    match parsed.parse(&head) {
        Ok(httparse::Status::Complete(_)) => {}
        Ok(httparse::Status::Partial) | Err(_) => return Err(invalid("not an HTTP request")),
    }
    let headers: Vec<(String, String)> = parsed
        .headers
        .iter()
        .map(|header| {
            let value =
                std::str::from_utf8(header.value).map_err(|_| invalid("a header is not text"))?;
            Ok((header.name.to_ascii_lowercase(), value.to_owned()))
        })
        .collect::<io::Result<_>>()?;
    let mut request = Request {
        method: parsed.method.unwrap_or_default().to_owned(),
        target: parsed.path.unwrap_or_default().to_owned(),
        headers,
        body: Vec::new(),
    };
    if request.header("expect").is_some() {
        writer.write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
    }
    request.body = body(reader, &request)?;
    Ok(Some(request))
}

fn body(reader: &mut BufReader<UnixStream>, request: &Request) -> io::Result<Vec<u8>> {
    let too_long = || invalid("a request has at most 32 MiB");
    match (
        request.header("transfer-encoding"),
        request.header("content-length"),
    ) {
        (Some(encoding), None) if encoding.eq_ignore_ascii_case("chunked") => {
            let mut body = Vec::new();
            loop {
                let size = line(reader, 64)?;
                let size = std::str::from_utf8(&size).unwrap_or_default();
                let size = size.split(';').next().unwrap_or_default().trim();
                let size =
                    usize::from_str_radix(size, 16).map_err(|_| invalid("a chunk without size"))?;
                if body.len().saturating_add(size) > LONGEST_BODY {
                    return Err(too_long());
                }
                let filled = body.len();
                body.resize(filled + size, 0);
                reader.read_exact(body.get_mut(filled..).unwrap_or_default())?;
                let end = line(reader, 1024)?;
                if size == 0 {
                    // Trailers, which nobody reads, end with an empty line.
                    let mut trailer = end;
                    while trailer != b"\r\n" && trailer != b"\n" && !trailer.is_empty() {
                        trailer = line(reader, 1024)?;
                    }
                    return Ok(body);
                }
            }
        }
        (None, Some(length)) => {
            let length: usize = length
                .trim()
                .parse()
                .map_err(|_| invalid("a length that is no number"))?;
            if length > LONGEST_BODY {
                return Err(too_long());
            }
            let mut body = vec![0; length];
            reader.read_exact(&mut body)?;
            Ok(body)
        }
        (None, None) => Ok(Vec::new()),
        // Both, or an encoding that we would read otherwise than the next in line.
        (Some(_), _) => Err(invalid("an unknown transfer encoding")),
    }
}

/// One line with its end; empty at the end of the stream.
fn line(reader: &mut BufReader<UnixStream>, most: usize) -> io::Result<Vec<u8>> {
    let mut line = Vec::new();
    let limit = most as u64 + 1;
    reader.by_ref().take(limit).read_until(b'\n', &mut line)?;
    if line.len() > most {
        return Err(invalid("too long a line"));
    }
    Ok(line)
}
