#!/usr/bin/env python3
"""Reports issues to a Selfheal host: shows first, sends only what was shown.

Address from SELFHEAL_URL, token from SELFHEAL_TOKEN. Exit codes: 0 done, 2 wrong report
or command, 3 the account may not, 4 the host does not answer.
"""

import argparse
import hashlib
import ipaddress
import json
import os
import sys
import urllib.error
import urllib.parse
import urllib.request

NEEDED = {
    "title": "what is wrong, in one line",
    "description": "what happened, when, since when",
    "stepsToReproduce": "what to do to see it",
    "expectedBehavior": "what should have happened",
    "actualBehavior": "what happened instead",
}
MORE = {"service": "which part is affected", "category": "what kind of problem it is"}
CATEGORIES = ["bug", "reliability", "performance", "scalability", "auditability", "governance"]
TITLE_CHARS = 200
TEXT_BYTES = 64 * 1024
ANSWER_BYTES = 8 * 1024 * 1024
SECONDS = 30

PLAIN = {
    "OPEN": "It was reported; an admin will look at it.",
    "APPROVED": "An admin agreed that it should be repaired; the search for the cause begins.",
    "DIAGNOSING": "The cause is being looked for.",
    "DIAGNOSED": "The cause was found; a fix is being made.",
    "PATCH_PENDING": "There is a fix; an admin is looking at it.",
    "PATCHING": "The fix is being put in place.",
    "VERIFYING": "The fix is in place and is being checked.",
    "RESOLVED": "It is repaired.",
    "FAILED": "The fix did not work and was taken back.",
    "ESCALATED": "No fix was found by itself; people have to look at it.",
    "REJECTED": "An admin decided not to have it repaired.",
    "ABORTED": "An admin stopped the repair.",
}


class Problem(Exception):
    """What is wrong, and with which code to end."""

    def __init__(self, code, message):
        super().__init__(message)
        self.code = code


class Host:
    """The API of one host, for one account."""

    def __init__(self):
        self.url = os.environ.get("SELFHEAL_URL", "http://127.0.0.1:7700").rstrip("/")
        self.token = os.environ.get("SELFHEAL_TOKEN", "")
        if not self.token:
            raise Problem(2, "SELFHEAL_TOKEN is not set: set it to the token of your account")
        parts = urllib.parse.urlsplit(self.url)
        if parts.scheme != "https" and not (parts.scheme == "http" and is_loopback(parts.hostname)):
            raise Problem(2, f"SELFHEAL_URL is {self.url!r}: it must be https, or http on this machine")
        # The token goes to that address and nowhere else: no proxy, no redirect.
        self.opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), NoRedirect())

    def call(self, method, path, body=None, key=None):
        headers = {"Authorization": f"Bearer {self.token}", "Accept": "application/json"}
        data = None
        if body is not None:
            data = json.dumps(body).encode()
            headers["Content-Type"] = "application/json"
        if key is not None:
            headers["Idempotency-Key"] = key
        request = urllib.request.Request(f"{self.url}/api/v1{path}", data, headers, method=method)
        try:
            with self.opener.open(request, timeout=SECONDS) as answer:
                return json.loads(answer.read(ANSWER_BYTES))
        except urllib.error.HTTPError as error:
            raise Problem(3 if error.code in (401, 403) else 2, refusal(error)) from None
        except (OSError, ValueError) as error:
            reason = getattr(error, "reason", error)
            raise Problem(4, f"{self.url} does not answer ({reason}): is the host running?") from None


class NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_):
        return None


def is_loopback(host):
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host or "").is_loopback
    except ValueError:
        return False


def refusal(error):
    """The host's own words, of problem+json where it gave that."""
    try:
        problem = json.loads(error.read(ANSWER_BYTES))
        lines = [str(problem.get("detail") or problem.get("title") or error.reason)]
        lines += [f"{wrong['field']}: {wrong['message']}" for wrong in problem.get("errors", [])]
        return "\n".join(lines)
    except (ValueError, AttributeError, KeyError, TypeError):
        return f"the host answered {error.code} {error.reason}"


