# No host but these.
package rules

deny contains {
	"id": "team.network",
	"message": "the host is not on the team's list",
	"evidence": host,
} if {
	some host in input.call.network
	not host in data.hosts
}
