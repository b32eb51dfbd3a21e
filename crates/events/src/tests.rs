mod dialects;

use std::{collections::BTreeSet, fs};

use lazaret_core::{IgnoredRecord, ObjectEvent, Timestamp};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::{decode as decode_with, *};

fn decode(body: &[u8]) -> Result<Decoded, DecodeError> {
    decode_with(body, &BTreeMap::new())
}

fn path_of(name: &str) -> String {
    format!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../fixtures/events/{}"), name)
}

fn sample(name: &str) -> Vec<u8> {
    let path = path_of(name);
    fs::read(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// A sample of the fixtures with the attributes that come with it.
fn decode_sample(name: &str) -> Result<Decoded, DecodeError> {
    let attributes = fs::read(path_of(&name.replace(".json", ".attributes.json")));
    let attributes = attributes.map_or_else(|_| BTreeMap::new(), |bytes| serde_json::from_slice(&bytes).unwrap());
    decode_with(&sample(name), &attributes)
}

fn sample_json(name: &str) -> Value {
    serde_json::from_slice(&sample(name)).unwrap()
}

/// A message all of whose records are understood, or the first error.
fn decode_json(message: &Value) -> Result<Decoded, DecodeError> {
    let mut decoded = decode(message.to_string().as_bytes())?;
    if decoded.bad.is_empty() { Ok(decoded) } else { Err(decoded.bad.remove(0)) }
}

fn created(decoded: Decoded) -> ObjectEvent {
    match <[Record; 1]>::try_from(decoded.records).unwrap() {
        [Record::Created(event)] => event,
        [Record::Ignored(ignored)] => panic!("ignored: {ignored:?}"),
    }
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn red_flower() -> ObjectEvent {
    ObjectEvent {
        bucket: "amzn-s3-demo-bucket".parse().unwrap(),
        key: "quarantine/red flower+v2.jpg".parse().unwrap(),
        version: Some("096fKKXTRTtl3on89fVO.nfljtsv6qko".parse().unwrap()),
        etag: Some("d41d8cd98f00b204e9800998ecf8427e".parse().unwrap()),
        size: Some(1024),
        occurred_at: Some(at("1970-01-01T00:00:00Z")),
    }
}

/// `bucket/key@version` of what was created, a name in brackets for what is ignored.
fn in_short(decoded: &Decoded) -> Vec<String> {
    let short = |record: &Record| match record {
        Record::Created(event) => {
            let version = event.version.as_ref().map(|version| format!("@{}", version.as_str())).unwrap_or_default();
            format!("{}/{}{version}", event.bucket, event.key)
        }
        Record::Ignored(IgnoredRecord::TestEvent) => "[test]".to_owned(),
        Record::Ignored(IgnoredRecord::OtherEvent(name)) => format!("[{name}]"),
    };
    decoded.records.iter().map(short).collect()
}

#[test]
fn every_sample_means_what_its_sender_meant() {
    const FLOWER: &str = "amzn-s3-demo-bucket/quarantine/red flower+v2.jpg@096fKKXTRTtl3on89fVO.nfljtsv6qko";
    const VERSION: &str = "@096fKKXTRTtl3on89fVO.nfljtsv6qko";
    let multipart = format!("amzn-s3-demo-bucket/quarantine/two words.pdf{VERSION}");
    let copied = format!("amzn-s3-demo-bucket/quarantine/café.png{VERSION}");
    let expected: BTreeMap<&str, Vec<&str>> = BTreeMap::from([
        ("s3_sqs_direct.json", vec![FLOWER]),
        ("s3_many_records.json", vec![FLOWER, "[ObjectRemoved:Delete]", &multipart, &copied]),
        ("s3_removed.json", vec!["[ObjectRemoved:Delete]", "[ObjectRemoved:DeleteMarkerCreated]"]),
        ("s3_testevent.json", vec!["[test]"]),
        ("sns_envelope.json", vec![FLOWER]),
        ("sns_raw.json", vec![FLOWER]),
        ("sns_testevent.json", vec!["[test]"]),
        ("eventbridge_object_created.json", vec!["amzn-s3-demo-bucket1/example-key@IYV3p45BT0ac8hjHg1houSdS1a.Mro8e"]),
        ("eventbridge_object_deleted.json", vec!["[Object Deleted]"]),
        ("minio_amqp.json", vec!["mybucket/5cdfb588cea4de1db3034a87/colors.xml@1"]),
        ("ceph_rgw_amqp.json", vec!["mybucket1/myimage1.jpg"]),
        ("ceph_rgw_raw_keys.json", vec!["mybucket1/quarantine/a+b%20c d.jpg"]),
        ("ceph_rgw_cloudevents_binary.json", vec!["mybucket1/quarantine/a+b%20c d.jpg"]),
        ("r2_queue.json", vec!["my-bucket/my-new-object"]),
        ("r2_copied.json", vec!["my-bucket/quarantine/a+b%20c d.jpg"]),
        ("r2_deleted.json", vec!["[DeleteObject]"]),
        ("cloudevents_s3.json", vec![FLOWER]),
        ("cloudevents_binary.json", vec![FLOWER]),
        ("cloudevents_minio.json", vec!["mybucket/5cdfb588cea4de1db3034a87/colors.xml@1"]),
        ("cloudevents_testevent.json", vec!["[test]"]),
    ]);
    let mut unseen: BTreeSet<String> =
        fs::read_dir(path_of("")).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
    unseen.retain(|name| name != "README.md" && !name.ends_with(".attributes.json"));
    assert!(unseen.remove("lazaret_verdict.json"), "refused: see its own test");
    for (name, expected) in expected {
        let decoded = decode_sample(name).unwrap();
        assert_eq!(
            (in_short(&decoded), decoded.bad.len()),
            (expected.iter().map(ToString::to_string).collect(), 0),
            "{name}"
        );
        unseen.remove(name);
    }
    assert_eq!(unseen, BTreeSet::new(), "samples that no test reads");
}

#[test]
fn an_s3_notification_has_its_key_form_decoded() {
    let decoded = decode(&sample("s3_sqs_direct.json")).unwrap();
    assert_eq!(created(decoded), red_flower());
}

#[test]
fn an_sns_envelope_is_opened() {
    let decoded = decode(&sample("sns_envelope.json")).unwrap();
    assert_eq!(created(decoded), red_flower());
}

#[test]
fn an_envelope_around_eventbridge_is_opened() {
    let mut message = sample_json("sns_envelope.json");
    message["Message"] = String::from_utf8(sample("eventbridge_object_created.json")).unwrap().into();
    assert_eq!(created(decode_json(&message).unwrap()).key.as_str(), "example-key");
}

#[test]
fn an_envelope_in_an_envelope_is_refused() {
    let inner = sample_json("sns_envelope.json");
    let mut outer = inner.clone();
    outer["Message"] = inner.to_string().into();
    assert!(matches!(decode_json(&outer), Err(DecodeError::NestedEnvelope)));
}

#[test]
fn an_sns_message_of_another_type_is_named() {
    let mut message = sample_json("sns_envelope.json");
    message["Type"] = "SubscriptionConfirmation".into();
    let error = decode_json(&message).unwrap_err().to_string();
    assert!(error.contains("SubscriptionConfirmation"), "{error}");
}

#[test]
fn eventbridge_keys_are_raw() {
    let mut message = sample_json("eventbridge_object_created.json");
    message["detail"]["object"]["key"] = "a+b%20c d".into();
    let decoded = decode_json(&message).unwrap();
    let expected = ObjectEvent {
        bucket: "amzn-s3-demo-bucket1".parse().unwrap(),
        key: "a+b%20c d".parse().unwrap(),
        version: Some("IYV3p45BT0ac8hjHg1houSdS1a.Mro8e".parse().unwrap()),
        etag: Some("b1946ac92492d2347c6235b4d2611184".parse().unwrap()),
        size: Some(5),
        occurred_at: Some(at("2021-11-12T00:00:00Z")),
    };
    assert_eq!(created(decoded), expected);
}

#[test]
fn minio_keys_have_their_slashes_decoded() {
    let decoded = decode(&sample("minio_amqp.json")).unwrap();
    let event = created(decoded);
    assert_eq!(event.key.as_str(), "5cdfb588cea4de1db3034a87/colors.xml");
    assert_eq!((event.bucket.as_str(), event.size), ("mybucket", Some(629_648)));
}

#[test]
fn ceph_keys_are_raw_sizes_strings_and_versions_empty() {
    let mut message = sample_json("ceph_rgw_amqp.json");
    message["Records"][0]["s3"]["object"]["key"] = "a+b%20c".into();
    let decoded = decode_json(&message).unwrap();
    let event = created(decoded);
    assert_eq!((event.key.as_str(), event.size, event.version), ("a+b%20c", Some(1024), None));
    assert_eq!(event.occurred_at, Some(at("2019-11-22T13:47:35.124724Z")));
}

#[test]
fn an_etag_loses_its_quotes() {
    let mut message = sample_json("s3_sqs_direct.json");
    message["Records"][0]["s3"]["object"]["eTag"] = "\"abc-2\"".into();
    assert_eq!(created(decode_json(&message).unwrap()).etag.unwrap().as_str(), "abc-2");
}

#[test]
fn a_test_event_is_ignored() {
    let decoded = decode(&sample("s3_testevent.json")).unwrap();
    assert_eq!(decoded.records, [Record::Ignored(IgnoredRecord::TestEvent)]);
}

#[test]
fn other_events_are_ignored_by_name() {
    for (file, pointer, name) in [
        ("s3_sqs_direct.json", "/Records/0/eventName", "ObjectRemoved:Delete"),
        ("minio_amqp.json", "/Records/0/eventName", "s3:ObjectAccessed:Get"),
        ("ceph_rgw_amqp.json", "/Records/0/eventName", "ObjectLifecycle:Expiration"),
        ("eventbridge_object_created.json", "/detail-type", "Object Deleted"),
    ] {
        let mut message = sample_json(file);
        *message.pointer_mut(pointer).unwrap() = name.into();
        let expected = [Record::Ignored(IgnoredRecord::OtherEvent(name.to_owned()))];
        assert_eq!(decode_json(&message).unwrap().records, expected, "{file}");
    }
}

#[test]
fn every_record_of_a_message_counts() {
    let mut message = sample_json("s3_sqs_direct.json");
    let record = message["Records"][0].clone();
    let mut removed = record.clone();
    removed["eventName"] = "ObjectRemoved:Delete".into();
    message["Records"] = json!([record, removed, record]);
    let expected = [
        Record::Created(red_flower()),
        Record::Ignored(IgnoredRecord::OtherEvent("ObjectRemoved:Delete".into())),
        Record::Created(red_flower()),
    ];
    assert_eq!(decode_json(&message).unwrap().records, expected);
}

#[test]
fn a_bad_record_is_named_and_keeps_no_other() {
    let good = sample_json("s3_sqs_direct.json")["Records"][0].clone();
    for (pointer, value, named) in [
        ("/s3/object/key", json!(""), "s3.object.key"),
        ("/s3/object/key", json!("100%"), "s3.object.key"),
        ("/s3/object/key", json!("%ff"), "s3.object.key"),
        ("/s3/object/key", json!("k".repeat(1025)), "s3.object.key"),
        ("/s3/object/key", json!(7), "s3.object.key"),
        ("/s3/object/size", json!(-1), "s3.object.size"),
        ("/s3/object/size", json!("1e3"), "s3.object.size"),
        ("/s3/object/size", json!("99999999999999999999"), "s3.object.size"),
        ("/s3/bucket/name", json!("a/b"), "s3.bucket.name"),
        ("/s3/bucket", json!(null), "s3.bucket.name"),
        ("/eventName", json!(null), "eventName"),
        ("/eventTime", json!("yesterday"), "eventTime"),
        ("/eventSource", json!(3), "eventSource"),
    ] {
        let mut bad = good.clone();
        *bad.pointer_mut(pointer).unwrap() = value;
        let decoded = decode(json!({ "Records": [good, bad, good] }).to_string().as_bytes()).unwrap();
        assert_eq!(decoded.records, [Record::Created(red_flower()), Record::Created(red_flower())], "{pointer}");
        match decoded.bad.as_slice() {
            [DecodeError::BadRecord { index: 1, field, .. }] if *field == named => {}
            other => panic!("{pointer}: {other:?}"),
        }
    }
}

#[test]
fn an_unknown_source_is_refused_by_name() {
    for (file, pointer) in
        [("s3_sqs_direct.json", "/Records/0/eventSource"), ("eventbridge_object_created.json", "/source")]
    {
        let mut message = sample_json(file);
        *message.pointer_mut(pointer).unwrap() = "acme:s3".into();
        match decode_json(&message) {
            Err(DecodeError::UnknownSource { index: 0, origin }) => assert_eq!(origin, "acme:s3"),
            other => panic!("{file}: {other:?}"),
        }
    }
}

#[test]
fn only_the_major_version_counts() {
    for (file, pointer, good, bad) in [
        ("s3_sqs_direct.json", "/Records/0/eventVersion", "2.9", "3.0"),
        ("minio_amqp.json", "/Records/0/eventVersion", "2", "20.1"),
        ("eventbridge_object_created.json", "/version", "0", "1"),
        ("eventbridge_object_created.json", "/detail/version", "1", "2"),
        ("eventbridge_object_created.json", "/detail/event-version", "1.7", "2.0"),
    ] {
        let mut message = sample_json(file);
        *message.pointer_mut(pointer).unwrap() = good.into();
        decode_json(&message).unwrap();
        *message.pointer_mut(pointer).unwrap() = bad.into();
        match decode_json(&message) {
            Err(DecodeError::UnsupportedVersion { version, .. }) => assert_eq!(version, bad),
            other => panic!("{file} {pointer}: {other:?}"),
        }
    }
}

#[test]
fn shapes_that_are_not_supported_are_named() {
    for (message, named) in [
        (json!([1]), "not an object"),
        (json!({ "Records": [] }), "without a record"),
        (json!({ "Records": {} }), "not a list"),
        (json!({ "colour": "blue" }), "[colour]"),
        (json!({}), "[]"),
    ] {
        let error = decode_json(&message).unwrap_err();
        assert!(matches!(error, DecodeError::UnknownShape { .. }), "{error:?}");
        assert!(error.to_string().contains(named), "{error}");
    }
}

#[test]
fn too_long_a_message_is_refused() {
    let mut body = sample("s3_sqs_direct.json");
    body.resize(MAX_MESSAGE_BYTES, b' ');
    decode(&body).unwrap();
    body.push(b' ');
    assert!(matches!(decode(&body), Err(DecodeError::TooLong { len }) if len == MAX_MESSAGE_BYTES + 1));
}

#[test]
fn errors_stay_short() {
    let long = "x".repeat(100_000);
    let mut source = sample_json("s3_sqs_direct.json");
    source["Records"][0]["eventSource"] = long.clone().into();
    let mut version = sample_json("s3_sqs_direct.json");
    version["Records"][0]["eventVersion"] = long.clone().into();
    for message in [json!({ long.as_str(): 1 }), source, version] {
        assert!(decode_json(&message).unwrap_err().to_string().len() < 400);
    }
}

/// JSON that often looks like a message, with anything in its fields.
fn any_json() -> impl Strategy<Value = Value> {
    let names = prop::sample::select(vec![
        "Records",
        "eventSource",
        "eventVersion",
        "eventName",
        "s3",
        "bucket",
        "object",
        "name",
        "key",
        "size",
        "Type",
        "TopicArn",
        "Message",
        "detail-type",
        "detail",
        "source",
        "version",
        "Event",
        "specversion",
        "type",
        "data",
        "account",
        "action",
    ]);
    let words = prop::sample::select(vec![
        "aws:s3",
        "aws.s3",
        "ceph:s3",
        "2.1",
        "0",
        "ObjectCreated:Put",
        "Object Created",
        "Notification",
        "s3:TestEvent",
        "1.0",
        "com.amazonaws.s3.ObjectCreated:Put",
        "PutObject",
    ]);
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<i64>().prop_map(Value::from),
        ".*".prop_map(Value::from),
        words.prop_map(Value::from),
    ];
    leaf.prop_recursive(6, 64, 8, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((names.clone(), inner), 0..8)
                .prop_map(|fields| fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()),
        ]
    })
}

