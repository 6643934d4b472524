"""An MCP server in a few lines, for tests: over stdio, or over HTTP with `--http`.

Each tool shows one way in which a server can be good or bad.
"""

import json
import os
import signal
import sys
import time

TOOLS = [
    {
        "name": name,
        "description": "Says what it is asked to say.",
        "inputSchema": {"type": "object", "properties": {"text": {"type": "string"}}},
        "annotations": {"readOnlyHint": True, "destructiveHint": False},
    }
    for name in ("echo", "where", "fail", "stall", "garbage", "flood", "long", "die", "write", "endless", "events", "sent")
]

# Bytes of answers without end that were taken before the connection closed.
SENT = {}


def answer(message):
    """The answer to one message, or None."""
    method, key = message.get("method"), message.get("id")
    if key is None:
        return None
    result = {}
    if method == "initialize":
        result = {
            "protocolVersion": message["params"]["protocolVersion"],
            "capabilities": {"tools": {}},
            "serverInfo": {"name": "test", "version": "1"},
        }
    elif method == "tools/list":
        result = {"tools": TOOLS}
    elif method == "tools/call":
        result = call(message["params"]["name"], message["params"].get("arguments") or {})
    return {"jsonrpc": "2.0", "id": key, "result": result}


def call(name, arguments):
    text, wrong = arguments.get("text", ""), False
    if name == "where":
        text = os.getcwd()
    elif name == "fail":
        text, wrong = "I will not", True
    elif name == "stall":
        time.sleep(600)
    elif name == "garbage":
        sys.stdout.write("this is not JSON\n{]\n\x00\n" * 10)
    elif name == "flood":
        while True:
            sys.stdout.write(json.dumps({"jsonrpc": "2.0", "method": "notifications/message", "params": {"level": "info", "data": "x" * 1000}}) + "\n")
    elif name == "long":
        text = "x" * 6_000_000
    elif name == "sent":
        text = str(SENT.get(text, 0))
    elif name == "die":
        sys.stderr.write("I had enough\n")
        sys.stderr.flush()
        os.kill(os.getpid(), signal.SIGKILL)
    elif name == "write":
        try:
            with open(text, "w") as file:
                file.write("written")
            text = "written"
        except OSError as error:
            text, wrong = str(error), True
    return {"content": [{"type": "text", "text": text}], "isError": wrong}


def stdio():
    for line in sys.stdin:
        reply = answer(json.loads(line))
        if reply is not None:
            sys.stdout.write(json.dumps(reply) + "\n")
            sys.stdout.flush()


def http():
    from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_):
            pass

        def do_GET(self):
            self.send_response(405)
            self.send_header("Content-Length", "0")
            self.end_headers()

        do_DELETE = do_GET

        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers.get("Authorization") != "Bearer t0ken":
                self.send_response(401)
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            if self.path == "/elsewhere":
                self.send_response(307)
                self.send_header("Location", "/mcp")
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            message = json.loads(body)
            name = (message.get("params") or {}).get("name")
            if name in ("endless", "events"):
                self.without_end(name, message["id"])
                return
            reply = answer(message)
            if reply is None:
                self.send_response(202)
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            text = json.dumps(reply).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def without_end(self, name, key):
            start = json.dumps({"jsonrpc": "2.0", "id": key})[:-1]
            start += ', "result": {"content": [{"type": "text", "text": "'
            kind = "application/json"
            if name == "events":
                kind, start = "text/event-stream", "event: message\ndata: " + start
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.send_header("Connection", "close")
            self.end_headers()
            sent, more = len(start), b"x" * 65536
            try:
                self.wfile.write(start.encode())
                while sent < 1_000_000_000:
                    self.wfile.write(more)
                    sent += len(more)
            except OSError:
                pass
            SENT[name] = sent
            self.close_connection = True

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    print(server.server_address[1], flush=True)
    server.serve_forever()


http() if "--http" in sys.argv else stdio()
