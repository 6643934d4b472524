# A new dependency is a person's choice: neither installed nor written down.
package rules

manifests := ["package.json", "Cargo.toml", "pyproject.toml", "requirements*.txt", "go.mod"]

installers := {"pip", "npm", "cargo", "go"}

deny contains {
	"id": "team.no-new-dependencies",
	"message": sprintf("%s adds a dependency", [command.name]),
	"evidence": command.line,
} if {
	some command in input.call.commands
	command.name in installers
	some word in command.words
	word in {"install", "add", "get"}
}

ask contains {
	"id": "team.manifest",
	"message": "a manifest of dependencies changes",
	"evidence": file.path,
} if {
	some file in input.patch.files
	some pattern in manifests
	path_matches(pattern, file.path)
}
