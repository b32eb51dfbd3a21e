//! Cloudflare R2, and CloudEvents in both modes.

use super::*;

fn with_attributes(body: &Value, attributes: &[(&str, &str)]) -> Result<Decoded, DecodeError> {
    let attributes = attributes.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect();
    decode_with(body.to_string().as_bytes(), &attributes)
}

#[test]
fn r2_keys_are_raw_and_have_no_version() {
    let decoded = decode(&sample("r2_copied.json")).unwrap();
    let expected = ObjectEvent {
        bucket: "my-bucket".parse().unwrap(),
        key: "quarantine/a+b%20c d.jpg".parse().unwrap(),
        version: None,
        etag: Some("c846ff7a18f28c2e262116d6e8719ef0".parse().unwrap()),
        size: Some(65536),
        occurred_at: Some(at("2024-05-24T19:36:44.379Z")),
    };
    assert_eq!(created(decoded), expected);
}

#[test]
fn every_action_of_r2_is_known_and_others_are_refused() {
    let mut message = sample_json("r2_queue.json");
    for action in ["PutObject", "CopyObject", "CompleteMultipartUpload"] {
        message["action"] = action.into();
        assert!(matches!(decode_json(&message).unwrap().records[..], [Record::Created(_)]), "{action}");
    }
    for action in ["DeleteObject", "LifecycleDeletion"] {
        message["action"] = action.into();
        assert_eq!(in_short(&decode_json(&message).unwrap()), [format!("[{action}]")]);
    }
    for (pointer, value, named) in [
        ("/action", json!("RestoreObject"), "\"RestoreObject\" is not known"),
        ("/bucket", json!({ "name": "my-bucket" }), "bucket: a string is expected"),
        ("/object/key", json!(""), "object.key: missing or empty"),
        ("/object/size", json!("many"), "object.size: a number of bytes is expected"),
    ] {
        let mut bad = sample_json("r2_queue.json");
        *bad.pointer_mut(pointer).unwrap() = value;
        let error = decode_json(&bad).unwrap_err().to_string();
        assert!(error.contains(named), "{error}");
    }
}

#[test]
fn the_context_of_binary_mode_is_found_under_every_bindings_prefix() {
    let data = sample_json("cloudevents_s3.json")["data"].clone();
    for prefix in ["ce-", "CE-", "ce_", "cloudEvents:", "cloudevents_"] {
        let (version, kind) = (format!("{prefix}specversion"), format!("{prefix}type"));
        let attributes =
            [(version.as_str(), "1.0"), (kind.as_str(), "com.amazonaws.s3.ObjectCreated:Put"), ("traceparent", "00-1")];
        assert_eq!(created(with_attributes(&data, &attributes).unwrap()), red_flower(), "{prefix}");
    }
    let error = decode_json(&data).unwrap_err().to_string();
    assert!(error.contains("an object with the fields"), "without its context: {error}");
}

#[test]
fn data_in_base64_is_read() {
    let mut message = sample_json("cloudevents_s3.json");
    let data = message.as_object_mut().unwrap().remove("data").unwrap();
    message["data_base64"] =
        base64::Engine::encode(&base64::engine::general_purpose::STANDARD, data.to_string()).into();
    assert_eq!(created(decode_json(&message).unwrap()), red_flower());
    message["data_base64"] = "!".into();
    assert!(matches!(decode_json(&message), Err(DecodeError::BadRecord { field: "data_base64", .. })));
}

#[test]
fn a_cloudevent_inside_sns_is_opened() {
    let mut message = sample_json("sns_envelope.json");
    message["Message"] = sample_json("cloudevents_s3.json").to_string().into();
    assert_eq!(created(decode_json(&message).unwrap()), red_flower());
}

#[test]
fn cloudevents_of_other_kinds_are_refused_by_name() {
    for kind in
        ["google.cloud.storage.object.v1.finalized", "Microsoft.Storage.BlobCreated", "com.amazonaws.ec2.Started"]
    {
        let mut message = sample_json("cloudevents_s3.json");
        message["type"] = kind.into();
        let in_binary = [("ce-specversion", "1.0"), ("ce-type", kind)];
        for refused in [decode_json(&message), with_attributes(&message["data"], &in_binary)] {
            let error = refused.unwrap_err();
            assert!(matches!(&error, DecodeError::UnknownShape { what } if what.contains(kind)), "{error}");
        }
    }
}

#[test]
fn a_verdict_of_our_own_is_refused_in_words() {
    let verdict = sample_json("lazaret_verdict.json");
    let mut in_sns = sample_json("sns_envelope.json");
    in_sns["Message"] = verdict.to_string().into();
    let in_binary = [("cloudEvents_specversion", "1.0"), ("cloudEvents_type", "lazaret.upload.published")];
    for refused in [decode_json(&verdict), decode_json(&in_sns), with_attributes(&verdict["data"], &in_binary)] {
        let error = refused.unwrap_err();
        assert!(matches!(&error, DecodeError::OwnEvent { kind } if kind == "lazaret.upload.published"), "{error:?}");
        assert!(error.to_string().contains("[events] must not send to the queue it consumes"), "{error}");
    }
}

#[test]
fn a_cloudevent_that_is_not_whole_is_refused() {
    for (pointer, value, named) in [
        ("/specversion", json!("0.3"), "specversion \"0.3\"; 1.x is supported"),
        ("/specversion", json!(1), "specversion: a string is expected"),
        ("/type", json!(null), "type: missing or empty"),
        ("/data", json!("{}"), "eventSource: missing or empty"),
        ("/data", json!({ "Records": [] }), "Records without a record"),
        ("/data/eventSource", json!("acme:s3"), "\"acme:s3\""),
        ("/data", sample_json("cloudevents_s3.json"), "a CloudEvent inside a CloudEvent"),
    ] {
        let mut message = sample_json("cloudevents_s3.json");
        *message.pointer_mut(pointer).unwrap() = value;
        let error = decode_json(&message).unwrap_err().to_string();
        assert!(error.contains(named), "{pointer}: {error}");
    }
    let mut message = sample_json("cloudevents_s3.json");
    message["data_base64"] = "e30=".into();
    assert!(decode_json(&message).unwrap_err().to_string().contains("data_base64 as well"));
    message.as_object_mut().unwrap().retain(|name, _| !name.starts_with("data"));
    assert!(decode_json(&message).unwrap_err().to_string().contains("data: missing"));
    let error = with_attributes(&message, &[("ce-specversion", "1.0")]).unwrap_err().to_string();
    assert!(error.contains("type: missing or empty"), "{error}");
}

proptest! {
    #[test]
    fn any_attributes_give_an_answer(
        message in any_json(),
        attributes in prop::collection::btree_map("(ce-|ce_|cloudEvents:|.{0,3})(specversion|type|.{0,4})", "(1\\.0|com\\.amazonaws\\.s3\\..*|.*)", 0..4),
    ) {
        if let Ok(decoded) = decode_with(message.to_string().as_bytes(), &attributes) {
            prop_assert!(decoded.records.len() + decoded.bad.len() > 0);
        }
    }
}
