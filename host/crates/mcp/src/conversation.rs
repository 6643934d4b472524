//! One conversation with one server, on a small runtime of its own: whatever the server
//! does keeps nobody else from working.

use crate::answer::{MAX_TOOLS, offered, shorten, text};
use crate::config::{Authorities, Known, Way};
use crate::pump::{MAX_LINE, Pump};
use rmcp::model::{CallToolRequestParams, CallToolResponse, PaginatedRequestParams};
use rmcp::service::{ClientInitializeError, RoleClient, RunningService, ServiceError};
use rmcp::transport::async_rw::AsyncRwTransport;
use rmcp::transport::streamable_http_client::{
    StreamableHttpClientTransport, StreamableHttpClientTransportConfig, StreamableHttpError,
};
use selfheal_domain::mcp::{McpConversation, McpError, McpTool};
use selfheal_domain::tools::ToolSession;
use serde_json::Value;
use std::error::Error;
use std::future::Future;
use std::time::Duration;
use tokio::runtime::Runtime;

/// How soon after an abort a call ends.
const LATENCY: Duration = Duration::from_millis(25);

/// Most pages of a list of tools.
const MAX_PAGES: usize = 20;

/// What is buffered between client and process, in bytes.
const BUFFER: usize = 64 * 1024;

/// Longest error of a server that is passed on, in bytes.
const MAX_ERROR: usize = 2 * 1024;

pub(crate) struct Conversation {
    server: String,
    timeout: Duration,
    // In the order of their end: first the client, then the process, then what both run on.
    service: Option<RunningService<RoleClient, ()>>,
    pump: Option<Pump>,
    runtime: Option<Runtime>,
}

impl Conversation {
    pub(crate) fn open(
        known: &Known,
        process: Option<Box<dyn ToolSession>>,
        cancelled: &dyn Fn() -> bool,
    ) -> Result<Self, McpError> {
        let failed = |message: String| McpError::Failed {
            server: known.name.clone(),
            message,
        };
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("mcp")
            .enable_all()
            .build()
            .map_err(|error| failed(format!("no thread for it: {error}")))?;
        let mut conversation = Self {
            server: known.name.clone(),
            timeout: known.timeout,
            service: None,
            pump: None,
            runtime: None,
        };
        let opened = match (&known.way, process) {
            (Way::Process { .. }, Some(session)) => {
                let (ours, theirs) = tokio::io::duplex(BUFFER);
                let pump = Pump::start(session, theirs, runtime.handle())
                    .map_err(|error| failed(format!("no thread for it: {error}")))?;
                conversation.pump = Some(pump);
                let (read, write) = tokio::io::split(ours);
                let transport = AsyncRwTransport::<RoleClient, _, _>::new(read, write)
                    .with_max_line_length(MAX_LINE);
                let opening = async {
                    let served = rmcp::serve_client((), transport).await;
                    served.map_err(|error| error.to_string())
                };
                conversation.wait(&runtime, opening, cancelled)
            }
            (
                Way::Http {
                    url,
                    token,
                    authorities,
                },
                None,
            ) => {
                let client = client(Some(known.timeout), authorities.as_ref())
                    .map_err(|error| failed(error.to_string()))?;
                let mut config = StreamableHttpClientTransportConfig::with_uri(url.as_str())
                    .max_sse_event_size(MAX_LINE)
                    .reinit_on_expired_session(false);
                if let Some(token) = token {
                    config = config.auth_header(token.clone());
                }
                let opening = async {
                    let transport = StreamableHttpClientTransport::with_client(client, config);
                    let served = rmcp::serve_client((), transport).await;
                    served.map_err(|error| unopened(&error, authorities.as_ref()))
                };
                conversation.wait(&runtime, opening, cancelled)
            }
            _ => Err(failed("it is reached in another way".to_owned())),
        };
        conversation.runtime = Some(runtime);
        let service = opened?.map_err(|error| conversation.broken(&error))?;
        conversation.service = Some(service);
        Ok(conversation)
    }

    /// Waits for `work`, as long as the server has time and nobody aborts.
    fn wait<T>(
        &self,
        runtime: &Runtime,
        work: impl Future<Output = T>,
        cancelled: &dyn Fn() -> bool,
    ) -> Result<T, McpError> {
        let aborted = async {
            while !cancelled() {
                tokio::time::sleep(LATENCY).await;
            }
        };
        let done = runtime.block_on(async {
            tokio::select! {
                done = work => Ok(done),
                () = aborted => Err(McpError::Cancelled),
                () = tokio::time::sleep(self.timeout) => Err(McpError::TimedOut(self.server.clone())),
            }
        });
        // An abort also ends the server's process, which may be noticed first.
        if cancelled() {
            return Err(McpError::Cancelled);
        }
        done
    }

