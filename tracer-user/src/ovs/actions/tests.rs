use super::*;

#[test]
fn an_empty_list_drops() {
    assert_eq!(text(&[]), "drop");
}
