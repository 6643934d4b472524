package guard

import rego.v1

default deny := false

text := lower(input.text)

deny if contains(text, "rm -rf")
deny if contains(text, "drop table")
deny if contains(text, "mkfs")
deny if contains(text, "dd of=")
deny if contains(text, "/dev/tcp/")
deny if contains(text, ".git/hooks")
deny if contains(text, "core.hookspath")
deny if regex.match(`\b(sudo|doas|pkexec)\b`, text)
deny if regex.match(`git\s+push\s+.*(--force|-f)\b`, text)
deny if {
	some command in input.commands
	command.program in {"nc", "ncat", "telnet", "ssh"}
}
