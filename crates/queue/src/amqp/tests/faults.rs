//! Connections that are cut, brokers that are silent, and queues that go away.

use std::{
    net::{SocketAddr, TcpListener},
    sync::mpsc,
};

use lazaret_testkit::proxy::{Fault, Faults, Protocol, Proxy, Request, Then};

use super::*;

/// A proxy in front of the shared broker, and the URL through it.
fn proxy(faults: &Faults) -> (Proxy, String) {
    let url = rig::broker_url();
    let (login, address) = url.trim_end_matches('/').rsplit_once('@').expect("user:password@host:port");
    let server: SocketAddr = address.parse().expect("an address");
    let proxy = Proxy::start("broker", Protocol::Amqp, server, faults).expect("a proxy");
    let url = format!("{login}@{}", proxy.address());
    (proxy, url)
}

fn is(what: &'static str) -> impl Fn(&Request) -> bool + Send + 'static {
    move |request| request.what.contains(what)
}

#[tokio::test]
async fn a_cut_connection_is_replaced_and_its_deliveries_come_again() {
    let rig = Rig::new();
    let (proxy, url) = proxy(&Faults::new());
    let queue = AmqpQueue::new(&rig.through(&url)).unwrap();
    queue.check().await.unwrap();
    for body in ["a", "b"] {
        queue.send(body).await.unwrap();
    }
    let old = [next(&queue).await, next(&queue).await];
    proxy.cut().unwrap();
    let new = [next(&queue).await, next(&queue).await];
    for delivery in &old {
        queue.acknowledge(&delivery.tag).await.unwrap();
        queue.retry_after(&delivery.tag, Duration::from_millis(1)).await.unwrap();
        queue.dead_letter(delivery, "late").await.unwrap();
    }
    queue.pause().await.unwrap();
    let other = rig.queue();
    assert!(other.receive(10).await.unwrap().is_empty(), "a late settlement put a message back or made a copy");
    for delivery in &new {
        queue.acknowledge(&delivery.tag).await.unwrap();
    }
    drop(queue);
    assert!(other.receive(10).await.unwrap().is_empty());
    for suffix in [".dead-letters", ".retry.1s"] {
        assert_eq!(rig.ready(suffix).await, 0, "{suffix}");
    }
}

#[tokio::test]
async fn nothing_is_lost_when_the_connection_is_cut_around_a_settlement() {
    let rig = Rig::new();
    rig.queue().check().await.unwrap();
    for (what, fault) in [
        ("basic.ack", Fault::CutBefore),
        ("basic.ack", Fault::CutAfter),
        ("basic.nack", Fault::CutBefore),
        ("basic.publish", Fault::CutBefore),
        ("basic.publish", Fault::CutAfter),
    ] {
        let shown = format!("{what}, {fault:?}");
        let faults = Faults::new();
        let (_proxy, url) = proxy(&faults);
        let queue = AmqpQueue::new(&rig.through(&url)).unwrap();
        rig.publish(b"body", sent_properties()).await;
        let delivery = next(&queue).await;
        faults.on(1, is(what), fault);
        let settled = match what {
            "basic.nack" => queue.retry_after(&delivery.tag, Duration::ZERO).await,
            "basic.publish" => queue.retry_after(&delivery.tag, Duration::from_secs(1)).await,
            _ => queue.acknowledge(&delivery.tag).await,
        };
        settled.unwrap();
        // A negative acknowledgement has no answer: it may still be on its way to the proxy.
        let end = Clock::now() + Duration::from_secs(10);
        while faults.pending() > 0 {
            assert!(Clock::now() < end, "{shown}: nothing was cut");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        if shown != "basic.ack, CutAfter" {
            let again = next(&queue).await;
            assert_eq!(again.body, b"body", "{shown}");
            queue.acknowledge(&again.tag).await.unwrap();
        }
        // What was cut after its effect may come as well: a copy of which nobody said that it was published, or a message
        // whose acknowledgement a busy broker lost with the connection.
        queue.pause().await.unwrap();
        drop(queue);
        let other = rig.queue();
        let end = Clock::now() + Duration::from_secs(2);
        while Clock::now() < end {
            for copy in other.receive(10).await.unwrap() {
                assert!(shown.ends_with("CutAfter"), "{shown}: it came twice");
                other.acknowledge(&copy.tag).await.unwrap();
            }
        }
    }
}

#[tokio::test]
async fn a_send_that_is_cut_is_unavailable_and_the_next_one_goes() {
    let rig = Rig::new();
    let faults = Faults::new();
    let (_proxy, url) = proxy(&faults);
    let queue = AmqpQueue::new(&rig.through(&url)).unwrap();
    queue.check().await.unwrap();
    queue.send("first").await.unwrap();
    faults.on(1, is("basic.publish"), Fault::CutBefore);
    let cut = queue.send("second").await;
    assert!(matches!(cut, Err(QueueError::Unavailable { .. })), "{cut:?}");
    queue.send("third").await.unwrap();
    assert_eq!(rig.ready("").await, 2);
}

#[tokio::test]
async fn a_silent_broker_is_unavailable_within_the_limit() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let settings = AmqpSettings::new(format!("amqp://{}", silent.local_addr().unwrap()), "uploads");
    let queue = AmqpQueue::new(&settings).unwrap();
    let letters = AmqpDeadLetters::new(&settings).unwrap();
    let start = Clock::now();
    let (checked, received, sent, looked) =
        tokio::join!(queue.check(), queue.receive(1), queue.send("body"), letters.receive(1));
    assert!(start.elapsed() < Duration::from_secs(12), "it took {:?}", start.elapsed());
    for error in [checked, received.map(drop), sent, looked.map(drop)] {
        assert!(matches!(error, Err(QueueError::Unavailable { .. })), "{error:?}");
    }
}

#[tokio::test]
async fn a_broker_that_goes_silent_keeps_nobody() {
    let rig = Rig::new();
    let faults = Faults::new();
    let (_proxy, url) = proxy(&faults);
    let queue = AmqpQueue::new(&rig.through(&url)).unwrap();
    queue.send("body").await.unwrap_err();
    queue.check().await.unwrap();
    queue.send("body").await.unwrap();
    let delivery = next(&queue).await;
    for what in ["basic.publish", "basic.qos", "queue.declare"] {
        faults.on(1, is(what), Fault::Swallow);
    }
    let start = Clock::now();
    let sending = queue.send("unheard");
    let (sent, acknowledged, checked) = tokio::join!(sending, queue.acknowledge(&delivery.tag), queue.check());
    assert!(start.elapsed() < Duration::from_secs(12), "it took {:?}", start.elapsed());
    assert!(matches!(sent, Err(QueueError::Unavailable { .. })), "{sent:?}");
    assert!(matches!(checked, Err(QueueError::Unavailable { .. })), "{checked:?}");
    acknowledged.unwrap();
    queue.send("heard").await.unwrap();
    assert_eq!(next(&queue).await.body, b"heard");
}

/// The consumer comes to be, and nobody waits for it any more.
#[tokio::test]
async fn a_subscription_given_up_half_way_keeps_nothing() {
    let rig = Rig::new();
    let faults = Faults::new();
    let (_proxy, url) = proxy(&faults);
    let queue = AmqpQueue::new(&rig.through(&url)).unwrap();
    queue.check().await.unwrap();
    queue.send("body").await.unwrap();
    let (release, waiting) = mpsc::channel();
    let hold_the_answer = move || waiting.recv().map_or(Then::Cut, |()| Then::GoOn);
    faults.on(1, is("basic.consume"), Fault::after(hold_the_answer));
    tokio::select! {
        received = queue.receive(1) => panic!("it ended before its consumer was there: {received:?}"),
        () = until("the consumer has the message", async || rig.ready("").await == 0) => {}
    }
    release.send(()).unwrap();
    assert_eq!(next(&rig.queue()).await.body, b"body");
}

#[tokio::test]
async fn nobody_listening_is_unavailable_and_what_cannot_work_is_refused() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let nobody = format!("amqp://{}", listener.local_addr().unwrap());
    drop(listener);
    let error = AmqpQueue::new(&AmqpSettings::new(nobody, "uploads")).unwrap().receive(1).await.unwrap_err();
    let QueueError::Unavailable { source, .. } = &error else { panic!("{error:?}") };
    assert!(source.to_string().contains("onnection refused"), "{source}");
    let url = rig::broker_url();
    let address = url.rsplit('@').next().unwrap();
    for (url, said) in [
        (format!("amqp://guest:the-secret@{address}"), "ACCESS_REFUSED"),
        (format!("{url}/no-such-vhost"), "NOT_ALLOWED - vhost no-such-vhost not found"),
    ] {
        let settings = AmqpSettings::new(url, "uploads");
        for error in [AmqpQueue::new(&settings).unwrap().check().await, declare(&settings).await.map(drop)] {
            let Err(QueueError::Refused { source, .. }) = &error else { panic!("{error:?}") };
            assert!(source.to_string().starts_with(said), "{source}");
            assert!(!format!("{error:?}").contains("the-secret"));
        }
    }
}

