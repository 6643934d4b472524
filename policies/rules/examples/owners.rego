# Files that a team owns, or that much depends on, are shown to a person.
package rules

ask contains {
	"id": "team.owned",
	"message": sprintf("%s belongs to %s", [file.path, concat(", ", file.owners)]),
	"evidence": file.path,
} if {
	some file in input.patch.files
	some owner in file.owners
	owner in data.ask_owners
}

ask contains {
	"id": "team.widely-used",
	"message": sprintf("%d files depend on it", [file.dependents]),
	"evidence": file.path,
} if {
	some file in input.patch.files
	file.dependents > 20
}

ask contains {
	"id": "team.undone-before",
	"message": "an earlier repair of this file was undone",
	"evidence": file.path,
} if {
	some file in input.patch.files
	file.earlier_rollbacks > 0
}
