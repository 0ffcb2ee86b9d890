//! Paths in commands that a message tells a person to run.

use std::path::Path;

/// The path as one word of a shell's command line.
pub fn shell_word(path: &Path) -> String {
    let text = path.to_string_lossy();
    // No path has a NUL, the only thing that a shell can't be given.
    shlex::try_quote(&text).map_or_else(|_| text.to_string(), |word| word.into_owned())
}

/// The path with something behind it, as one word.
pub(crate) fn with_suffix(path: &Path, suffix: &str) -> String {
    let mut whole = path.as_os_str().to_owned();
    whole.push(suffix);
    shell_word(Path::new(&whole))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_one_word_whatever_is_in_it() {
        for path in [
            "/tmp/sp home",
            "/a'b",
            "/a\"b",
            "/$(x)",
            "/a;b",
            "/a\\b",
            "/new\nline",
            "/ü",
        ] {
            let word = shell_word(Path::new(path));
            assert_eq!(shlex::split(&word), Some(vec![path.to_owned()]), "{word}");
        }
        assert_eq!(shell_word(Path::new("/home/a-b.c_d/x")), "/home/a-b.c_d/x");
    }
}
