//! "Did you mean": the registered name that resembles a mistyped one most.

/// Names less alike than this are no help. 0.7 accepts a swapped or missing letter in a short word and refuses unrelated words.
const LEAST_LIKENESS: f64 = 0.7;

/// The candidate most like `name`, when any is like it at all.
pub(super) fn nearest<'a>(
    name: &str,
    candidates: impl Iterator<Item = &'a str>,
) -> Option<Box<str>> {
    candidates
        .map(|candidate| (strsim::jaro_winkler(name, candidate), candidate))
        .filter(|(likeness, _)| *likeness >= LEAST_LIKENESS)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, candidate)| candidate.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mistyped_name_finds_its_neighbour_and_nonsense_finds_none() {
        let names = || ["deposit", "withdraw", "balance"].into_iter();
        assert_eq!(nearest("withdrw", names()).as_deref(), Some("withdraw"));
        assert_eq!(nearest("depsoit", names()).as_deref(), Some("deposit"));
        assert_eq!(nearest("zzz", names()), None);
        assert_eq!(nearest("x", std::iter::empty()), None);
    }
}