proptest! {
    #[test]
    fn any_bytes_give_an_answer(body in prop::collection::vec(any::<u8>(), 0..2048)) {
        prop_assert!(decode(&body).is_err());
    }

    #[test]
    fn any_json_gives_an_answer(message in any_json()) {
        if let Ok(decoded) = decode_json(&message) {
            prop_assert!(!decoded.records.is_empty());
        }
    }

    #[test]
    fn any_key_of_a_record_gives_an_answer(key in ".*") {
        let mut message = sample_json("s3_sqs_direct.json");
        message["Records"][0]["s3"]["object"]["key"] = key.as_str().into();
        match decode_json(&message) {
            Ok(decoded) => prop_assert!(created(decoded).key.as_str().len() <= key.len()),
            Err(DecodeError::BadRecord { index: 0, field: "s3.object.key", .. }) => {}
            Err(error) => return Err(TestCaseError::fail(error.to_string())),
        }
    }

    #[test]
    fn encode_round_trips(
        bucket in "[a-zA-Z0-9.:_-]{3,63}",
        key in "\\PC{1,200}",
        version in prop::option::of("[!-~]{1,64}"),
    ) {
        let bucket: BucketName = bucket.parse().unwrap();
        let key: ObjectKey = key.parse().unwrap();
        let version: Option<VersionId> = version.map(|version| version.parse().unwrap());
        let event = created(decode(encode(&bucket, &key, version.as_ref()).as_bytes()).unwrap());
        prop_assert_eq!((event.bucket, event.key, event.version), (bucket, key, version));
        prop_assert_eq!((event.etag, event.size, event.occurred_at), (None, None, None));
    }
}