def load(path):
    """The report in a file; every field that is wrong is named."""
    try:
        with open(path, encoding="utf-8") as file:
            report = json.load(file)
    except (OSError, ValueError) as error:
        raise Problem(2, f"{path} cannot be read as JSON: {error}") from None
    if not isinstance(report, dict):
        raise Problem(2, f"{path} must hold one JSON object with the fields of the report")
    wrong = []
    for field, text in report.items():
        if field not in NEEDED and field not in MORE:
            wrong.append(f"{field}: is no field of a report; valid are {', '.join([*NEEDED, *MORE])}")
        elif not isinstance(text, str):
            wrong.append(f"{field}: must be a text")
        elif len(text.encode("utf-8", "surrogatepass")) > TEXT_BYTES:
            wrong.append(f"{field}: has more than {TEXT_BYTES} bytes")
        elif "\0" in text:
            wrong.append(f"{field}: must not contain a NUL character")
    for field, meaning in NEEDED.items():
        text = report.get(field, "")
        if isinstance(text, str) and not text.strip():
            wrong.append(f"{field}: is missing ({meaning})")
    title = report.get("title")
    if isinstance(title, str) and ("\n" in title or "\r" in title):
        wrong.append("title: must be one line")
    if isinstance(title, str) and len(title) > TITLE_CHARS:
        wrong.append(f"title: has {len(title)} characters; at most {TITLE_CHARS} are allowed")
    if "category" in report and report["category"] not in CATEGORIES:
        wrong.append(f"category: must be one of {', '.join(CATEGORIES)}")
    if wrong:
        raise Problem(2, "\n".join(wrong))
    return {field: report[field] for field in [*NEEDED, *MORE] if field in report}


def code_of(report):
    """Changes with every letter of the report, and with the address it goes to."""
    url = os.environ.get("SELFHEAL_URL", "")
    whole = json.dumps([url, report], sort_keys=True).encode()
    return hashlib.sha256(whole).hexdigest()[:12]


def options(host, _):
    session = host.call("GET", "/session")
    role = session["role"].lower()
    print(f"You are {session['username']} ({role}) on {host.url}.")
    if role == "guest":
        print("A guest can neither report nor see issues; an admin can give you another role.")
        return
    print("You can:")
    if role != "auditor":
        print("- report something that is broken; an admin decides whether it is repaired")
    print("- see how your issues are doing" if role == "user" else "- see how all issues are doing")


def show(host, arguments):
    report = load(arguments.file)
    for field, text in report.items():
        print(f"{field}:\n{text}\n")
    words = urllib.parse.quote(report["title"])
    alike = host.call("GET", f"/issues?limit=5&q={words}").get("items", [])
    print("Issues that look alike:" if alike else "No issue looks alike.")
    for issue in alike:
        print(line(issue))
    print(f"\nNot sent. Code of this report: {code_of(report)}")


def send(host, arguments):
    report = load(arguments.file)
    code = code_of(report)
    if arguments.shown != code:
        raise Problem(
            2,
            f"{arguments.shown!r} is not the code of {arguments.file} as it is now: "
            "show the report again, and ask again whether to send it",
        )
    issue = host.call("POST", "/issues", {**report, "source": "skill"}, key=f"skill-{code}")
    print(f"Sent as issue {issue['number']}: {host.url}/issues/{issue['number']}")


def comment(host, arguments):
    try:
        with open(arguments.file, encoding="utf-8") as file:
            text = file.read(TEXT_BYTES + 1)
    except (OSError, ValueError) as error:
        raise Problem(2, f"{arguments.file} cannot be read: {error}") from None
    host.call("POST", f"/issues/{arguments.number}/comments", {"content": text})
    print(f"Commented on issue {arguments.number}: {host.url}/issues/{arguments.number}")


def follow(host, arguments):
    issue = host.call("GET", f"/issues/{arguments.number}")
    print(line(issue))
    print(PLAIN.get(issue["status"], issue["status"]))
    if issue.get("rejectionReason"):
        print(f"Because: {issue['rejectionReason']}")


def mine(host, _):
    items = host.call("GET", "/issues?limit=50").get("items", [])
    for issue in items:
        print(line(issue))
    if not items:
        print("There are no issues that you can see.")


def line(issue):
    return f"{issue['number']}  {issue['status']}  {issue['title']}"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(name, run, text):
        added = commands.add_parser(name, help=text, description=text)
        added.set_defaults(run=run)
        return added

    command("options", options, "says who you are and what you can do")
    command("show", show, "checks a report and prints it as it would be sent").add_argument("file")
    sending = command("send", send, "sends a report that was shown")
    sending.add_argument("file")
    sending.add_argument("--shown", required=True, metavar="CODE", help="what `show` printed last")
    commenting = command("comment", comment, "adds the text of a file to an issue")
    commenting.add_argument("number", type=int)
    commenting.add_argument("file")
    command("follow", follow, "says where an issue stands").add_argument("number", type=int)
    command("mine", mine, "lists the issues that you can see")
    arguments = parser.parse_args()
    try:
        arguments.run(Host(), arguments)
    except Problem as problem:
        print(f"error: {problem}", file=sys.stderr)
        return problem.code
    return 0


if __name__ == "__main__":
    sys.exit(main())
