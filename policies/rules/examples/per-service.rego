# Some services need a record before they are trusted with a patch, one is frozen.
# There is no clock in a rule: a freeze is a setting that an admin flips.
package rules

deny contains {
	"id": "team.frozen",
	"message": sprintf("%s is frozen", [input.context.service]),
} if {
	input.patch
	input.context.service in data.frozen
}

ask contains {
	"id": "team.unproven",
	"message": sprintf("fewer than %d patches of %s stood", [data.streak, input.context.service]),
} if {
	input.patch
	input.context.service in data.careful
	input.context.earned.streak < data.streak
}
