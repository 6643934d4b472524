# Large patches wait for a person; the limit is data, so that changing it needs no
# change of a rule.
package rules

ask contains {
	"id": "team.large-patch",
	"message": sprintf("%d lines change, more than %d", [input.patch.lines, data.most_lines]),
} if {
	input.patch.lines > data.most_lines
}
