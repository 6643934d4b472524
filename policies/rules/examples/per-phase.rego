# While diagnosing nothing is built and nothing is written.
package rules

builders := {"make", "cargo", "npm", "gradle", "docker"}

deny contains {
	"id": "team.look-only",
	"message": "diagnosis only looks",
	"evidence": command.line,
} if {
	input.context.phase == "diagnosis"
	some command in input.call.commands
	command.name in builders
}

deny contains {
	"id": "team.look-only",
	"message": "diagnosis only looks",
} if {
	input.context.phase == "diagnosis"
	input.call.tool in {"Write", "Edit"}
}
