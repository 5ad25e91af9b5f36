//! What someone may have meant.

/// The candidate that is most like a misspelt word, if one is like it: at most two letters differ, or one word begins
/// with the other.
pub(crate) fn nearest<'c>(word: &str, candidates: impl IntoIterator<Item = &'c str>) -> Option<&'c str> {
    let most = if word.chars().count() <= 3 { 1 } else { 2 };
    let mut best: Option<(usize, &str)> = None;
    for candidate in candidates.into_iter().take(1000) {
        if candidate.len() > 100 || word.len() > 100 {
            continue;
        }
        let distance = if word.len() >= 4
            && (candidate.starts_with(word) || word.starts_with(candidate) && candidate.len() >= 4)
        {
            Some(2)
        } else {
            None
        };
        let edits = distance_between(&word.to_lowercase(), &candidate.to_lowercase());
        let distance = if edits <= most { Some(edits.min(2)) } else { distance };
        if let Some(distance) = distance
            && best.is_none_or(|(least, _)| distance < least)
        {
            best = Some((distance, candidate));
        }
    }
    best.map(|(_, candidate)| candidate)
}

/// Levenshtein's distance.
fn distance_between(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        for (j, y) in b.iter().enumerate() {
            let above = row.get(j + 1).copied().unwrap_or(0);
            let cost = (diagonal + usize::from(x != *y)).min(above + 1).min(left + 1);
            diagonal = above;
            if let Some(slot) = row.get_mut(j) {
                *slot = left;
            }
            left = cost;
        }
        if let Some(slot) = row.last_mut() {
            *slot = left;
        }
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn misspelt_words() {
        let known = ["currentStepIndex", "phase", "replicas"];
        for (word, want) in [
            ("currentStepIdx", Some("currentStepIndex")),
            ("fase", Some("phase")),
            ("phas", Some("phase")),
            ("replica", Some("replicas")),
            ("unrelated", None),
        ] {
            assert_eq!(nearest(word, known), want, "{word}");
        }
    }
}
