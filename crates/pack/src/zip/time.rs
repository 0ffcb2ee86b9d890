//! Zip's times: local, two-second steps, from 1980 to 2107.
//!
//! No zone is recorded, so all are taken as UTC: a member's time comes out as it went in.

const NS: i64 = 1_000_000_000;
const DAY: i64 = 86_400;

/// Nanoseconds since 1970.
pub(crate) fn from_dos(date: u16, time: u16) -> i64 {
    let (date, time) = (i64::from(date), i64::from(time));
    let days = days_from_civil(
        1980 + (date >> 9),
        ((date >> 5) & 15).clamp(1, 12),
        (date & 31).max(1),
    );
    let seconds = (time >> 11) * 3600 + ((time >> 5) & 63) * 60 + (time & 31) * 2;
    (days * DAY + seconds) * NS
}

/// Date and time; what lies outside of their range becomes the nearest end.
pub(crate) fn to_dos(mtime_ns: i64) -> (u16, u16) {
    let seconds = mtime_ns.div_euclid(NS);
    let (year, month, day) = civil_from_days(seconds.div_euclid(DAY));
    let of_day = seconds.rem_euclid(DAY);
    match year {
        ..1980 => ((1 << 5) | 1, 0),
        2108.. => ((127 << 9) | (12 << 5) | 31, (23 << 11) | (59 << 5) | 29),
        _ => {
            let date = ((year - 1980) << 9) | (month << 5) | day;
            let time = ((of_day / 3600) << 11) | ((of_day / 60 % 60) << 5) | (of_day % 60 / 2);
            (date as u16, time as u16)
        }
    }
}

/// Days since 1970-01-01 in the proleptic Gregorian calendar (H. Hinnant, "chrono-compatible date
/// algorithms").
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let month = if shifted < 10 {
        shifted + 3
    } else {
        shifted - 9
    };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day_of_year - (153 * shifted + 2) / 5 + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_times() {
        // 2026-11-23 23:34:56 UTC.
        let ns = 1_795_476_896 * NS;
        let (date, time) = to_dos(ns);
        assert_eq!((date >> 9, (date >> 5) & 15, date & 31), (46, 11, 23));
        assert_eq!((time >> 11, (time >> 5) & 63, time & 31), (23, 34, 28));
        assert_eq!(from_dos(date, time), ns);
        assert_eq!(to_dos(0), (33, 0));
        assert_eq!(to_dos(i64::MAX), (65_439, 49_021));
        assert_eq!(from_dos(33, 0), 315_532_800 * NS);
    }

    #[test]
    fn every_day_of_the_range_comes_back() {
        for day in 3652..3652 + 128 * 365 {
            let ns = day * DAY * NS;
            let (date, time) = to_dos(ns);
            assert_eq!(from_dos(date, time), ns);
        }
    }

    #[test]
    fn impossible_dates_do_not_panic() {
        for date in [0, u16::MAX] {
            from_dos(date, u16::MAX);
        }
    }
}
