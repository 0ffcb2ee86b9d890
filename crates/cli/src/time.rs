//! Lengths of time as people type them: `90s`, `10m`, `2h`.

use std::time::Duration;

/// Parses a length of time; zero is one.
pub(crate) fn length(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text).map_err(|_| {
        "not a length of time: write a number and a unit, such as 90s, 10m, 2h or 7days".to_owned()
    })
}

/// Parses a length of time in which something can happen.
pub(crate) fn some_length(text: &str) -> Result<Duration, String> {
    match length(text)? {
        Duration::ZERO => Err("no time at all: write more than 0, such as 10m or 2h".to_owned()),
        time => Ok(time),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_length_of_time_is_told_with_one_that_is() {
        for wrong in ["", "soon", "10", "-1h", "1 fortnight", "1h2"] {
            let told = length(wrong).unwrap_err();
            assert!(told.contains("90s"), "{wrong}: {told}");
        }
        assert_eq!(length("1m 30s"), Ok(Duration::from_secs(90)));
        assert_eq!(length("0s"), Ok(Duration::ZERO));
    }

    #[test]
    fn nothing_happens_within_no_time() {
        assert!(some_length("0s").unwrap_err().contains("more than 0"));
        assert_eq!(some_length("1ms"), Ok(Duration::from_millis(1)));
    }
}
