"""Checks that every example of an OpenAPI document is what its schema accepts.

    examples.py < openapi.json
"""

import json
import sys

import jsonschema_rs

document = json.load(sys.stdin)
checked = 0
wrong = []


def check(place, holder):
    global checked
    if "schema" not in holder:
        return
    schema = {**holder["schema"], "components": document["components"]}
    validator = jsonschema_rs.Draft202012Validator(schema, validate_formats=True)
    examples = [example["value"] for example in holder.get("examples", {}).values()]
    if "example" in holder:
        examples.append(holder["example"])
    for example in examples:
        checked += 1
        for error in validator.iter_errors(example):
            wrong.append(f"{place}: {error.message}")


def walk(place, value):
    if isinstance(value, dict):
        check(place, value)
        for name, part in value.items():
            walk(f"{place} {name}", part)
    elif isinstance(value, list):
        for part in value:
            walk(place, part)


walk("", document["paths"])
walk("", document["components"]["responses"])
for line in wrong:
    print(line)
print(f"{checked} examples, {len(wrong)} errors")
sys.exit(1 if wrong or checked < 200 else 0)