    fn with<T, F: Future<Output = Result<T, ServiceError>>>(
        &self,
        cancelled: &dyn Fn() -> bool,
        work: impl FnOnce(rmcp::Peer<RoleClient>) -> F,
    ) -> Result<T, McpError> {
        let (Some(runtime), Some(service)) = (&self.runtime, &self.service) else {
            return Err(self.broken("the conversation is over"));
        };
        let work = work(service.peer().clone());
        match self.wait(runtime, work, cancelled)? {
            Ok(done) => Ok(done),
            // Its own words, about this call.
            Err(ServiceError::McpError(error)) => Err(McpError::Refused {
                server: self.server.clone(),
                message: shorten(&error.message, MAX_ERROR),
            }),
            Err(error) => Err(self.broken(&error.to_string())),
        }
    }

    fn broken(&self, error: &str) -> McpError {
        let end = self.pump.as_ref().and_then(Pump::end);
        let message = end.unwrap_or_else(|| error.to_owned());
        McpError::Failed {
            server: self.server.clone(),
            message: shorten(&message, MAX_ERROR),
        }
    }
}

impl Drop for Conversation {
    fn drop(&mut self) {
        drop(self.service.take());
        drop(self.pump.take());
        if let Some(runtime) = self.runtime.take() {
            // Nothing on it has anything left to say.
            runtime.shutdown_background();
        }
    }
}

impl McpConversation for Conversation {
    fn tools(&self, cancelled: &dyn Fn() -> bool) -> Result<Vec<McpTool>, McpError> {
        let tools = self.with(cancelled, |peer| async move {
            let mut tools = Vec::new();
            let mut cursor = None;
            for _ in 0..MAX_PAGES {
                let mut page = PaginatedRequestParams::default();
                page.cursor = cursor;
                let result = peer.list_tools(Some(page)).await?;
                tools.extend(result.tools);
                cursor = result.next_cursor;
                if cursor.is_none() || tools.len() >= MAX_TOOLS {
                    break;
                }
            }
            Ok(tools)
        })?;
        Ok(offered(&self.server, tools))
    }

    fn call(
        &self,
        tool: &str,
        arguments: &Value,
        cancelled: &dyn Fn() -> bool,
    ) -> Result<String, McpError> {
        let mut request = CallToolRequestParams::new(tool.to_owned());
        if let Value::Object(arguments) = arguments {
            request = request.with_arguments(arguments.clone());
        }
        let response = self.with(cancelled, |peer| async move {
            peer.call_tool_once(request).await
        })?;
        let refused = |message: String| McpError::Refused {
            server: self.server.clone(),
            message: shorten(&message, MAX_ERROR),
        };
        match response {
            CallToolResponse::Complete(result) => text(result).map_err(refused),
            _ => Err(refused(
                "it wants to ask back, and there is nobody to ask".to_owned(),
            )),
        }
    }
}

/// Why there is no conversation over HTTP, and what to do where a certificate is why.
fn unopened(error: &ClientInitializeError, authorities: Option<&Authorities>) -> String {
    let mut text = error.to_string();
    let refused = match error {
        ClientInitializeError::TransportError { error, .. } => error
            .error
            .downcast_ref::<StreamableHttpError<reqwest::Error>>(),
        _ => None,
    };
    if let Some(StreamableHttpError::Client(error)) = refused {
        let mut next = error.source();
        while let Some(cause) = next {
            text = format!("{text}: {cause}");
            next = cause.source();
        }
    }
    if !text.contains("UnknownIssuer") {
        return text;
    }
    match authorities {
        Some(known) => format!(
            "its certificate is signed by none of the authorities in {}: put the certificate \
             (PEM) of the one that signs it into that file",
            known.file.display()
        ),
        None => "its certificate is signed by no authority that this machine trusts: where the \
                 authority is your own, name a file with its certificate (PEM) as ca_file"
            .to_owned(),
    }
}

/// Reaches the address it is given and no other.
pub(crate) fn client(
    timeout: Option<Duration>,
    authorities: Option<&Authorities>,
) -> Result<reqwest::Client, reqwest::Error> {
    // Set already where another part of the host speaks TLS: the same one.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut builder = reqwest::Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .pool_max_idle_per_host(0);
    if let Some(timeout) = timeout {
        builder = builder.connect_timeout(timeout);
    }
    if let Some(known) = authorities {
        builder = builder.tls_certs_only(known.certificates.iter().cloned());
    }
    builder.build()
}
