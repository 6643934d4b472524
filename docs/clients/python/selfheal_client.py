#!/usr/bin/env python3
"""Reports an issue, follows it to its end, and lists what one has reported.

    export SELFHEAL_URL=http://127.0.0.1:7700 SELFHEAL_TOKEN=sfh_…
    python3 selfheal_client.py "Checkout shows 500" "Paying with an empty cart answers 500."

Needs Python 3.11 and nothing else. What it sends and reads is held against the host's
OpenAPI document when the project is tested.
"""

from __future__ import annotations

import http.client
import json
import os
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
import uuid
from collections.abc import Iterator
from typing import Any, NotRequired, TypedDict


class FieldError(TypedDict):
    field: str
    message: str


class Problem(TypedDict):
    type: str
    title: str
    status: int
    detail: str
    errors: NotRequired[list[FieldError]]


class ReportRequest(TypedDict):
    title: str
    description: str
    stepsToReproduce: NotRequired[str]
    expectedBehavior: NotRequired[str]
    actualBehavior: NotRequired[str]
    service: NotRequired[str]
    source: NotRequired[str]


class Issue(TypedDict):
    id: str
    number: int
    version: int
    title: str
    description: str
    status: str
    reportedBy: str
    severity: str
    priority: str
    createdAt: str
    updatedAt: str
    rejectionReason: NotRequired[str]
    rootCause: NotRequired[str]


class IssueSummary(TypedDict):
    id: str
    number: int
    title: str
    status: str
    reportedBy: str


class Event(TypedDict):
    seq: int
    at: str
    actor: str
    type: str
    summary: str


class Refused(Exception):
    """What the host refused, and why: every refusal is application/problem+json."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        fields = [f"{error['field']} {error['message']}" for error in problem.get("errors", [])]
        why = "; ".join(fields) or problem["detail"]
        super().__init__(f"{problem['status']} {problem['title']}: {why}")


class Client:
    """A host, and who asks it."""

    def __init__(self, url: str, token: str) -> None:
        self.url = url.rstrip("/")
        self.token = token

    def open(
        self,
        method: str,
        path: str,
        body: Any = None,
        headers: dict[str, str] | None = None,
    ) -> http.client.HTTPResponse:
        """The answer to a request under /api/v1."""
        request = urllib.request.Request(f"{self.url}/api/v1{path}", method=method)
        request.add_header("Authorization", f"Bearer {self.token}")
        for name, value in (headers or {}).items():
            request.add_header(name, value)
        if body is not None:
            request.add_header("Content-Type", "application/json")
            request.data = json.dumps(body).encode()
        try:
            return urllib.request.urlopen(request, timeout=60)
        except urllib.error.HTTPError as error:
            raise Refused(json.load(error)) from None

    def send(
        self,
        method: str,
        path: str,
        body: Any = None,
        headers: dict[str, str] | None = None,
    ) -> Any:
        """The JSON of an answer."""
        with self.open(method, path, body, headers) as answer:
            return json.load(answer)

    def report(self, report: ReportRequest) -> Issue:
        """Sends a report. A key of its own makes it count once, however often it is sent."""
        return self.send("POST", "/issues", report, {"Idempotency-Key": str(uuid.uuid4())})

    def issues(self, limit: int = 50) -> Iterator[IssueSummary]:
        """All issues that one may see, page by page."""
        query: dict[str, Any] = {"limit": limit}
        while True:
            page = self.send("GET", f"/issues?{urllib.parse.urlencode(query)}")
            yield from page["items"]
            if "nextCursor" not in page:
                return
            query["cursor"] = page["nextCursor"]

    def follow(self, issue: int) -> Iterator[Event]:
        """Everything that happened and happens to an issue, over any number of connections."""
        last: dict[str, str] = {}
        while True:
            try:
                with self.open("GET", f"/issues/{issue}/stream", headers=last) as stream:
                    for event_id, event in events(stream):
                        yield event
                        last = {"Last-Event-ID": event_id}
            except (OSError, http.client.HTTPException):
                pass
            # The connection ended: go on after the last event that came whole.
            time.sleep(1)


def events(stream: http.client.HTTPResponse) -> Iterator[tuple[str, Event]]:
    """The records of a stream of server-sent events; notes on progress have no id."""
    event: dict[str, str] = {}
    for line in stream:
        name, _, value = line.decode().rstrip("\n").partition(": ")
        if name:
            event[name] = value
            continue
        if "id" in event and "data" in event:
            yield event["id"], json.loads(event["data"])
        event = {}


ENDS = ("issue.resolved", "issue.rejected", "issue.aborted")


def main(client: Client, title: str, description: str) -> None:
    issue = client.report({"title": title, "description": description, "source": "api"})
    print(f"reported as issue {issue['number']}, which is {issue['status']}", flush=True)
    for event in client.follow(issue["number"]):
        print(f"{event['type']}: {event['summary']}", flush=True)
        if event["type"] in ENDS:
            break
    for summary in client.issues(limit=2):
        print(summary["number"], summary["status"], summary["title"])


if __name__ == "__main__":
    url = os.environ.get("SELFHEAL_URL", "http://127.0.0.1:7700")
    try:
        main(Client(url, os.environ.get("SELFHEAL_TOKEN", "")), *sys.argv[1:3])
    except Refused as refused:
        sys.exit(str(refused))
