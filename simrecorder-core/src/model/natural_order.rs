//! The order of names with numbers in them.

use std::cmp::Ordering;

/// Runs of digits compare as numbers: `demo_2` is before `demo_10`.
pub(crate) fn natural_order(a: &str, b: &str) -> Ordering {
    runs(a).cmp(runs(b)).then_with(|| a.cmp(b))
}

/// A part of a name.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Run<'a> {
    /// The number of digits without leading zeros, and these.
    Number(usize, &'a str),
    Text(&'a str),
}

fn runs(name: &str) -> impl Iterator<Item = Run<'_>> {
    let mut rest = name;
    std::iter::from_fn(move || {
        let is_number = rest.chars().next()?.is_ascii_digit();
        let end = rest.find(|c: char| c.is_ascii_digit() != is_number);
        let (run, after) = rest.split_at(end.unwrap_or(rest.len()));
        rest = after;
        Some(match is_number {
            true => {
                let digits = run.trim_start_matches('0');
                Run::Number(digits.len(), digits)
            }
            false => Run::Text(run),
        })
    })
}
