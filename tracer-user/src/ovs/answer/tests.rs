use super::*;

#[derive(Debug, PartialEq, Deserialize)]
struct Named {
    name: String,
}

impl Row for Named {
    const MAX: usize = 1000;
}

/// Gives one byte at a time, as the slowest of servers does.
struct Bytewise<'a>(&'a [u8]);

impl Read for Bytewise<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let n = into.len().min(1);
        (&mut self.0).take(1).read(&mut into[..n])
    }
}

fn text(json: &str) -> Result<String, Fault> {
    let whole = read(json.as_bytes(), SHORT);
    let bytewise = read::<String>(Bytewise(json.as_bytes()), SHORT);
    // Which of two faults is met first depends on how much is read at once.
    assert_eq!(whole.as_ref().ok(), bytewise.as_ref().ok());
    whole
}

fn rows(json: &str) -> Result<Vec<Named>, String> {
    match read::<Rows<Named>>(json.as_bytes(), TABLE) {
        Ok(Rows(Ok(rows))) => Ok(rows),
        Ok(Rows(Err(Complaint(words)))) => Err(format!("refused: {words}")),
        Err(Fault::Garbled(why)) => Err(why),
        Err(fault) => Err(format!("{fault:?}")),
    }
}

#[test]
fn the_answer_comes_after_other_calls() {
    let json =
        r#"{"id":"echo","method":"echo","params":[]} {"id":0,"error":null,"result":"a{}b\n"}"#;
    assert_eq!(text(json), Ok("a{}b\n".to_owned()));
    let refusal = r#"{"id":0,"result":null,"error":"Cannot find the datapath\n"}"#;
    assert_eq!(text(refusal), Err(Fault::Refused("Cannot find the datapath".to_owned())));
}

#[test]
fn what_is_no_answer_is_told() {
    for json in ["", "HTTP/1.1 400 {}", "{", "{}", "[]", "7", r#"{"result":7}"#, r#"{"result":[]}"#]
    {
        assert!(matches!(text(json), Err(Fault::Garbled(_))), "{json}");
    }
}

#[test]
fn nothing_is_read_beyond_the_bounds() {
    let deep = format!(r#"{{"id":0,"result":{}"#, "[".repeat(1_000_000));
    // Of a text the first bracket is wrong already; of what may be anything the 65th.
    assert!(matches!(text(&deep), Err(Fault::Garbled(_))));
    let anything = read::<serde_json::Value>(deep.as_bytes(), SHORT);
    let Err(Fault::Garbled(why)) = anything else { panic!("taken") };
    assert!(why.contains("nested more than 64 deep"), "{why}");
    // In what nobody asked for as well, and of brackets within texts nothing is thought.
    let deep = format!(r#"{{"x":{}}}"#, "[".repeat(1_000_000));
    let Err(Fault::Garbled(why)) = text(&deep) else { panic!("taken") };
    assert!(why.contains("nested more than 64 deep"), "{why}");
    let quoted = format!(r#"{{"result":"\"\\{}"}}"#, "[".repeat(1000));
    assert_eq!(text(&quoted).unwrap().len(), 1002);

    let Err(Fault::Garbled(why)) = read::<String>(io::repeat(b' '), SHORT) else { panic!() };
    assert!(why.contains("longer than 4 MiB"), "{why}");
    let endless = br#"{"result":""#.chain(io::repeat(b'}'));
    let Err(Fault::Garbled(why)) = read::<String>(endless, SHORT) else { panic!() };
    assert!(why.contains("a text in it is longer than 1024 KiB"), "{why}");
    let calls = r#"{"method":"echo","id":"echo","params":[]}"#.repeat(200_000);
    assert!(matches!(text(&calls), Err(Fault::Garbled(_))));
}

#[test]
fn rows_are_counted_and_what_else_is_in_them_is_passed_over() {
    let row = r#"{"name":"a","other":[{"x":["map",[]]}]}"#;
    let answer = |rows: &str| format!(r#"{{"id":0,"result":[{{"rows":[{rows}]}}],"error":null}}"#);
    assert_eq!(rows(&answer(row)), Ok(vec![Named { name: "a".to_owned() }]));
    assert_eq!(rows(&answer("")), Ok(vec![]));
    let many = vec![row; 1001].join(",");
    assert!(rows(&answer(&many)).unwrap_err().contains("over 1000 rows"));
    let refused = r#"{"id":0,"result":[{"error":"unknown table","details":"no X"}]}"#;
    assert_eq!(rows(refused), Err("refused: unknown table: no X".to_owned()));
}

#[test]
fn a_result_of_another_type_is_an_error() {
    for result in [
        "null",
        "7",
        r#""x""#,
        "{}",
        "[]",
        "[7]",
        "[null]",
        "[{}]",
        r#"[{"rows":7}]"#,
        r#"[{"rows":{}}]"#,
        r#"[{"rows":[7]}]"#,
        r#"[{"rows":[[]]}]"#,
        r#"[{"rows":[{"name":7}]}]"#,
        r#"[{"rows":[{"name":["set",[]]}]}]"#,
    ] {
        let answer = format!(r#"{{"id":0,"error":null,"result":{result}}}"#);
        let why = rows(&answer).unwrap_err();
        assert!(!why.starts_with("refused"), "{result}: {why}");
    }
}
