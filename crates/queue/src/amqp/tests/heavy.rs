//! What needs a broker of its own: TLS, narrow permissions, its time-out and alarms, its death.

use std::{
    net::{Ipv4Addr, TcpListener},
    path::Path,
    process::{Child, Command, Stdio},
};

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use tempfile::TempDir;

use super::*;

const SERVER: &str = "/usr/lib/rabbitmq/bin/rabbitmq-server";
const CONTROL: &str = "/usr/lib/rabbitmq/bin/rabbitmqctl";

/// `narrow` may read and write and declares nothing. Both passwords are `guest`: the base64 of the salt `salt` and the
/// SHA-256 of salt and password.
const DEFINITIONS: &str = r#"{
  "vhosts": [{"name": "/"}],
  "users": [
    {"name": "guest", "password_hash": "HASH", "hashing_algorithm": "rabbit_password_hashing_sha256", "tags": "administrator"},
    {"name": "narrow", "password_hash": "HASH", "hashing_algorithm": "rabbit_password_hashing_sha256", "tags": ""}
  ],
  "permissions": [
    {"user": "guest", "vhost": "/", "configure": ".*", "write": ".*", "read": ".*"},
    {"user": "narrow", "vhost": "/", "configure": "", "write": ".*", "read": ".*"}
  ]
}"#;

struct Broker {
    folder: TempDir,
    ports: Ports,
    epmd: Child,
    server: Option<Child>,
}

#[derive(Clone, Copy)]
struct Ports {
    plain: u16,
    tls: u16,
    epmd: u16,
    distribution: u16,
}

impl Ports {
    fn free() -> Self {
        let listeners = [(); 4].map(|()| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap());
        let [plain, tls, epmd, distribution] = listeners.map(|listener| listener.local_addr().unwrap().port());
        Self { plain, tls, epmd, distribution }
    }
}

