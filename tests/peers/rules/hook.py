"""A pre-tool-use hook as agents start one for each call: JSON in, exit code out."""
import json
import re
import sys

RULES = [
    r"rm -rf", r"drop table", r"mkfs", r"dd of=", r"/dev/tcp/", r"\.git/hooks", r"core\.hookspath",
    r"\b(sudo|doas|pkexec)\b", r"git\s+push\s+.*(--force|-f)\b",
]

question = json.load(sys.stdin)
text = question["text"].lower()
denied = any(re.search(rule, text) for rule in RULES)
denied = denied or any(c["program"] in {"nc", "ncat", "telnet", "ssh"} for c in question["commands"])
sys.exit(2 if denied else 0)
