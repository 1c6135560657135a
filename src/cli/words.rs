//! Numbers, sizes and durations as text for people.

/// 4,812
pub(super) fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// 1.2 GiB
pub(super) fn bytes(number: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if number < 1024 {
        return format!("{number} bytes");
    }
    let mut value = number as f64 / 1024.0;
    let mut unit = 0;
    while value >= 1023.95 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS[unit])
}

/// 250ms, 10s: the format of the options.
pub(super) fn duration(ms: u64) -> String {
    if ms.is_multiple_of(1000) { format!("{}s", ms / 1000) } else { format!("{ms}ms") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped() {
        let texts = [0, 999, 1000, 4812, 100_000, 1_048_576].map(thousands);
        assert_eq!(texts, ["0", "999", "1,000", "4,812", "100,000", "1,048,576"]);
        assert_eq!(thousands(u64::MAX), "18,446,744,073,709,551,615");
    }

    #[test]
    fn bytes_have_a_fitting_unit() {
        let texts = [1023, 1024, 1_048_575, 1 << 20, 68_745_691_136, u64::MAX].map(bytes);
        assert_eq!(
            texts,
            ["1023 bytes", "1.0 KiB", "1.0 MiB", "1.0 MiB", "64.0 GiB", "16384.0 PiB"]
        );
    }
}
