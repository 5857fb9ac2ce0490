use std::collections::HashMap;

use jiff::Timestamp;
use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::{
    domain::{
        fact::{self, Facts, Scope, Value},
        order::ReleaseRef,
        rule::{Parameter, Reason, TierSubject, Verdict},
    },
    ids::{DecisionId, Id as _, MemberId},
    plugin::ModuleDigest,
};

/// A record that is `size` bytes or so large.
fn record(number: u128, size: usize) -> DecisionRecord {
    let facts = Facts::of(Scope::Subject).with(&fact::MEMBER_TIER, Value::Text("x".repeat(size)));
    let reasons = vec![Reason { code: "below-threshold".into(), parameters: vec![Parameter::Integer(7)] }];
    let call = CallRecord {
        release: ReleaseRef { slot: "tier".to_owned(), number: 3 },
        module: ModuleDigest::of(b"module"),
        input: CallInput::Tier(vec![TierSubject { as_of: Timestamp::UNIX_EPOCH, facts }]),
        output: CallOutput::Tier(vec![Some(Verdict { tier: "gold".into(), reasons }), None]),
        fuel: 1_234,
        elapsed_ns: 5_678,
        fault: Some("trap".into()),
    };
    let member = MemberId::from_bits(9);
    DecisionRecord { id: DecisionId::from_bits(number), at: Timestamp::UNIX_EPOCH, member, calls: vec![call] }
}

fn fill(log: &Decisions, numbers: std::ops::Range<u128>) -> Vec<DecisionRef> {
    numbers.map(|number| log.append(&record(number, 40)).expect("appends")).collect()
}

fn all(log: &Decisions) -> Vec<u128> {
    log.iter(None).map(|item| item.expect("reads").1.id.to_bits()).collect()
}

fn dir() -> TempDir {
    tempfile::tempdir().expect("a directory")
}

#[test]
fn what_is_appended_reads_back_before_and_after_the_sync() {
    let dir = dir();
    let log = Decisions::open(dir.path(), 1_000).expect("opens");
    let places = fill(&log, 0..20);
    for (number, place) in places.iter().enumerate() {
        assert_eq!(log.read(*place).expect("reads"), record(number as u128, 40));
    }
    assert_eq!(all(&log), Vec::<u128>::new(), "nothing is synced yet");
    log.sync().expect("syncs");
    log.sync().expect("nothing to do");
    assert_eq!(all(&log), (0..20).collect::<Vec<_>>());
    assert!(log.segments().len() > 3, "{:?}", log.segments());
    drop(log);
    let log = Decisions::open(dir.path(), 1_000).expect("opens");
    for (number, place) in places.iter().enumerate() {
        assert_eq!(log.read(*place).expect("reads"), record(number as u128, 40));
    }
    fill(&log, 20..25);
    log.sync().expect("syncs");
    assert_eq!(all(&log), (0..25).collect::<Vec<_>>());
    let from = log.iter(Some(places[10])).next().expect("one").expect("reads");
    assert_eq!((from.0, from.1.id.to_bits()), (places[10], 10));
    let nowhere = DecisionRef { segment: 1, offset: 49 };
    assert!(log.read(nowhere).is_err());
    assert!(matches!(log.read(DecisionRef { segment: 99, offset: 48 }), Err(DecisionsError::Unknown(_))));
}

#[test]
fn old_segments_go_whole() {
    let dir = dir();
    let log = Decisions::open(dir.path(), 1_000).expect("opens");
    let places = fill(&log, 0..20);
    log.sync().expect("syncs");
    let third = log.segments()[2];
    assert_eq!(log.retain(third).expect("deletes"), 2);
    assert_eq!(log.segments()[0], third);
    assert!(matches!(log.read(places[0]), Err(DecisionsError::Unknown(_))));
    let left: Vec<u128> = (0..20).filter(|number| places[*number as usize].segment >= third).collect();
    assert_eq!(all(&log), left);
    log.retain(u64::MAX).expect("deletes");
    assert_eq!(log.segments().len(), 1, "the one being written stays");
    drop(log);
    let log = Decisions::open(dir.path(), 1_000).expect("opens");
    fill(&log, 20..22);
    log.sync().expect("syncs");
    assert_eq!(all(&log)[all(&log).len() - 2..], [20, 21]);
}

#[test]
fn a_segment_that_is_missing_or_swapped_is_noticed() {
    let dir = dir();
    let log = Decisions::open(dir.path(), 1_000).expect("opens");
    fill(&log, 0..20);
    log.sync().expect("syncs");
    fs::copy(path_of(dir.path(), 1), dir.path().join("kept")).expect("copies");
    fs::remove_file(path_of(dir.path(), 2)).expect("removes");
    assert!(log.iter(None).any(|item| item.is_err()));
    let count = log.segments().len() as u64;
    drop(log);
    fs::remove_file(path_of(dir.path(), count)).expect("removes");
    assert!(
        matches!(Decisions::open(dir.path(), 1 << 20), Err(DecisionsError::Corrupt { .. })),
        "the last one had been synced"
    );
}

#[test]
fn a_record_has_a_limit() {
    let dir = dir();
    let log = Decisions::open(dir.path(), 1 << 20).expect("opens");
    assert!(matches!(log.append(&record(0, PAYLOAD_BYTES_MAX)), Err(DecisionsError::TooLarge { .. })));
    fill(&log, 0..1);
    log.sync().expect("syncs");
    assert_eq!(all(&log), [0]);
}

