//! `galenic demo`: it ends well, and its JSON tells of every row of the business.

use serde_json::Value as Json;

use crate::program::run;

/// The rows that the demo plays, and the books as a whole.
const ROWS: [&str; 31] = [
    "B2", "C1", "C2", "C3", "C4", "C5", "C6", "D1", "D2", "D3", "D4", "D5", "D6", "F7", "R1", "R2", "R3", "R4", "R5",
    "R6", "R7", "R8", "R9", "R10", "R12", "R13", "R14", "R15", "R16", "R17", "books",
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_demo_shows_every_row_and_counts_it_again() {
    let ran = tokio::task::spawn_blocking(|| run(&["demo", "--members", "5", "--json"]));
    let (code, said) = ran.await.expect("does not panic");
    assert_eq!(code, 0, "{said}");
    let line = said.lines().rev().find(|line| line.starts_with('{')).expect("a line of JSON");
    let json: Json = serde_json::from_str(line).expect("JSON");
    assert_eq!((&json["failed_calls"], &json["rows_sound"]), (&Json::from(0), &Json::from(true)));
    for id in ROWS {
        let row = &json["rows"][id];
        assert_eq!(row["agrees"], true, "{id}: {row:#}");
        let figures = row["figures"].as_object().expect("figures");
        assert!(figures.values().any(|figure| figure["again"].is_i64()), "{id} is counted once only: {row:#}");
    }
    assert_eq!(json["rows"]["R17"]["figures"]["points"]["server"], 5_000, "sent twice, counted once");
    assert_eq!(json["rows"]["D2"]["figures"]["sold"]["server"], 1, "five buyers, one is served");
}
