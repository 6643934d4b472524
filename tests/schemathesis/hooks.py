"""What schemathesis cannot know of this API."""

import json
import re

import schemathesis
from schemathesis.openapi.checks import RejectedPositiveData


@schemathesis.serializer("application/wasm")
def wasm(ctx, value):
    """A module is sent as it is."""
    return value if isinstance(value, bytes) else str(value).encode()


# Rules that JSON Schema has no words for. What the schema allows and one of them refuses is
# no failure: a part of the answer's detail, and the rule.
RULES = {
    "at most 65536 are allowed": "texts are bounded in bytes, a schema counts characters",
    "(at character ": "a query has a grammar",
    "characters on one line": "the name of a view is bounded without the white space around it",
    "must be a time to come": "a snooze does not end in the past",
    "days away": "nor farther away than a year",
    "names nothing that is in this list": "the cursors of some lists are names of their items",
    "is not related to itself": "two places of a path may name one issue",
    "is above the ceiling": "the autonomy level ends at the ceiling of policy.toml",
    "is set by an admin after the report": "who may set a priority depends on the role",
    "cursor this cursor is not valid here": "the cursors of issues carry a checksum",
    "cannot hold": "what a token may be good for depends on the role",
    "was used before with another body": "a key is worth one request",
}


TAGS = re.compile(r'(\*|(W/)?"[!#-~]*"([ \t]*,[ \t]*(W/)?"[!#-~]*")*)')


def is_said_wrongly(case):
    """Whether this is no request of the schema, although schemathesis takes it for one.

    It does not look at the pattern of a header, nor at the length of bytes.
    """
    for name in ("If-Match", "If-None-Match"):
        if name in case.headers and not TAGS.fullmatch(str(case.headers[name])):
            return True
    return case.path.endswith("/modules") and not case.body


@schemathesis.hook
def filter_failure(context, failure, case, response):
    """Keeps the failures that are none of these."""
    if response.status_code == 412:
        # The tag is well-formed and of nothing that is there now.
        return False
    if not isinstance(failure, RejectedPositiveData):
        return True
    if response.status_code == 400:
        return not is_said_wrongly(case)
    if response.status_code != 422:
        return True
    if is_said_wrongly(case):
        return False
    problem = json.loads(response.content)
    if case.path.endswith(("/plan", "/activate", "/explanation")) and "errors" not in problem:
        # Every field is valid; what a policy.toml or a module's settings mean, modules say.
        return False
    return not any(part in problem["detail"] for part in RULES)