#[test]
fn appending_goes_on_while_others_sync() {
    let dir = dir();
    let log = Decisions::open(dir.path(), 4_000).expect("opens");
    std::thread::scope(|scope| {
        for writer in 0..4_u128 {
            let log = &log;
            scope.spawn(move || {
                for number in 0..100 {
                    let place = log.append(&record(writer * 1_000 + number, 30)).expect("appends");
                    assert_eq!(log.read(place).expect("reads").id.to_bits(), writer * 1_000 + number);
                    if number % 10 == 0 {
                        log.sync().expect("syncs");
                    }
                }
            });
        }
    });
    log.sync().expect("syncs");
    let mut numbers = all(&log);
    numbers.sort_unstable();
    assert_eq!(numbers, (0..4).flat_map(|writer| writer * 1_000..writer * 1_000 + 100).collect::<Vec<_>>());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever a crash leaves of the bytes after the last sync, everything synced is there, in order, and what is kept
    /// of the rest is a beginning of it.
    #[test]
    fn a_torn_tail_costs_only_what_was_not_synced(
        synced in 1_usize..8, late in 0_usize..8, cut in 0.0_f64..1.0, flip in prop::option::of(0.0_f64..1.0),
    ) {
        let dir = dir();
        let log = Decisions::open(dir.path(), 1 << 20).expect("opens");
        fill(&log, 0..synced as u128);
        log.sync().expect("syncs");
        let mark = fs::read(dir.path().join(MARK)).expect("reads");
        let path = path_of(dir.path(), 1);
        let durable = fs::metadata(&path).expect("is there").len() as usize;
        fill(&log, synced as u128..(synced + late) as u128);
        log.sync().expect("syncs");
        drop(log);
        // The machine stops before the last sync is through: the mark is the old one, the tail is partly there.
        fs::write(dir.path().join(MARK), mark).expect("writes");
        let mut bytes = fs::read(&path).expect("reads");
        let tail = bytes.len() - durable;
        bytes.truncate(durable + (tail as f64 * cut) as usize);
        if let Some(flip) = flip && bytes.len() > durable {
            let place = durable + ((bytes.len() - durable) as f64 * flip) as usize;
            bytes[place] ^= 0x10;
        }
        fs::write(&path, &bytes).expect("writes");
        let log = Decisions::open(dir.path(), 1 << 20).expect("opens after a crash");
        let kept = all(&log);
        prop_assert!(kept.len() >= synced && kept.len() <= synced + late);
        prop_assert_eq!(&kept, &(0..kept.len() as u128).collect::<Vec<_>>());
        fill(&log, 100..102);
        log.sync().expect("syncs");
        prop_assert_eq!(all(&log).len(), kept.len() + 2);
    }

    /// No byte that was synced can change without it being noticed.
    #[test]
    fn a_flipped_byte_is_never_read_as_truth(place in 0.0_f64..1.0, bit in 0_u8..8, whole in any::<bool>()) {
        let dir = dir();
        let log = Decisions::open(dir.path(), 700).expect("opens");
        let places: HashMap<u128, DecisionRef> = (0..).zip(fill(&log, 0..8)).collect();
        log.sync().expect("syncs");
        let segments = log.segments();
        drop(log);
        let segment = segments[((segments.len() as f64) * place) as usize];
        let path = path_of(dir.path(), segment);
        let mut bytes = fs::read(&path).expect("reads");
        let at = if whole { (bytes.len() as f64 * place) as usize } else { bytes.len() - 1 };
        bytes[at] ^= 1 << bit;
        fs::write(&path, &bytes).expect("writes");
        match Decisions::open(dir.path(), 700) {
            Err(error) => prop_assert!(matches!(error, DecisionsError::Corrupt { .. }), "{error}"),
            Ok(log) => {
                prop_assert!(log.iter(None).any(|item| item.is_err()));
                for (number, place) in places {
                    match log.read(place) {
                        Ok(read) => prop_assert_eq!(read, record(number, 40)),
                        Err(error) => prop_assert!(matches!(error, DecisionsError::Corrupt { .. } | DecisionsError::Unknown(_)), "{error}"),
                    }
                }
            }
        }
    }
}

/// Clocks go back: a segment goes only when everything in it is old.
#[test]
fn a_segment_goes_when_its_youngest_decision_is_old() {
    let dir = dir();
    let log = Decisions::open(dir.path(), 1_000).expect("opens");
    let at = |day: i64| Timestamp::from_second(day * 86_400).expect("an instant");
    let mut places = Vec::new();
    for (number, day) in [1, 2, 3, 90, 4, 5, 6, 7, 8, 9, 10, 11].into_iter().enumerate() {
        let decided = DecisionRecord { at: at(day), ..record(number as u128, 300) };
        places.push((day, log.append(&decided).expect("appends")));
    }
    log.sync().expect("syncs");
    let young = places.iter().find(|(day, _)| *day == 90).expect("was appended").1.segment;
    assert!(young > 1 && log.segments().len() > 5);
    let gone = log.forget_before(at(80), 100).expect("deletes");
    assert_eq!(log.segments()[0], young, "{gone} went");
    assert_eq!(log.forget_before(at(80), 100).expect("deletes"), 0);
    assert_eq!(log.forget_before(at(91), 2).expect("deletes"), 2, "at most so many");
    log.forget_before(at(91), 100).expect("deletes");
    assert_eq!(log.segments().len(), 1, "the one being written stays");
}
