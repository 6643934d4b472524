"""Runs the Python client example and holds whatever it sends and reads against the host's
OpenAPI document, and the types that it declares.

    client.py SELFHEAL_CLIENT.PY [ARGUMENT…]
"""

import importlib.util
import json
import os
import re
import sys
import typing
import urllib.request

import jsonschema_rs

path, *arguments = sys.argv[1:]
spec = importlib.util.spec_from_file_location("selfheal_client", path)
module = importlib.util.module_from_spec(spec)
sys.modules["selfheal_client"] = module
spec.loader.exec_module(module)
client = vars(module)
Client = client["Client"]
document = None


def validator(schema):
    whole = {**schema, "components": document["components"]}
    return jsonschema_rs.Draft202012Validator(whole, validate_formats=True)


def operation_of(method, place):
    for template, operations in document["paths"].items():
        if re.fullmatch(re.sub(r"{[^}]*}", "[^/]+", template), place):
            if method.lower() in operations:
                return operations[method.lower()]
    sys.exit(f"the document has no {method} {place}")


def resolved(part):
    if "$ref" not in part:
        return part
    found = document
    for name in part["$ref"].removeprefix("#/").split("/"):
        found = found[name]
    return found


def check_types():
    """Every field that the client declares is one of the schema, and required where it says so."""
    for name in ("Problem", "FieldError", "ReportRequest", "Issue", "IssueSummary", "Event"):
        schema = document["components"]["schemas"][name]
        hints = typing.get_type_hints(client[name], include_extras=True)
        for field, hint in hints.items():
            if field not in schema["properties"]:
                sys.exit(f"{name}.{field} is not in the document")
            optional = typing.get_origin(hint) is typing.NotRequired
            if not optional and field not in schema["required"]:
                sys.exit(f"{name}.{field} may be absent")


plain = Client.open


def checked(self, method, place, body=None, headers=None):
    global document
    if document is None:
        with urllib.request.urlopen(f"{self.url}/api/v1/openapi.json", timeout=60) as answer:
            document = json.load(answer)
        check_types()
    where, _, query = place.partition("?")
    operation = operation_of(method, f"/api/v1{where}")
    declared = {parameter["name"].lower() for parameter in operation.get("parameters", [])}
    sent = [pair.partition("=")[0].lower() for pair in query.split("&") if pair]
    for name in sent + [name.lower() for name in headers or {}]:
        if name not in declared:
            sys.exit(f"{method} {where} takes no {name}")
    refused = client["Refused"]
    try:
        answer = plain(self, method, place, body, headers)
    except refused as problem:
        schema = operation["responses"][str(problem.problem["status"])]
        schema = resolved(schema)["content"]["application/problem+json"]["schema"]
        validator(schema).validate(problem.problem)
        raise
    if body is not None:
        validator(operation["requestBody"]["content"]["application/json"]["schema"]).validate(body)
    content = operation["responses"][str(answer.status)]["content"]
    if "application/json" not in content:
        return answer
    read = answer.read
    schema = content["application/json"]["schema"]

    def read_and_check(*arguments):
        text = read(*arguments)
        if text:
            validator(schema).validate(json.loads(text))
        return text

    answer.read = read_and_check
    return answer


Client.open = checked
try:
    client["main"](Client(os.environ["SELFHEAL_URL"], os.environ["SELFHEAL_TOKEN"]), *arguments)
except client["Refused"] as refused:
    sys.exit(str(refused))
