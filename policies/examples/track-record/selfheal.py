"""Small words that make a policy short. Belongs to the project: change it freely.

The types are those of wit/types.wit: records are dataclasses with snake_case fields,
an option is the value or None, an enum case is as in Environment.DEV, a variant case
a class as in Verdict_Deny.
"""

import json
import re
from fnmatch import translate

from componentize_py_types import Err
from wit_world.imports import types as t


def _reason(rule, message, shows, instead):
    evidence = None if shows is None else t.Evidence(text=shows[:200], span=None)
    return t.Reason(rule=rule, message=message, evidence=evidence, alternative=instead)


def allow():
    return t.Verdict_Allow()


def ask(rule, message, shows=None, instead=None):
    """`shows` is what decided; `instead` is itself allowed."""
    return t.Verdict_Ask(_reason(rule, message, shows, instead))


def deny(rule, message, shows=None, instead=None):
    """`shows` is what decided; `instead` is itself allowed."""
    return t.Verdict_Deny(_reason(rule, message, shows, instead))


def apply(why):
    return t.Decision(action=t.Action_Apply(), reason=why)


def review(why, admins=1):
    return t.Decision(action=t.Action_Review(admins), reason=why)


def stop(why):
    return t.Decision(action=t.Action_Stop(), reason=why)


def admit(why):
    return t.Admission_Admit(why)


def needs_admin(rule, message):
    return t.Admission_NeedsAdmin(_reason(rule, message, None, None))


def program_names(command):
    """Names of the program that runs: as written, and of the file that it leads to, as in `rm` for `/bin/rm`."""
    return [path.rsplit("/", 1)[-1] for path in (command.program.text, command.resolved) if path]


def command_text(command):
    """The command in one line, for evidence."""
    return " ".join(word.text for word in [command.program, *command.arguments])


def settings_of(text, defaults):
    """Settings of policy.toml over `defaults`. An unknown key or another type is refused."""
    given = json.loads(text or "{}")
    for key, value in given.items():
        if key not in defaults:
            raise Err(f"unknown setting `{key}`; there are {', '.join(defaults)}")
        wanted = defaults[key]
        fits = type(value) is type(wanted)
        if fits and isinstance(wanted, list):
            fits = all(isinstance(item, str) for item in value)
        if not fits:
            what = "a list of texts" if isinstance(wanted, list) else f"a {type(wanted).__name__}"
            raise Err(f"setting `{key}` is {what}, got {json.dumps(value)}")
    return {**defaults, **given}


def matches(pattern, path):
    """`*` stays within a component, `**` crosses them; a pattern without `/` matches any component's name."""
    if "/" not in pattern:
        expression = re.compile(translate(pattern), re.IGNORECASE)
        return any(expression.match(part) for part in path.split("/"))
    parts = re.split(r"(\*\*/?|\*|\?)", pattern)
    words = {"*": "[^/]*", "?": "[^/]", "**": ".*", "**/": ".*"}
    expression = "".join(words.get(part) or re.escape(part) for part in parts)
    return re.fullmatch(expression, path, re.IGNORECASE) is not None


# Facts for examples. The host makes the real ones.


def context(**other):
    """Drafting in production at level 2, led here by a member's report."""
    fields = dict(
        run=None,
        phase=t.Phase.DRAFTING,
        environment=t.Environment.PRODUCTION,
        level=t.AutonomyLevel.AUTO_LOW,
        actor="engine:builtin",
        trust=t.Trust.MEMBER,
        service=None,
        earned=t.TrackRecord(healed=0, failed=0, rolled_back=0, streak=0),
        counters=t.Counters(tool_calls=0, denied=0, files_written=0, bytes_written=0, seconds=0),
    )
    return t.Context(**{**fields, **other})


def bash(command):
    """A `Bash` call; words are split at blanks, for plain commands only."""
    words = [t.Word(text=word, certain=True) for word in command.split(" ")]
    simple = t.SimpleCommand(program=words[0], resolved=None, arguments=words[1:], certain=True)
    call = t.ToolCall(
        tool="Bash",
        input=json.dumps({"command": command}),
        commands=[simple],
        parsed=True,
        paths=[],
        network=[],
        bytes=0,
    )
    return t.Question_ToolCall(call)


def _patch(path, removed, added):
    lines = [f"--- a/{path}", f"+++ b/{path}", "@@ -1 +1 @@"]
    lines += [f"-{line}" for line in removed] + [f"+{line}" for line in added]
    file = t.PatchFile(
        path=path,
        change=t.ChangeKind.MODIFIED,
        added=added,
        removed=removed,
        test=False,
        protected=False,
        dependents=0,
        owners=[],
        earlier_heals=0,
        earlier_rollbacks=0,
    )
    return t.Patch(
        digest="0" * 64,
        diff="\n".join(lines) + "\n",
        files=[file],
        claimed_confidence=0.9,
        reproduction_proved=True,
        rivals=0,
        severity="MEDIUM",
    )


def patch(path, removed, added):
    """A patch of one file."""
    return t.Question_Patch(_patch(path, removed, added))


def assessed(path, score):
    """A patch that got `score`."""
    assessment = t.Assessment(score=score, factors=[])
    return t.Question_Assessed(t.AssessedPatch(patch=_patch(path, ["a - b"], ["a + b"]), assessment=assessment))


def issue(severity, category, trust):
    """An issue that waits for approval."""
    return t.Question_Issue(t.Issue(number=1, severity=severity, category=category, source="web", trust=trust))


_EXPECTATIONS = {
    "allow": t.Expectation_Allow,
    "ask": t.Expectation_Ask,
    "deny": t.Expectation_Deny,
    "apply": t.Expectation_Apply,
    "review": t.Expectation_Review,
    "stop": t.Expectation_Stop,
    "admit": t.Expectation_Admit,
    "needs-admin": t.Expectation_NeedsAdmin,
}


def example(name, question, expect, settings=None, given=None):
    """One promise of `describe`. `expect` is as in "allow", or (lowest, highest) score."""
    expectation = t.Expectation_Score(expect) if isinstance(expect, tuple) else _EXPECTATIONS[expect]()
    return t.Example(
        name=name,
        settings=None if settings is None else json.dumps(settings),
        context=given or context(),
        question=question,
        expect=expectation,
    )
