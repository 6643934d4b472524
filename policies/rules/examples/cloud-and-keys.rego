# No cloud tools, no access keys, and no second try after three denials.
package rules

deny contains {
	"id": "team.cloud",
	"message": "cloud tools are for the operations team",
	"evidence": command.name,
} if {
	some command in input.call.commands
	regex.match(`^(aws|gcloud|az|kubectl|terraform)$`, command.name)
}

deny contains {
	"id": "team.access-key",
	"message": "this looks like an access key",
} if {
	regex.match(`\bAKIA[0-9A-Z]{16}\b`, input.call.input)
}

deny contains {
	"id": "team.access-key",
	"message": "this looks like an access key",
	"evidence": file.path,
} if {
	some file in input.patch.files
	some line in file.added
	regex.match(`\bAKIA[0-9A-Z]{16}\b`, line)
}

ask contains {
	"id": "team.stubborn",
	"message": "three of the run's last five calls were denied",
} if {
	input.call
	denied := [past | some past in array.slice(input.history, 0, 5); past.verdict == "deny"]
	count(denied) >= 3
}
