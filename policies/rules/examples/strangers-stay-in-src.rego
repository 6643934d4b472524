# What strangers' texts led to stays in src/.
package rules

deny contains {
	"id": "team.strangers-stay-in-src",
	"message": "what strangers ask for stays in src/",
	"evidence": access.path,
} if {
	input.context.trust == "external"
	some access in input.call.paths
	access.mode != "read"
	not startswith(access.relative, "src/") # also true where there is no relative path
}

deny contains {
	"id": "team.strangers-stay-in-src",
	"message": "what strangers ask for stays in src/",
	"evidence": file.path,
} if {
	input.context.trust == "external"
	some file in input.patch.files
	not startswith(file.path, "src/")
}
