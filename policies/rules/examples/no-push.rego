# Only people push.
package rules

deny contains {
	"id": "team.no-push",
	"message": "only people push",
	"evidence": command.line,
	"alternative": "git status --short",
} if {
	some command in input.call.commands
	command.name == "git"
	"push" in command.words
}
