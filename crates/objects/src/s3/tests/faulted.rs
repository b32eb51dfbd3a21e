//! Between the adapter and a good store: requests that never arrive, answers that are lost, cut or wrong.

use lazaret_testkit::proxy::{Fault, Faults, Protocol, Proxy};

use super::*;

/// Small enough that two parts are quick: the adapter's own parts are not.
const PARTS_BYTES: usize = 2_000_000;

impl Rig {
    /// The same bucket by way of a proxy.
    async fn behind_a_proxy(mut self) -> (Self, Faults, Proxy) {
        let server = self.endpoint.strip_prefix("http://").unwrap().trim_end_matches('/').parse().unwrap();
        let faults = Faults::new();
        let proxy = Proxy::start("s3", Protocol::Http, server, &faults).unwrap();
        (self.store, self.dir) = store_with(settings_for(&format!("http://{}", proxy.address()))).await;
        (self, faults, proxy)
    }
}

/// How what is published gets there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Copy,
    Put,
    Parts,
}

/// A store behind a proxy, an object that was fetched from it, and where it is published.
struct Between {
    rig: Rig,
    way: Way,
    head: ObjectHead,
    bytes: Spooled,
    key: PublishedKey,
    faults: Faults,
    _proxy: Proxy,
}

impl Between {
    async fn new(way: Way) -> Self {
        let rig = Rig::new(Checksums::WhenSupported, way == Way::Copy).await;
        let (mut rig, faults, proxy) = rig.behind_a_proxy().await;
        rig.store.capabilities = copying();
        rig.store.multipart_above_bytes = MIB;
        let bytes = if way == Way::Parts { vec![7; PARTS_BYTES] } else { b"scanned".to_vec() };
        let head = rig.put("quarantine/1", &bytes).await;
        let bytes = rig.store.fetch(&head).await.unwrap();
        faults.restart();
        Self { rig, way, head, bytes, key: published_key("1"), faults, _proxy: proxy }
    }

    async fn publish(&self) -> Result<(), StoreError> {
        publish(&self.rig, &self.key, PublishSource::AsIs { spooled: &self.bytes, object: &self.head }).await
    }

    /// What lies there is what was scanned, with our headers.
    async fn is_published(&self) {
        let back = self.rig.store.read_back(&self.rig.bucket, &self.key).await.unwrap().unwrap();
        assert_eq!((back.size, back.sha256), (self.bytes.len(), *self.bytes.sha256()), "{:?}", self.way);
        assert_eq!(back.content_type.as_deref(), Some("application/pdf"));
        assert_eq!(back.unexpected, []);
    }

    /// The numbers of the requests of one undisturbed publish.
    async fn requests(&self) -> std::ops::RangeInclusive<usize> {
        self.publish().await.unwrap();
        let count = self.faults.count();
        assert_eq!(count, if self.way == Way::Parts { 3 } else { 1 }, "{:?}", self.faults.seen());
        1..=count
    }
}

fn error_answer(status: u16, code: &str) -> Vec<u8> {
    let body = format!("<?xml version=\"1.0\"?>\n<Error><Code>{code}</Code><Message>halfway</Message></Error>");
    let head =
        format!("HTTP/1.1 {status} Said\r\nContent-Type: application/xml\r\nContent-Length: {}\r\n\r\n", body.len());
    (head + &body).into_bytes()
}

#[tokio::test]
async fn one_request_or_answer_lost_converges_by_itself() {
    for way in [Way::Copy, Way::Put, Way::Parts] {
        let between = Between::new(way).await;
        for request in between.requests().await {
            for fault in [Fault::CutBefore, Fault::CutAfter, Fault::Truncate] {
                let name = format!("{way:?}, request {request}, {fault:?}");
                between.rig.store.delete(&between.rig.bucket, between.key.as_key(), None).await.unwrap();
                between.faults.restart();
                between.faults.at(request, fault);
                between.publish().await.unwrap_or_else(|error| panic!("{name}: {error:?}"));
                assert_eq!(between.faults.pending(), 0, "{name}");
                between.is_published().await;
            }
        }
    }
}

#[tokio::test]
async fn every_try_lost_is_said_and_the_next_publish_converges() {
    for way in [Way::Copy, Way::Put, Way::Parts] {
        let between = Between::new(way).await;
        for request in between.requests().await {
            for fault in [|| Fault::CutBefore, || Fault::CutAfter, || Fault::Truncate] {
                let name = format!("{way:?}, request {request}, {:?}", fault());
                between.rig.store.delete(&between.rig.bucket, between.key.as_key(), None).await.unwrap();
                between.faults.restart();
                for again in 0..ATTEMPTS as usize {
                    between.faults.at(request + again, fault());
                }
                let lost = between.publish().await;
                assert!(matches!(lost, Err(StoreError::Unavailable { .. })), "{name}: {lost:?}");
                between.faults.restart();
                between.publish().await.unwrap();
                between.is_published().await;
            }
        }
    }
}

