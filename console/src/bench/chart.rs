//! The histogram of latencies, drawn with blocks of an eighth.

/// Cells of the longest bar.
const CELLS: u64 = 40;

const EIGHTHS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];

/// One line per bucket: from, to, bar, share.
pub(super) fn lines(buckets: &[(u64, u64)], ascii: bool) -> Vec<String> {
    let total: u64 = buckets.iter().map(|(_, count)| count).sum();
    let most = buckets.iter().map(|(_, count)| *count).max().unwrap_or_default();
    buckets
        .iter()
        .map(|(bound, count)| {
            #[expect(clippy::cast_precision_loss, reason = "a chart")]
            let share = *count as f64 * 100.0 / total.max(1) as f64;
            let edge = if ascii { "|" } else { "│" };
            format!(
                "  {:>9} – {:>9} {edge}{}{edge} {share:>6.2} %",
                ms(bound / 2),
                ms(*bound),
                bar(*count, most, ascii)
            )
        })
        .collect()
}

fn bar(count: u64, most: u64, ascii: bool) -> String {
    let eighths = (count * CELLS * 8).checked_div(most).unwrap_or_default();
    let full = usize::try_from(eighths / 8).unwrap_or_default();
    let part = usize::try_from(eighths % 8).unwrap_or_default();
    let cells = usize::try_from(CELLS).unwrap_or_default();
    if ascii {
        return format!("{:<cells$}", "#".repeat(full));
    }
    let bar = "█".repeat(full) + EIGHTHS[part];
    let width = full + usize::from(part > 0);
    bar + &" ".repeat(cells - width)
}

fn ms(us: u64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "a chart")]
    let ms = us as f64 / 1_000.0;
    format!("{ms:.2} ms")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_are_as_wide_as_their_share() {
        let drawn = lines(&[(512, 1), (1_024, 40), (2_048, 20)], false);
        assert_eq!(drawn[1].matches('█').count(), 40);
        assert_eq!(drawn[2].matches('█').count(), 20);
        assert!(drawn[0].contains("0.26 ms –   0.51 ms │█"), "{}", drawn[0]);
        let widths: Vec<_> = drawn.iter().map(|line| line.chars().count()).collect();
        assert!(widths.iter().all(|width| *width == widths[0]), "{widths:?}");
        assert!(lines(&[(512, 1)], true)[0].contains("|####"));
    }
}
