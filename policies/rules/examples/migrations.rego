# Migrations belong to the data team, whoever the agent works for.
package rules

migration(path) if path_matches("**/migrations/**", path)

deny contains {
	"id": "team.migrations",
	"message": "migrations are written by the data team",
	"evidence": access.relative,
} if {
	some access in input.call.paths
	access.mode != "read"
	migration(access.relative)
}

deny contains {
	"id": "team.migrations",
	"message": "migrations are written by the data team",
	"evidence": file.path,
} if {
	some file in input.patch.files
	migration(file.path)
}
