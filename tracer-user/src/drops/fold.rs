//! Everyday drops as one row, so that a quiet node prints nearly nothing.

use crate::model::Drops;

/// Puts one row in the place of all that are everyday life, last.
pub fn fold(rows: Vec<Drops>) -> Vec<Drops> {
    let (everyday, mut rows): (Vec<_>, Vec<_>) =
        rows.into_iter().partition(|row| row.everyday.is_some());
    if everyday.is_empty() {
        return rows;
    }
    let rates: Vec<f64> = everyday.iter().filter_map(|row| row.rate).collect();
    rows.push(Drops {
        count: everyday.iter().map(|row| row.count).sum(),
        bytes: everyday.iter().map(|row| row.bytes).sum(),
        rate: (!rates.is_empty()).then(|| rates.iter().sum()),
        everyday: Some("everyday drops of several kinds; --all shows them".to_owned()),
        folded: Some(everyday.len() as u64),
        ..Drops::default()
    });
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_row_for_all_that_is_everyday() {
        let trouble = Drops { count: 5, reason: Some("NO_SOCKET".into()), ..Drops::default() };
        let late = Drops { count: 7, bytes: 70, everyday: Some("late".into()), ..Drops::default() };
        let rows = fold(vec![late.clone(), trouble.clone(), late]);
        assert_eq!(rows.len(), 2);
        assert_eq!(rows[0], trouble);
        assert_eq!((rows[1].count, rows[1].bytes, rows[1].folded), (14, 140, Some(2)));
        assert_eq!(fold(vec![trouble.clone()]), [trouble]);
    }
}
