//! Where a key stands in a TOML text, for errors that serde does not find.

use toml_edit::{Document, Item, TableLike};

/// Line of `key` (dotted; `service.web` is the table of that name in a list of tables),
/// counted from 1. Of a key that is not there, the line of the table that it belongs to.
pub(super) fn line(text: &str, key: &str) -> Option<usize> {
    let document = Document::parse(text).ok()?;
    let mut table: &dyn TableLike = document.as_table();
    let mut place = None;
    let mut parts = key.split('.');
    while let Some(part) = parts.next() {
        let Some((name, item)) = table.get_key_value(part) else {
            break;
        };
        place = name.span().or_else(|| item.span()).or(place);
        if let Some(tables) = item.as_array_of_tables() {
            let wanted = parts.next();
            let named = tables
                .iter()
                .filter(|table| table.get("name").and_then(Item::as_str) == wanted);
            let Some(named) = named.last() else {
                break;
            };
            place = named.span().or(place);
            table = named;
        } else if let Some(inner) = item.as_table_like() {
            table = inner;
        } else {
            break;
        }
    }
    let before = text.get(..place?.start)?;
    Some(before.matches('\n').count() + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_found_by_line() {
        let text = "# mine\n[agent]\nkind = 1\n\n[agent.external]\ncommand = []\n[[service]]\nname = \"a\"\n[[service]]\nname = \"b\"\nafter = []\n[[service]]\n";
        for (key, expected) in [
            ("agent", Some(2)),
            ("agent.kind", Some(3)),
            ("agent.external.command", Some(6)),
            ("agent.external.base_url", Some(5)),
            ("agent.nothing", Some(2)),
            ("service.a", Some(7)),
            ("service.b", Some(9)),
            ("service.b.after", Some(11)),
            ("nothing.at.all", None),
        ] {
            assert_eq!(line(text, key), expected, "{key}");
        }
        assert_eq!(line("not = = toml", "not"), None);
        assert_eq!(line("a.b = 1\nc = { d = 2 }\n", "c.d"), Some(2));
    }
}