#[tokio::test]
async fn an_error_behind_a_200_is_not_believed_and_the_next_publish_converges() {
    for (way, last) in [(Way::Copy, 1), (Way::Parts, 3)] {
        let between = Between::new(way).await;
        for (code, times) in [("InternalError", 1), ("InternalError", ATTEMPTS as usize), ("InvalidRequest", 1)] {
            for wrong in [Fault::Answer, Fault::AnswerAfter] {
                let name = format!("{way:?}, {times} times {code}, {:?}", wrong(Vec::new()));
                between.rig.store.delete(&between.rig.bucket, between.key.as_key(), None).await.unwrap();
                between.faults.restart();
                for again in 0..times {
                    between.faults.at(last + again, wrong(error_answer(200, code)));
                }
                let answered = between.publish().await;
                let expected = match (way, code, times) {
                    // The SDK asks again; what is no copy becomes an upload.
                    (_, "InternalError", 1) | (Way::Copy, "InvalidRequest", _) => answered.is_ok(),
                    (_, "InternalError", _) => matches!(answered, Err(StoreError::Unavailable { .. })),
                    _ => matches!(answered, Err(StoreError::Refused { .. })),
                };
                assert!(expected, "{name}: {answered:?}");
                assert_eq!(between.faults.pending(), 0, "{name}");
                if answered.is_err() {
                    between.publish().await.unwrap();
                }
                between.is_published().await;
            }
        }
    }
}

#[tokio::test]
async fn a_completion_whose_answer_was_lost_finds_no_upload_and_is_done() {
    let between = Between::new(Way::Parts).await;
    let gone = error_answer(404, "NoSuchUpload");
    between.faults.at(3, Fault::CutAfter);
    between.faults.at(4, Fault::Answer(gone.clone()));
    between.publish().await.unwrap();
    assert_eq!(between.faults.pending(), 0);
    between.is_published().await;

    // Somebody else aborted it: nothing is there, and nothing is believed to be.
    between.rig.store.delete(&between.rig.bucket, between.key.as_key(), None).await.unwrap();
    between.faults.restart();
    between.faults.at(3, Fault::Answer(gone));
    let aborted = between.publish().await;
    assert!(matches!(aborted, Err(StoreError::Refused { .. })), "{aborted:?}");
    between.publish().await.unwrap();
    between.is_published().await;
}

#[tokio::test]
async fn a_read_back_that_is_cut_short_is_an_error() {
    let between = Between::new(Way::Parts).await;
    between.publish().await.unwrap();
    between.faults.restart();
    between.faults.at(1, Fault::Truncate);
    let cut = between.rig.store.read_back(&between.rig.bucket, &between.key).await;
    assert!(matches!(cut, Err(StoreError::Body { .. })), "{cut:?}");
    between.faults.at(1, Fault::Truncate);
    let cut = between.rig.store.fetch(&between.head).await;
    assert!(matches!(cut, Err(StoreError::Body { .. })), "{cut:?}");
    assert_eq!(between.faults.pending(), 0);
    between.is_published().await;
}

#[tokio::test]
async fn whatever_is_denied_to_a_probe_is_unknown_and_said() {
    let rig = Rig::new(Checksums::WhenSupported, true).await;
    let clean = rig.probe().await;
    let (rig, faults, _proxy) = rig.behind_a_proxy().await;
    rig.probe().await;
    let requests = faults.count();
    for request in 1..=requests {
        faults.restart();
        faults.at(request, Fault::Answer(error_answer(403, "AccessDenied")));
        let found = rig.probe().await;
        let name = format!("request {}", faults.seen()[request - 1].what);
        let claimed = clean.list().into_iter().zip(found.list());
        for (truth, found) in claimed.filter(|(_, found)| found.honoured != Honoured::Unknown) {
            assert_eq!(found, truth, "{name}");
        }
        let warning = found.warning().unwrap_or_else(|| panic!("{name}: nothing is said"));
        let left = rig.litter().await;
        assert!(left.is_empty() || warning.contains("may remain"), "{name}: {left:?} {warning}");
    }
}

#[tokio::test]
async fn a_probe_whose_answers_are_lost_leaves_nothing_behind() {
    let rig = Rig::new(Checksums::WhenSupported, true).await;
    let (rig, faults, _proxy) = rig.behind_a_proxy().await;
    rig.probe().await;
    let seen = faults.seen();
    let writes = seen.iter().filter(|request| request.what.starts_with('P')).map(|request| request.number);
    for request in writes {
        faults.restart();
        for again in 0..ATTEMPTS as usize {
            faults.at(request + again, Fault::CutAfter);
        }
        let probed = probe(&rig.store, &rig.bucket).await;
        let name = &seen[request - 1].what;
        assert_eq!(rig.litter().await, Vec::<String>::new(), "{name}: {probed:?}");
        assert_eq!(probed.is_err(), request <= 2, "{name}: {probed:?}");
    }
}
