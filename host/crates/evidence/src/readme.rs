//! `README.md`: what is in the pack, and the commands that check it.

use crate::page::one_line;
use crate::{Evidence, NamedCommit};

/// Checks every path to the root with nothing but Python's own library.
pub(crate) const CHECK_PROOFS: &str = r#"python3 - <<'CHECK'
import hashlib, json
h = lambda *parts: hashlib.sha256(b"".join(parts)).digest()
records = {r["seq"]: r["hash"] for r in map(json.loads, open("records.jsonl"))}
proofs = json.load(open("proof/inclusion.json"))
for p in proofs:
    assert records[p["index"]] == p["record"], ("another record", p["index"])
    node, i, last = h(b"\0", bytes.fromhex(p["record"])), p["index"], p["size"] - 1
    for sibling in map(bytes.fromhex, p["hashes"]):
        if i & 1 or i == last:
            node = h(b"\1", sibling, node)
            while not i & 1 and i:
                i, last = i >> 1, last >> 1
        else:
            node = h(b"\1", node, sibling)
        i, last = i >> 1, last >> 1
    assert last == 0 and node.hex() == p["root"], ("not in the log", p["index"])
assert len(proofs) == len(records), "a record has no proof"
print(len(proofs), "records are in the log")
CHECK
"#;

/// The text. Whatever somebody else wrote is one line of plain text in it.
pub(crate) fn readme(evidence: &Evidence<'_>, commits: &[NamedCommit]) -> String {
    let mut text = format!(
        "# Evidence of issue {}\n\n    {}\n\nMade by selfheal {}. Open `index.html` in any \
         browser to read it; it needs no network and runs no scripts.\n\n## Check it\n\nThat no \
         file of this archive was changed since it was made:\n\n    sha256sum --check \
         MANIFEST.sha256\n",
        evidence.issue.number.0,
        one_line(&evidence.issue.report.title),
        one_line(evidence.version)
    );
    if !commits.is_empty() {
        text.push_str(
            "\nThe commits, in the application's repository, with plain git (`verify-commit` \
             needs the installation's public key in `gpg.ssh.allowedSignersFile`):\n\n",
        );
        for NamedCommit { run, kind, commit } in commits {
            match *kind {
                "heal" | "rollback" => text.push_str(&format!(
                    "    git verify-commit {commit}   # run {run}: {kind}\n    git log -1 \
                     --format='%(trailers)' {commit}\n    git show {commit}\n"
                )),
                _ => text.push_str(&format!(
                    "    git cat-file -p {commit}   # run {run}: {kind}\n"
                )),
            }
        }
    }
    text.push_str(
        "\nThat the audit log is whole, on a copy of the data directory or an export of it, \
         without a running host:\n\n    selfheal audit verify --data DIR\n    selfheal audit \
         verify --from-export FILE\n",
    );
    if evidence.proofs.is_empty() {
        text.push_str(
            "\nThis pack holds no proofs of inclusion: the host published no signed log.\n",
        );
    } else {
        text.push_str(
            "\nThat every record of this archive is in the log under the root that the \
             installation signed (`proof/checkpoint-*.txt`, a C2SP signed note; \
             `proof/key.txt` is the key, which you should have from elsewhere), with nothing \
             but Python:\n\n",
        );
        for line in CHECK_PROOFS.lines() {
            text.push_str(&format!("    {line}\n"));
        }
        text.push_str(
            "\nA record's hash is the SHA-256 of its bytes in the log; `selfheal audit export` \
             prints them, and verifies them with `selfheal audit verify --from-export`.\n",
        );
    }
    text
}
