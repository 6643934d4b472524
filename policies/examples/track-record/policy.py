"""track-record: a risk module in Python. A patch is risky where earlier heals were
undone, where much depends on the file, and where somebody owns it.
"""

import json

import wit_world
from wit_world import exports
from wit_world.imports import types as t

from selfheal import context, example, patch, settings_of

SCHEMA = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "points_per_rollback": {"type": "integer", "minimum": 0, "maximum": 100, "description": "Points for each earlier heal of a file that was undone"},
        "many_dependents": {"type": "integer", "minimum": 1, "description": "Files that import a changed one from which on it counts"},
        "careful_owners": {"type": "array", "items": {"type": "string"}, "description": "Owners whose files are touched with care"},
    },
}

DEFAULTS = {"points_per_rollback": 30, "many_dependents": 10, "careful_owners": ["@payments", "@security"]}
settings = DEFAULTS


def factor(name, points, evidence):
    return t.Factor(name=f"track-record.{name}", points=points, evidence=evidence)


class Assess(exports.Assess):
    def assess(self, ctx, patch):
        factors = []
        for file in patch.files:
            if file.earlier_rollbacks:
                points = min(60, file.earlier_rollbacks * settings["points_per_rollback"])
                factors.append(factor("undone-before", points, f"{file.path}: {file.earlier_rollbacks} heals were undone"))
            if file.dependents >= settings["many_dependents"]:
                factors.append(factor("blast-radius", 25, f"{file.path}: {file.dependents} files import it"))
            owners = [owner for owner in file.owners if owner in settings["careful_owners"]]
            if owners:
                factors.append(factor("owned", 35, f"{file.path}: {', '.join(owners)}"))
        if factors and ctx.earned.streak >= 10:
            # A long streak takes the edge off, never the reason away.
            factors = [t.Factor(name=each.name, points=each.points * 3 // 4, evidence=each.evidence) for each in factors]
        return t.Assessment(score=min(100, sum(each.points for each in factors)), factors=factors)


class WitWorld(wit_world.WitWorld):
    def configure(self, text):
        global settings
        settings = settings_of(text, DEFAULTS)

    def describe(self):
        def of(**facts):
            question = patch("shop/cart.py", ["return a - b"], ["return a + b"])
            for name, value in facts.items():
                setattr(question.value.files[0], name, value)
            return question

        earned = t.TrackRecord(healed=12, failed=0, rolled_back=0, streak=12)
        return t.Description(
            name="track-record",
            version="1.0.0",
            kind=t.Kind.RISK,
            settings_schema=json.dumps(SCHEMA),
            examples=[
                example("nothing is known", of(), (0, 0)),
                example("undone before", of(earlier_rollbacks=2), (60, 60)),
                example("many depend on it", of(dependents=40), (25, 25)),
                example("payments own it", of(owners=["@payments"]), (35, 35)),
                example("a streak takes the edge off", of(dependents=40), (15, 24), given=context(earned=earned)),
                example("the settings count", of(earlier_rollbacks=1), (5, 5), settings={"points_per_rollback": 5}),
            ],
        )
