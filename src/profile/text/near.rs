//! Which word was surely meant by a mistyped one.

/// What of these is nearest to a mistyped text, if it is near.
pub fn nearest<'w>(text: &str, words: impl IntoIterator<Item = &'w str>) -> Option<&'w str> {
    let text = text.to_lowercase();
    let near = words.into_iter().map(|word| (strsim::osa_distance(&text, &word.to_lowercase()), word));
    let best = near.min_by_key(|(distance, _)| *distance)?;
    (best.0 <= allowed(&text)).then_some(best.1)
}

/// How many slips a word of this length may have.
fn allowed(text: &str) -> usize {
    match text.chars().count() {
        0..=2 => 0,
        3..=4 => 1,
        _ => 2,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_word_is_offered_and_none_that_is_far() {
        assert_eq!(nearest("Zoen", ["id", "zone", "url"]), Some("zone"));
        assert_eq!(nearest("site", ["id", "zone", "url"]), None);
    }
}
