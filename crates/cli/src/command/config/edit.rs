//! Changes to the text of `config.toml`: a person's comments around a setting stay.

use toml_edit::{Array, DocumentMut, RawString, Value};

/// A value as it is typed, of the kind that the setting has; the error goes on after its name.
pub(super) fn parse(default: &toml::Value, typed: &[String]) -> Result<Value, String> {
    if let toml::Value::Array(_) = default {
        // As in the environment, commas divide too.
        let each = typed.iter().flat_map(|typed| typed.split(','));
        let values = each.map(str::trim).filter(|value| !value.is_empty());
        return Ok(Value::Array(values.collect::<Array>()));
    }
    let [typed] = typed else {
        return Err("takes one value".to_owned());
    };
    match default {
        toml::Value::Boolean(_) => match typed.as_str() {
            "true" | "yes" | "on" => Ok(true.into()),
            "false" | "no" | "off" => Ok(false.into()),
            _ => Err(format!("is true or false, not `{typed}`")),
        },
        toml::Value::Integer(_) => {
            let number: i64 = typed
                .parse()
                .map_err(|_| format!("is a number, not `{typed}`"))?;
            Ok(number.into())
        }
        _ => Ok(typed.as_str().into()),
    }
}

/// The text with another value, or with the setting at its end.
pub(super) fn set(text: &str, key: &str, mut value: Value) -> Result<String, String> {
    let mut document = read(text)?;
    match document.get_mut(key).and_then(|item| item.as_value_mut()) {
        Some(old) => {
            *value.decor_mut() = old.decor().clone();
            *old = value;
        }
        None => {
            let is_first = document.is_empty();
            document.insert(key, value.into());
            if is_first && let Some(mut first) = document.key_mut(key) {
                // To the parser, comments without a setting are the end of the file.
                let end = if text.is_empty() || text.ends_with('\n') {
                    ""
                } else {
                    "\n"
                };
                first.leaf_decor_mut().set_prefix(format!("{text}{end}"));
                document.set_trailing("");
            }
        }
    }
    Ok(with_line_ends_of(text, &document))
}

/// The text without the setting. The comment above it stays where it is.
pub(super) fn unset(text: &str, key: &str) -> Result<String, String> {
    let mut document = read(text)?;
    let next = document
        .iter()
        .map(|(name, _)| name.to_owned())
        .skip_while(|name| name != key)
        .nth(1);
    let Some((removed, _)) = document.remove_entry(key) else {
        return Ok(text.to_owned());
    };
    let above = text_of(removed.leaf_decor().prefix());
    match next {
        Some(next) => {
            if let Some(mut next) = document.key_mut(&next) {
                let own = text_of(next.leaf_decor().prefix());
                next.leaf_decor_mut().set_prefix(above + &own);
            }
        }
        None => {
            let end = text_of(Some(document.trailing()));
            document.set_trailing(above + &end);
        }
    }
    Ok(with_line_ends_of(text, &document))
}

/// The document's text. Its own line ends are those of Unix, whatever it was read from.
fn with_line_ends_of(before: &str, document: &DocumentMut) -> String {
    let text = document.to_string();
    match before.contains("\r\n") {
        true => text.replace("\r\n", "\n").replace('\n', "\r\n"),
        false => text,
    }
}

fn read(text: &str) -> Result<DocumentMut, String> {
    text.parse().map_err(|error| format!("{error}"))
}

fn text_of(raw: Option<&RawString>) -> String {
    raw.and_then(RawString::as_str)
        .unwrap_or_default()
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "# mine\n\n# at home only\nmdns = true # really\n\n# the disk\ndisk_budget = \"20GB\"\n# the end\n";

    fn typed(default: &str, values: &[&str]) -> Result<Value, String> {
        let default: toml::Table = format!("x = {default}").parse().unwrap();
        let values: Vec<_> = values.iter().map(|value| (*value).to_owned()).collect();
        parse(&default["x"], &values)
    }

    #[test]
    fn comments_stay_where_they_are() {
        let set = set(FILE, "mdns", false.into()).unwrap();
        assert_eq!(set, FILE.replace("true", "false"));
        let unset = unset(FILE, "mdns").unwrap();
        assert_eq!(
            unset,
            "# mine\n\n# at home only\n\n# the disk\ndisk_budget = \"20GB\"\n# the end\n"
        );
        let last = super::unset(FILE, "disk_budget").unwrap();
        assert_eq!(
            last,
            "# mine\n\n# at home only\nmdns = true # really\n\n# the disk\n# the end\n"
        );
        assert_eq!(super::unset(FILE, "peers").unwrap(), FILE);
    }

    #[test]
    fn line_ends_stay_as_they_are() {
        let file = FILE.replace('\n', "\r\n");
        let set = set(&file, "mdns", false.into()).unwrap();
        assert_eq!(set, file.replace("true", "false"));
        let added = super::set(&file, "notify", false.into()).unwrap();
        assert!(added.contains("notify = false\r\n"), "{added:?}");
        assert!(
            !added.replace("\r\n", "").contains(['\r', '\n']),
            "{added:?}"
        );
        let unset = super::unset(&added, "notify").unwrap();
        assert_eq!(unset, file);
        assert_eq!(super::unset(&file, "peers").unwrap(), file);
    }

    #[test]
    fn a_new_setting_comes_to_the_end() {
        let list = typed("[]", &["a,b", "c"]).unwrap();
        let set = set(FILE, "auto_share", list).unwrap();
        assert!(
            set.contains("auto_share = [\"a\", \"b\", \"c\"]\n"),
            "{set}"
        );
        assert!(
            set.starts_with("# mine") && set.ends_with("# the end\n"),
            "{set}"
        );
        assert_eq!(
            super::set("", "mdns", true.into()).unwrap(),
            "mdns = true\n"
        );
        for file in ["# mine\n", "# mine"] {
            let set = super::set(file, "mdns", true.into()).unwrap();
            assert_eq!(set, "# mine\nmdns = true\n");
        }
    }

    #[test]
    fn values_are_of_the_settings_kind() {
        assert_eq!(typed("true", &["off"]).unwrap().as_bool(), Some(false));
        assert_eq!(typed("\"0\"", &["20GB"]).unwrap().as_str(), Some("20GB"));
        assert!(typed("true", &["perhaps"]).is_err());
        assert!(typed("\"0\"", &["1", "2"]).is_err());
    }
}