#[tokio::test]
async fn a_queue_that_was_deleted_is_declared_and_consumed_again() {
    let rig = Rig::new();
    let queue = rig.queue();
    queue.send("before").await.unwrap_err();
    queue.check().await.unwrap();
    queue.send("before").await.unwrap();
    let before = next(&queue).await;
    rig.delete_queue().await;
    let end = Clock::now() + Duration::from_secs(20);
    while let Err(error) = queue.send("after").await {
        assert!(matches!(error, QueueError::Refused { .. }) && Clock::now() < end, "{error:?}");
        assert!(queue.receive(1).await.unwrap().is_empty());
    }
    let after = next(&queue).await;
    assert_eq!(after.body, b"after");
    queue.acknowledge(&before.tag).await.unwrap();
    queue.retry_after(&before.tag, Duration::from_secs(1)).await.unwrap();
    assert_eq!(rig.ready(".retry.1s").await, 0, "a copy was made of what is no longer ours");
    queue.acknowledge(&after.tag).await.unwrap();
    queue.pause().await.unwrap();
    assert_eq!(rig.ready("").await, 0);
}

#[tokio::test]
async fn a_message_waits_here_when_no_copy_of_it_can_be_published() {
    let rig = Rig::new();
    let queue = rig.queue();
    queue.check().await.unwrap();
    queue.send("body").await.unwrap();
    let delivery = next(&queue).await;
    let retry = AmqpSettings { queue: rig.named(".retry.1s"), ..rig.settings.clone() };
    rig::delete(&rig.connection().await, &retry.queue).await;
    let start = Clock::now();
    queue.retry_after(&delivery.tag, Duration::from_secs(1)).await.unwrap();
    assert_eq!(next(&queue).await.body, b"body");
    assert!(start.elapsed() >= Duration::from_secs(1), "it came {:?} later", start.elapsed());
}

#[tokio::test]
async fn a_dead_letter_that_nobody_takes_is_an_error_and_the_message_comes_again() {
    let rig = Rig::new();
    let queue = rig.queue();
    queue.check().await.unwrap();
    queue.send("body").await.unwrap();
    let delivery = next(&queue).await;
    rig::delete(&rig.connection().await, &rig.named(".dead-letters")).await;
    let error = queue.dead_letter(&delivery, "why").await.unwrap_err();
    assert!(matches!(&error, QueueError::Refused { source, .. } if source.to_string() == "312 NO_ROUTE"), "{error:?}");
    queue.pause().await.unwrap();
    let other = rig.queue();
    assert_eq!(next(&other).await.body, b"body");
}