impl Broker {
    fn new() -> Self {
        let (folder, ports) = (tempfile::tempdir().unwrap(), Ports::free());
        let home = folder.path();
        certificates(home);
        std::fs::write(home.join("definitions.json"), DEFINITIONS.replace("HASH", &password_hash("guest"))).unwrap();
        std::fs::write(home.join("enabled_plugins"), "[].\n").unwrap();
        std::fs::write(home.join("empty"), "").unwrap();
        // The broker looks every second for deliveries that were not acknowledged for three.
        std::fs::write(home.join("advanced.config"), "[{rabbit, [{channel_tick_interval, 1000}]}].\n").unwrap();
        let file = |name: &str| home.join(name).display().to_string();
        let settings = [
            "disk_free_limit.absolute = 10MB".to_owned(),
            "consumer_timeout = 3000".to_owned(),
            format!("load_definitions = {}", file("definitions.json")),
            format!("listeners.ssl.default = 127.0.0.1:{}", ports.tls),
            format!("ssl_options.cacertfile = {}", file("ca.pem")),
            format!("ssl_options.certfile = {}", file("server.pem")),
            format!("ssl_options.keyfile = {}", file("server.key")),
        ];
        std::fs::write(home.join("rabbitmq.conf"), settings.join("\n") + "\n").unwrap();
        let epmd = Command::new("epmd")
            .args(["-port", &ports.epmd.to_string(), "-address", "127.0.0.1"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("epmd, a part of Erlang");
        Self { folder, ports, epmd, server: None }
    }

    fn command(&self, program: &str) -> Command {
        let home = self.folder.path();
        let mut command = Command::new(program);
        command
            .current_dir(home)
            .env("HOME", home)
            .env("ERL_EPMD_ADDRESS", "127.0.0.1")
            .env("ERL_EPMD_PORT", self.ports.epmd.to_string())
            .env("RABBITMQ_NODENAME", "heavy@localhost")
            .env("RABBITMQ_CONF_ENV_FILE", home.join("empty"));
        command
    }

    /// Starts it on the state that is there, and waits until it answers.
    async fn start(&mut self) {
        let home = self.folder.path();
        let log = std::fs::File::create(home.join("log")).unwrap();
        let mut command = self.command(SERVER);
        command
            .env("RABBITMQ_NODE_IP_ADDRESS", "127.0.0.1")
            .env("RABBITMQ_NODE_PORT", self.ports.plain.to_string())
            .env("RABBITMQ_DIST_PORT", self.ports.distribution.to_string())
            .env("RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS", "-kernel inet_dist_use_interface {127,0,0,1}")
            .env("RABBITMQ_CONFIG_FILE", home.join("rabbitmq.conf"))
            .env("RABBITMQ_ADVANCED_CONFIG_FILE", home.join("advanced.config"))
            .env("RABBITMQ_ENABLED_PLUGINS_FILE", home.join("enabled_plugins"))
            .env("RABBITMQ_MNESIA_BASE", home.join("mnesia"))
            .env("RABBITMQ_GENERATED_CONFIG_DIR", home.join("generated"))
            .env("RABBITMQ_LOG_BASE", home.join("logs"))
            .env("RABBITMQ_LOGS", "-")
            .env("RABBITMQ_PID_FILE", home.join("pid"))
            // The script becomes the Erlang machine, so that our child is the broker itself.
            .env("RABBITMQ_ALLOW_INPUT", "1")
            .env("RABBITMQ_SERVER_START_ARGS", "-noinput")
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log);
        self.server = Some(command.spawn().expect("a RabbitMQ; `cargo xtask test` installs one"));
        let (url, end) = (self.url("guest"), Clock::now() + Duration::from_mins(2));
        while lapin::Connection::connect(&url, lapin::ConnectionProperties::default()).await.is_err() {
            let log = || std::fs::read_to_string(home.join("log")).unwrap_or_default();
            assert!(Clock::now() < end, "the broker does not start: {}", log());
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    fn kill(&mut self) {
        if let Some(mut server) = self.server.take() {
            server.kill().unwrap();
            server.wait().unwrap();
        }
    }

    fn control(&self, arguments: &[&str]) {
        let output = self.command(CONTROL).args(["-n", "heavy@localhost"]).args(arguments).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    fn url(&self, user: &str) -> String {
        format!("amqp://{user}:guest@127.0.0.1:{}", self.ports.plain)
    }

    fn tls_settings(&self, rig: &Rig) -> AmqpSettings {
        let settings = rig.through(&format!("amqps://guest:guest@localhost:{}", self.ports.tls));
        AmqpSettings { ca_certificate: Some(self.folder.path().join("ca.pem")), ..settings }
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.kill();
        if self.epmd.kill().is_ok() {
            let reaped = self.epmd.wait();
            assert!(reaped.is_ok() || std::thread::panicking(), "{reaped:?}");
        }
    }
}

fn password_hash(password: &str) -> String {
    use base64::Engine;
    use sha2::Digest;

    let salted = [b"salt", password.as_bytes()].concat();
    base64::engine::general_purpose::STANDARD.encode([&b"salt"[..], &sha2::Sha256::digest(salted)].concat())
}

/// An authority, and a certificate of its for `localhost`.
fn certificates(folder: &Path) {
    let mut authority = CertificateParams::new(Vec::new()).unwrap();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    std::fs::write(folder.join("ca.pem"), authority.self_signed(&key).unwrap().pem()).unwrap();
    let issuer = Issuer::new(authority, key);
    let server = KeyPair::generate().unwrap();
    let certificate =
        CertificateParams::new(vec!["localhost".to_owned()]).unwrap().signed_by(&server, &issuer).unwrap();
    std::fs::write(folder.join("server.pem"), certificate.pem()).unwrap();
    std::fs::write(folder.join("server.key"), server.serialize_pem()).unwrap();
}

/// One test, because a broker takes up to half a minute to start.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn heavy_a_broker_with_tls_narrow_users_time_outs_and_alarms_dies_and_comes_back() {
    let mut broker = Broker::new();
    broker.start().await;
    let rig = Rig::at(&broker.url("guest"));
    who_may_not_declare(&broker, &rig).await;
    only_a_trusted_certificate_will_do(&broker, &rig).await;
    let queue = AmqpQueue::new(&broker.tls_settings(&rig)).unwrap();
    what_times_out_comes_again(&queue).await;
    an_alarm_stops_what_is_published_and_nothing_else(&broker, &queue).await;
    what_was_sent_outlives_the_broker(&mut broker, &queue).await;
}

async fn who_may_not_declare(broker: &Broker, rig: &Rig) {
    let narrow = AmqpQueue::new(&rig.through(&broker.url("narrow"))).unwrap();
    let error = narrow.receive(1).await.unwrap_err();
    let QueueError::Refused { source, .. } = &error else { panic!("{error:?}") };
    assert!(source.to_string().starts_with("ACCESS_REFUSED"), "{source}");
    declare(&rig.settings).await.unwrap();
    let declared = declare(&rig.through(&broker.url("narrow"))).await.unwrap();
    assert_eq!((declared.existed.len(), declared.made.len()), (7, 0));
    narrow.send("by one who may not declare").await.unwrap();
    let first = next(&narrow).await;
    narrow.retry_after(&first.tag, Duration::from_secs(1)).await.unwrap();
    let second = next(&narrow).await;
    narrow.dead_letter(&second, "why").await.unwrap();
    let letters = AmqpDeadLetters::new(&rig.through(&broker.url("narrow"))).unwrap();
    assert_eq!(letters.receive(10).await.unwrap().len(), 1);
}

async fn only_a_trusted_certificate_will_do(broker: &Broker, rig: &Rig) {
    let trusted = broker.tls_settings(rig);
    let stranger = AmqpSettings { ca_certificate: None, ..trusted.clone() };
    let another = AmqpSettings { url: trusted.url.replace("localhost", "127.0.0.1"), ..trusted.clone() };
    for settings in [stranger, another] {
        let error = AmqpQueue::new(&settings).unwrap().check().await.unwrap_err();
        let QueueError::Unavailable { source, .. } = &error else { panic!("{error:?}") };
        assert!(source.to_string().contains("certificate"), "{source}");
    }
    let missing = AmqpSettings { ca_certificate: Some(broker.folder.path().join("no-such.pem")), ..trusted.clone() };
    let error = AmqpQueue::new(&missing).unwrap().check().await.unwrap_err();
    assert!(
        matches!(&error, QueueError::Refused { source, .. } if source.to_string().contains("no-such.pem")),
        "{error:?}"
    );
    AmqpQueue::new(&trusted).unwrap().check().await.unwrap();
}

/// The broker closes the channel of a consumer that keeps a delivery for too long.
async fn what_times_out_comes_again(queue: &AmqpQueue) {
    queue.send("slow work").await.unwrap();
    let late = next(queue).await;
    let again = next(queue).await;
    assert_eq!(again.body, late.body);
    queue.acknowledge(&late.tag).await.unwrap();
    queue.acknowledge(&again.tag).await.unwrap();
    assert!(queue.receive(1).await.unwrap().is_empty());
}

async fn an_alarm_stops_what_is_published_and_nothing_else(broker: &Broker, queue: &AmqpQueue) {
    for body in ["first", "second"] {
        queue.send(body).await.unwrap();
    }
    broker.control(&["set_vm_memory_high_watermark", "0.00001"]);
    let end = Clock::now() + Duration::from_secs(20);
    let error = loop {
        let start = Clock::now();
        match queue.send("more").await {
            Ok(()) => assert!(Clock::now() < end, "the alarm was not raised"),
            Err(error) => {
                assert!(start.elapsed() < Duration::from_secs(12), "it took {:?}", start.elapsed());
                break error;
            }
        }
    };
    assert!(matches!(error, QueueError::Unavailable { .. }), "{error:?}");
    let start = Clock::now();
    assert!(matches!(queue.send("more").await, Err(QueueError::Unavailable { .. })));
    assert!(start.elapsed() < Duration::from_secs(1), "a broker that said so is not asked again");
    let first = next(queue).await;
    queue.acknowledge(&first.tag).await.unwrap();
    let second = next(queue).await;
    queue.retry_after(&second.tag, Duration::from_secs(1)).await.unwrap();
    broker.control(&["set_vm_memory_high_watermark", "0.9"]);
    until("messages are taken again", async || queue.send("after the alarm").await.is_ok()).await;
    let mut bodies = std::collections::BTreeSet::new();
    while !bodies.contains("after the alarm") || !bodies.contains("second") {
        let delivery = next(queue).await;
        queue.acknowledge(&delivery.tag).await.unwrap();
        bodies.insert(String::from_utf8(delivery.body).unwrap());
    }
    assert!(!bodies.contains("first"), "what was acknowledged in the alarm came again");
    // What was refused may have been published all the same.
    while let Some(copy) = queue.receive(1).await.unwrap().pop() {
        queue.acknowledge(&copy.tag).await.unwrap();
    }
}

async fn what_was_sent_outlives_the_broker(broker: &mut Broker, queue: &AmqpQueue) {
    queue.pause().await.unwrap();
    queue.send("before the end").await.unwrap();
    let held = next(queue).await;
    // It dies short of memory; what comes back is not.
    broker.control(&["set_vm_memory_high_watermark", "0.00001"]);
    until("the alarm is raised", async || queue.send("more").await.is_err()).await;
    broker.kill();
    queue.acknowledge(&held.tag).await.unwrap();
    let start = Clock::now();
    until("it is noticed", async || matches!(queue.receive(1).await, Err(QueueError::Unavailable { .. }))).await;
    assert!(matches!(queue.send("nobody hears").await, Err(QueueError::Unavailable { .. })));
    assert!(start.elapsed() < Duration::from_secs(12), "it took {:?}", start.elapsed());
    broker.start().await;
    queue.send("after").await.unwrap();
    let mut bodies = std::collections::BTreeSet::new();
    while !bodies.contains("before the end") || !bodies.contains("after") {
        let delivery = next(queue).await;
        queue.acknowledge(&delivery.tag).await.unwrap();
        bodies.insert(String::from_utf8(delivery.body).unwrap());
    }
}
