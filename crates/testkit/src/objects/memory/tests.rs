use super::*;
use crate::objects::{Setup, conforms};

fn names() -> (BucketName, ObjectKey) {
    ("bucket".parse().unwrap(), "quarantine/1".parse().unwrap())
}

#[tokio::test]
async fn the_fake_keeps_the_contract() {
    let (bucket, _) = names();
    for (store, versioned) in
        [(MemoryObjectStore::new(&["bucket"]), false), (MemoryObjectStore::new(&["bucket"]).with_versioning(), true)]
    {
        conforms(Setup { store: &store, client: &store, bucket: &bucket, versioned }).await.unwrap();
    }
}

#[tokio::test]
async fn a_fault_strikes_one_call_on_its_side_of_the_effect() {
    let (bucket, key) = names();
    let store = MemoryObjectStore::new(&["bucket"]);
    store.put("bucket", "quarantine/1", b"bytes");
    store.fault(Operation::Delete, Fault::Fail(Effect::Before, Failure::Unavailable));
    assert!(matches!(store.delete(&bucket, &key, None).await, Err(StoreError::Unavailable { .. })));
    assert!(store.object("bucket", "quarantine/1").is_some());
    store.fault(Operation::Delete, Fault::Fail(Effect::After, Failure::Unavailable));
    assert!(matches!(store.delete(&bucket, &key, None).await, Err(StoreError::Unavailable { .. })));
    assert!(store.object("bucket", "quarantine/1").is_none());
    store.delete(&bucket, &key, None).await.unwrap();
    assert_eq!(store.calls(Operation::Delete), 3);
}

#[tokio::test]
async fn a_hook_overwrites_between_head_and_get() {
    let (bucket, key) = names();
    let store = MemoryObjectStore::new(&["bucket"]);
    store.put("bucket", "quarantine/1", b"first");
    store.before(Operation::Fetch, |store| drop(store.put("bucket", "quarantine/1", b"later")));
    let head = store.head(&bucket, &key, None).await.unwrap().unwrap();
    assert!(matches!(store.fetch(&head).await, Err(StoreError::Changed { .. })));
}

#[tokio::test]
async fn a_dishonest_store_hands_out_whatever_is_there() {
    let store = MemoryObjectStore::new(&["bucket"]).with_versioning().dishonest();
    let head = store.put("bucket", "quarantine/1", b"first");
    store.put("bucket", "quarantine/1", b"later");
    assert_eq!(contents(&store.fetch(&head).await.unwrap()).unwrap(), b"later");
}

#[tokio::test]
async fn an_outage_lasts_until_it_is_lifted() {
    let (bucket, _) = names();
    let store = MemoryObjectStore::new(&["bucket"]);
    store.outage(Some(Failure::Unavailable));
    for _ in 0..3 {
        assert!(store.check(&bucket).await.is_err());
    }
    store.outage(None);
    store.check(&bucket).await.unwrap();
}
