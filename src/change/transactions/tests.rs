use super::*;
use crate::change::position::ClusterTime;
use bson::{Bson, Document, RawDocumentBuf, doc};

fn lsid(number: u8) -> Vec<u8> {
    let binary = |subtype: bson::spec::BinarySubtype, len| {
        Bson::Binary(bson::Binary {
            subtype,
            bytes: vec![number; len],
        })
    };
    let lsid = doc! {
        "id": binary(bson::spec::BinarySubtype::Uuid, 16),
        "uid": binary(bson::spec::BinarySubtype::Generic, 32),
    };
    lsid.to_vec().unwrap()
}

fn event<'a>(lsid: Option<&'a [u8]>, number: i64, second: u32) -> Event<'a> {
    Event {
        lsid,
        txn_number: lsid.map(|_| number),
        cluster_time: Some(ClusterTime::new(second, 1)),
        ..Event::about("insert", "shop", "orders")
    }
}

fn orders(transactions: &mut Transactions, events: &[Event<'_>]) -> Vec<u64> {
    let taken = events.iter().enumerate().map(|(index, event)| {
        let taken = transactions.take(event, Seq(index as u64), true);
        taken.place.map_or(0, |place| place.order)
    });
    taken.collect()
}

#[test]
fn events_are_counted_by_transaction_while_more_of_it_may_come() {
    let (a, b) = (lsid(1), lsid(2));
    let (a, b) = (Some(&a[..]), Some(&b[..]));
    let mut all = Transactions::default();
    let events = [
        event(None, 0, 1),
        event(a, 1, 2),
        event(a, 1, 2),
        // The next one of the same session.
        event(a, 2, 3),
        // Of another shard, at the same time, and of none.
        event(b, 1, 3),
        event(None, 0, 3),
        event(a, 2, 3),
        event(b, 1, 3),
        event(None, 0, 4),
    ];
    assert_eq!(orders(&mut all, &events), [0, 1, 2, 1, 1, 0, 2, 2, 0]);
    assert!(all.held(Seq(9)).is_none());
}

#[test]
fn events_of_a_transaction_with_times_of_their_own_follow_each_other() {
    let a = lsid(1);
    let events: Vec<_> = (1..=4).map(|second| event(Some(&a), 1, second)).collect();
    assert_eq!(orders(&mut Transactions::default(), &events), [1, 2, 3, 4]);
    // A stage of the user's leaves the time out.
    let timeless: Vec<_> = events
        .iter()
        .map(|event| Event {
            cluster_time: None,
            ..*event
        })
        .collect();
    let mut all = Transactions::default();
    assert_eq!(orders(&mut all, &timeless), [1, 2, 3, 4]);
    assert_eq!(orders(&mut all, &[event(None, 0, 9)]), [0]);
    assert!(all.held(Seq(9)).is_none());
}

#[test]
fn half_a_name_names_no_transaction() {
    let a = lsid(1);
    let mut without_number = event(Some(&a), 1, 1);
    without_number.txn_number = None;
    let mut without_session = event(None, 1, 1);
    without_session.txn_number = Some(1);
    let events = [without_number, without_session];
    assert_eq!(orders(&mut Transactions::default(), &events), [0, 0]);
}

/// The part as stores have it: MongoDB in BSON, the others in canonical Extended JSON.
fn through_stores(extra: &Extra) -> [Extra; 2] {
    let parts = extra.to_document().unwrap();
    let json = Bson::from(parts.clone())
        .into_canonical_extjson()
        .to_string();
    let of_json: Document = serde_json::from_str(&json).unwrap();
    let of_bson = RawDocumentBuf::try_from(&parts).unwrap();
    [
        of_json.into(),
        Document::try_from(of_bson.as_ref()).unwrap().into(),
    ]
}

#[test]
fn a_position_counts_what_is_before_it_and_nothing_else() {
    let a = lsid(1);
    let events: Vec<_> = (0..4).map(|_| event(Some(&a), 7, 5)).collect();
    let mut all = Transactions::default();
    let listeners = Extra::default().with(Extra::LISTENERS, Some("9c2d".into()));
    for (index, next) in events.iter().enumerate() {
        let seq = Seq(10 + index as u64);
        let held = all.take(next, seq, true).held.unwrap();
        // What is sealed while the event's records are sent is before it.
        for (at, counted) in [
            (seq.0 - 1, index),
            (seq.0, index + 1),
            (seq.0 + 9, index + 1),
        ] {
            let extra = held.put(&listeners, Seq(at));
            assert_eq!(extra.get(Extra::LISTENERS), Some(&"9c2d".into()));
            if counted == 0 {
                assert_eq!(extra, listeners);
                continue;
            }
            for read in through_stores(&extra) {
                let mut resumed = Transactions::at(&read, false).unwrap();
                let taken = resumed.take(next, Seq(at + 1), true);
                assert_eq!(taken.place.unwrap().order, counted as u64 + 1);
            }
        }
    }
}

#[test]
fn a_transaction_that_is_over_leaves_nothing_in_a_position() {
    let a = lsid(1);
    let mut all = Transactions::default();
    all.take(&event(Some(&a), 1, 1), Seq(1), true);
    let held = all.take(&event(None, 0, 2), Seq(2), true).held.unwrap();
    assert!(!held.put(&Extra::default(), Seq(1)).is_empty());
    assert!(held.put(&Extra::default(), Seq(2)).is_empty());
}

#[test]
fn what_cannot_be_read_is_no_first_transaction() {
    for damaged in [
        Bson::from(1),
        doc! {"open": 1}.into(),
        doc! {"open": [1]}.into(),
        doc! {"open": [{"lsid": {}, "txnNumber": 1}]}.into(),
        doc! {"open": [{"lsid": 1, "txnNumber": 1, "order": 1}]}.into(),
        doc! {"open": [{"lsid": {}, "txnNumber": 1, "order": -1}]}.into(),
        doc! {"inProgress": 1}.into(),
        doc! {"inProgress": {"lsid": {}, "txnNumber": 1, "events": 1, "collections": [1]}}.into(),
    ] {
        let extra = Extra::default().with(Extra::TRANSACTIONS, Some(damaged.clone()));
        let error = Transactions::at(&extra, true).unwrap_err();
        assert_eq!(
            error.code,
            crate::error::Code::CheckpointFailed,
            "{damaged}"
        );
    }
    // Numbers as a shell writes them.
    let part = doc! {"open": [{"lsid": {}, "txnNumber": 1, "order": 2.0}]};
    let extra = Extra::default().with(Extra::TRANSACTIONS, Some(part.into()));
    let empty = Document::new().to_vec().unwrap();
    let mut read = Transactions::at(&extra, false).unwrap();
    let taken = read.take(&event(Some(&empty), 1, 1), Seq(1), true);
    assert_eq!(taken.place.unwrap().order, 3);
}

/// What Debezium's connector would say of each event: which one of its transaction and of its collection, and which
/// transactions end and begin with it.
fn spans(transactions: &mut Transactions, events: &[Event<'_>]) -> Vec<String> {
    let name = |span: Option<Span>| {
        span.map_or("-".into(), |span| format!("{}/{}", span.number, span.total))
    };
    let said = events.iter().enumerate().map(|(index, event)| {
        let taken = transactions.take(event, Seq(index as u64), true);
        let place = taken.place.and_then(|place| place.in_span);
        let place = place.map_or("-".into(), |it| {
            format!("{}.{}", it.total, it.of_collection)
        });
        match taken.bounds {
            None => place,
            Some(Bounds { ended, begun }) => format!("{place} {}>{}", name(ended), name(begun)),
        }
    });
    said.collect()
}

#[test]
fn a_span_begins_with_its_first_event_and_ends_with_the_next_that_is_not_of_it() {
    let a = lsid(1);
    let of = |number, collection| Event {
        collection,
        ..event((number > 0).then_some(&a[..]), number, 1)
    };
    let drop = Event {
        operation: Operation::Drop,
        ..of(0, "orders")
    };
    let events = [
        of(0, "orders"),
        of(1, "orders"),
        of(1, "users"),
        // What the connector does not see ends nothing.
        drop,
        of(1, "orders"),
        of(2, "orders"),
        of(0, "users"),
        of(0, "users"),
    ];
    let said = [
        "-",
        "1.1 ->1/0",
        "2.1",
        "-",
        "3.2",
        "1.1 1/3>2/0",
        "- 2/1>-",
        "-",
    ];
    let empty = Extra::default();
    for resumed_at in 0..events.len() {
        let mut first = Transactions::at(&empty, true).unwrap();
        assert_eq!(spans(&mut first, &events[..resumed_at]), said[..resumed_at]);
        let extra = first
            .held(Seq(0))
            .map_or(empty.clone(), |it| it.put(&empty, Seq(0)));
        let resumed = match extra.is_empty() {
            true => vec![extra],
            false => through_stores(&extra).into(),
        };
        for extra in resumed {
            let mut second = Transactions::at(&extra, true).unwrap();
            assert_eq!(
                spans(&mut second, &events[resumed_at..]),
                said[resumed_at..]
            );
        }
    }
    // What only listeners want is in none.
    let mut all = Transactions::at(&empty, true).unwrap();
    let taken = all.take(&of(1, "orders"), Seq(1), false);
    assert_eq!(taken.place.unwrap().in_span, None);
    assert!(taken.bounds.is_none());
}
