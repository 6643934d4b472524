//! Settings of a module, read strictly: an unknown key or a wrong type is an
//! error that names the choices, never a default in disguise.

use serde_json::{Map, Value};

/// The settings of `policy.toml`, as a JSON object.
#[derive(Clone, Debug, Default)]
pub struct Settings(Map<String, Value>);

impl Settings {
    /// Reads a JSON object; an empty text counts as `{}`.
    ///
    /// # Errors
    /// The text is not a JSON object.
    pub fn parse(json: &str) -> Result<Self, String> {
        if json.trim().is_empty() {
            return Ok(Self::default());
        }
        match serde_json::from_str(json) {
            Ok(Value::Object(map)) => Ok(Self(map)),
            Ok(_) => Err("settings are a table of key = value".into()),
            Err(error) => Err(format!("settings are not JSON: {error}")),
        }
    }

    /// Refuses keys that are not in `known`.
    ///
    /// # Errors
    /// Names the unknown key and the known ones.
    pub fn only(&self, known: &[&str]) -> Result<(), String> {
        match self.0.keys().find(|key| !known.contains(&key.as_str())) {
            None => Ok(()),
            Some(key) if known.is_empty() => {
                Err(format!("unknown setting `{key}`; this module has none"))
            }
            Some(key) => Err(format!(
                "unknown setting `{key}`; there are {}",
                known.join(", ")
            )),
        }
    }

    /// A list of texts, or `default`.
    ///
    /// # Errors
    /// The value is anything else.
    pub fn texts(&self, key: &str, default: &[&str]) -> Result<Vec<String>, String> {
        let Some(value) = self.0.get(key) else {
            return Ok(default.iter().map(|text| (*text).to_owned()).collect());
        };
        value
            .as_array()
            .and_then(|items| {
                items
                    .iter()
                    .map(|item| item.as_str().map(str::to_owned))
                    .collect()
            })
            .ok_or_else(|| format!("setting `{key}` is a list of texts, got {value}"))
    }

    /// A text, or none.
    ///
    /// # Errors
    /// The value is anything else.
    pub fn text(&self, key: &str) -> Result<Option<&str>, String> {
        match self.0.get(key) {
            None => Ok(None),
            Some(value) => value
                .as_str()
                .map(Some)
                .ok_or_else(|| format!("setting `{key}` is a text, got {value}")),
        }
    }

    /// The value as it stands, for a module that knows what to do with any.
    pub fn value(&self, key: &str) -> Option<&Value> {
        self.0.get(key)
    }

    /// A list of texts that are each one of `choices`, or `default`.
    ///
    /// # Errors
    /// The value is anything else.
    pub fn texts_of(
        &self,
        key: &str,
        default: &[&str],
        choices: &[&str],
    ) -> Result<Vec<String>, String> {
        let texts = self.texts(key, default)?;
        match texts.iter().find(|text| !choices.contains(&text.as_str())) {
            None => Ok(texts),
            Some(wrong) => Err(format!(
                "setting `{key}` takes {}, not {wrong:?}",
                choices.join(", ")
            )),
        }
    }

    /// A number from `low` to `high`, or `default`.
    ///
    /// # Errors
    /// The value is anything else.
    pub fn number(&self, key: &str, default: u64, low: u64, high: u64) -> Result<u64, String> {
        let Some(value) = self.0.get(key) else {
            return Ok(default);
        };
        value
            .as_u64()
            .filter(|number| (low..=high).contains(number))
            .ok_or_else(|| {
                format!("setting `{key}` is a whole number from {low} to {high}, got {value}")
            })
    }

    /// `true` or `false`, or `default`.
    ///
    /// # Errors
    /// The value is anything else.
    pub fn flag(&self, key: &str, default: bool) -> Result<bool, String> {
        let Some(value) = self.0.get(key) else {
            return Ok(default);
        };
        value
            .as_bool()
            .ok_or_else(|| format!("setting `{key}` is true or false, got {value}"))
    }

    /// One of `choices`, or the first of them.
    ///
    /// # Errors
    /// The value is anything else.
    pub fn choice<'a>(&self, key: &str, choices: &[&'a str]) -> Result<&'a str, String> {
        let found = match self.0.get(key) {
            None => choices.first(),
            Some(value) => choices.iter().find(|choice| value.as_str() == Some(choice)),
        };
        found
            .copied()
            .ok_or_else(|| format!("setting `{key}` is one of {}", choices.join(", ")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrong_settings_say_what_may_stand_there() {
        let settings = Settings::parse(
            r#"{"max": 900, "names": ["a", 1], "mode": "x", "odd": 1, "on": "yes"}"#,
        )
        .unwrap();
        assert_eq!(
            settings.number("max", 1, 1, 500).unwrap_err(),
            "setting `max` is a whole number from 1 to 500, got 900"
        );
        assert!(
            settings
                .texts("names", &[])
                .unwrap_err()
                .contains("list of texts")
        );
        assert_eq!(
            settings.choice("mode", &["deny", "ask"]).unwrap_err(),
            "setting `mode` is one of deny, ask"
        );
        assert!(settings.texts_of("names", &[], &["a"]).is_err());
        assert!(
            settings
                .flag("on", true)
                .unwrap_err()
                .contains("true or false")
        );
        assert_eq!(
            settings.only(&["max", "names", "mode", "on"]).unwrap_err(),
            "unknown setting `odd`; there are max, names, mode, on"
        );
        assert_eq!(
            settings.text("max").unwrap_err(),
            "setting `max` is a text, got 900"
        );
        assert!(Settings::parse("[]").is_err());
        assert!(Settings::parse("{").is_err());
    }

    #[test]
    fn absent_settings_are_defaults() {
        let settings = Settings::parse("").unwrap();
        assert_eq!(settings.number("max", 7, 1, 500), Ok(7));
        assert_eq!(settings.texts("names", &["a"]), Ok(vec!["a".to_owned()]));
        assert_eq!(settings.choice("mode", &["deny", "ask"]), Ok("deny"));
        assert_eq!(settings.flag("on", true), Ok(true));
        assert_eq!(settings.text("rules"), Ok(None));
        assert_eq!(settings.value("rules"), None);
    }
}
