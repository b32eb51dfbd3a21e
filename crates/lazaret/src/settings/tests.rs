use std::path::Path;

use super::*;

const LEAST: &str = r#"
    [storage]
    bucket = "uploads"
    [queue]
    kind = "embedded"
    [sessions]
    url = "sqlite:/var/lib/lazaret/lazaret.db"
    [[scanner]]
    name = "clamd"
    kind = "clamd"
    address = "unix:/run/clamav/clamd.ctl"
"#;

fn parse(text: &str, environment: &[(&str, &str)]) -> Result<Settings, SettingsError> {
    let pairs = environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    Settings::parse(text, Path::new("lazaret.toml"), pairs)
}

fn error(text: &str, environment: &[(&str, &str)]) -> String {
    let message = parse(text, environment).unwrap_err().to_string();
    assert!(!message.contains('\n'), "one line is expected: {message}");
    message
}

/// The least settings with one line put under a section header, which is added where it is missing.
fn with(section: &str, line: &str) -> String {
    if LEAST.contains(section) {
        LEAST.replace(section, &format!("{section}\n{line}"))
    } else {
        format!("{LEAST}\n{section}\n{line}")
    }
}

#[test]
fn the_least_settings_have_good_defaults() {
    let settings = parse(LEAST, &[]).unwrap();
    assert_eq!(settings.storage.published_bucket().as_str(), "uploads");
    assert_eq!(settings.worker.lease, Period::from_secs(60));
    assert_eq!(settings.worker.max_attempts.get(), 5);
    assert_eq!(settings.scanners[0].timeout, Period::from_secs(60));
    let policies = settings.policy_set();
    let image = policies.choose(&"image/webp".parse().unwrap()).unwrap();
    assert_eq!(image.action, lazaret_core::Action::ReEncode);
    assert_eq!(image.scanners, ["clamd".parse().unwrap()]);
    assert!(policies.choose(&"text/html".parse().unwrap()).is_none());
}

#[test]
fn the_example_file_is_valid() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../config/lazaret.toml");
    let text = fs::read_to_string(&path).unwrap();
    let settings = Settings::parse(&text, &path, std::iter::empty()).unwrap();
    assert_eq!(settings.queue.kind, QueueKind::Sqs);
    // The policies it shows are the built-in ones, so that a reader sees what holds without them.
    let shown = settings.policies.clone().unwrap();
    let names: Vec<_> = settings.scanners.iter().map(|scanner| scanner.name.clone()).collect();
    let core = |policies: &[Policy]| policies.iter().map(Policy::to_core).collect::<Vec<_>>();
    assert_eq!(core(&shown), core(&policy::built_in(&names)));
}

#[test]
fn the_committed_schema_is_the_one_of_this_program() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../config/schema.json");
    let committed: serde_json::Value = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
    assert_eq!(committed, serde_json::to_value(Settings::schema()).unwrap(), "run: cargo xtask schema");
}

#[test]
fn unknown_keys_are_errors_that_name_their_path() {
    insta::assert_snapshot!(error(&with("[storage]", "bukket = \"x\""), &[]));
    insta::assert_snapshot!(error(&with("[[scanner]]", "tiemout = \"3s\""), &[]));
    insta::assert_snapshot!(error(&with("[colour]", "red = 1"), &[]));
    insta::assert_snapshot!(error(LEAST, &[("LAZARET__WORKER__CONCURENCY", "3")]));
}

#[test]
fn missing_keys_and_wrong_values_name_their_path() {
    insta::assert_snapshot!(error(&LEAST.replace("bucket = \"uploads\"", ""), &[]));
    insta::assert_snapshot!(error(&with("[worker]", "lease = \"soon\""), &[]));
    insta::assert_snapshot!(error(&with("[worker]", "concurrency = 0"), &[]));
    insta::assert_snapshot!(error(&with("[storage]", "quarantine_prefix = \"quarantine\""), &[]));
    insta::assert_snapshot!(error("[storage]\nbucket = \"a\nb\"", &[]));
}

#[test]
fn the_environment_comes_before_the_file() {
    let settings = parse(
        &with("[worker]", "concurrency = 2\nlease = \"5s\""),
        &[
            ("LAZARET__WORKER__CONCURRENCY", "8"),
            ("LAZARET__STORAGE__ENDPOINT", "http://127.0.0.1:9000"),
            ("LAZARET__STORAGE__ACCESS_KEY_ID", "12345"),
            ("LAZARET__STORAGE__SECRET_ACCESS_KEY", "67890"),
            ("LAZARET__QUEUE__SQS__URL", "http://127.0.0.1/q"),
            ("LAZARET__QUEUE__KIND", "sqs"),
            ("LAZARET__SCANNER__0__TIMEOUT", "7s"),
        ],
    )
    .unwrap();
    assert_eq!(settings.worker.concurrency(), 8);
    assert_eq!(settings.worker.lease, Period::from_secs(5));
    assert_eq!(settings.storage.access_key_id.as_deref(), Some("12345"));
    assert_eq!(settings.storage.secret_access_key.unwrap().expose(), "67890");
    assert_eq!(settings.queue.sqs.unwrap().url.as_str(), "http://127.0.0.1/q");
    assert_eq!(settings.scanners[0].timeout, Period::from_secs(7));
}

#[test]
fn every_kind_of_scanner_needs_its_own_settings_and_no_others() {
    let of = |kind: &str, lines: &str| {
        let scanner = format!("kind = \"{kind}\"\n{lines}");
        LEAST.replace("kind = \"clamd\"\n    address = \"unix:/run/clamav/clamd.ctl\"", &scanner)
    };
    for (kind, lines, words) in [
        ("exec", "", "scanner[0].command: a scanner of kind \"exec\" needs it"),
        ("icap", "", "scanner[0].url: a scanner of kind \"icap\" needs it"),
        ("yara", "", "scanner[0].rules: a scanner of kind \"yara\" needs it"),
        ("clamd", "", "scanner[0].address: a scanner of kind \"clamd\" needs it"),
        ("exec", "command = [\"/bin/x\"]\nrules = \"/r\"", "a scanner of kind \"exec\" has no such setting"),
        ("exec", "command = [\"x\"]", "absolute path"),
        ("exec", "command = [\"/bin/x\"]\nmemory = 0", "more than no bytes"),
        ("icap", "url = \"http://h/s\"", "scanner[0].url"),
        ("icap", "url = \"icap://h/s\"\nmax_signature_age = \"1day\"", "nothing would ever be scanned"),
        ("clamd", "address = []", "at least one address"),
        ("clamd", "address = \"unix:/x\"\nmax_scan_time = \"2m\"", "is not less than timeout"),
    ] {
        let message = error(&of(kind, lines), &[]);
        assert!(message.contains(words), "{kind} {lines}: {message}");
    }
    let several = of("clamd", "address = [\"unix:/a\", \"tcp:h:1\"]");
    assert_eq!(parse(&several, &[]).unwrap().scanners[0].addresses(), "unix:/a, tcp:h:1");
    let yara = parse(&of("yara", "rules = \"/r\""), &[]);
    assert_eq!(yara.is_ok(), cfg!(feature = "yara"), "{yara:?}");
}

fn amqp(url: &str, queue: &str, rest: &str) -> String {
    let text = LEAST.replace("\"embedded\"", "\"amqp\"");
    format!("{text}\n[queue.amqp]\nurl = {url:?}\nqueue = {queue:?}\n{rest}")
}

#[test]
fn rules_between_settings_hold() {
    let policy = |rest: &str| format!("{LEAST}\n[[policy]]\nname = \"p\"\n{rest}");
    for (text, key) in [
        (with("[storage]", "published_prefix = \"quarantine/ok/\""), "storage.published_prefix"),
        (with("[storage]", "endpoint = \"ftp://x\""), "storage.endpoint"),
        (with("[storage]", "access_key_id = \"a\""), "storage.access_key_id"),
        (LEAST.replace("\"embedded\"", "\"sqs\""), "queue.sqs"),
        (with("[queue.sqs]", "url = \"http://q/1\"\nwait_time = \"21s\""), "queue.sqs.wait_time"),
        (with("[queue.sqs]", "url = \"http://q/1\"\nvisibility_timeout = \"13h\""), "queue.sqs.visibility_timeout"),
        (with("[queue.sqs]", "url = \"http://q/1\"\ndead_letter_url = \"http://q/1\""), "queue.sqs.dead_letter_url"),
        (LEAST.replace("\"embedded\"", "\"amqp\""), "queue.amqp"),
        (amqp("http://h", "q", ""), "queue.amqp.url"),
        (amqp("amqp:h", "q", ""), "queue.amqp.url"),
        (amqp("amqp://u:1/hunter2@h", "q", ""), "queue.amqp.url"),
        (amqp("amqp://h/v/w", "q", ""), "queue.amqp.url"),
        (amqp("amqp://h?heartbeat=often", "q", ""), "queue.amqp.url"),
        (amqp("amqp://h?heartbeat=0", "q", ""), "queue.amqp.url"),
        (amqp("amqp://h", "", ""), "queue.amqp.queue"),
        (amqp("amqp://h", "q", "ca_certificate = \"/ca.pem\""), "queue.amqp.ca_certificate"),
        (amqp("amqp://h", "q", "dead_letter_exchange = \"amq.direct\""), "queue.amqp.dead_letter_exchange"),
        (LEAST.replace("sqlite:/var/lib/lazaret/lazaret.db", "sqlite:"), "sessions.url"),
        (LEAST.replace("sqlite:/var/lib/lazaret/lazaret.db", "mysql://h/d"), "sessions.url"),
        (LEAST.replace("sqlite:/var/lib/lazaret/lazaret.db", "postgres://u:hunter2@h"), "sessions.url"),
        (LEAST.replace("sqlite:/var/lib/lazaret/lazaret.db", "postgres://u:hunter2@h/"), "sessions.url"),
        (LEAST.replace("sqlite:/var/lib/lazaret/lazaret.db", "postgres:///d"), "sessions.url"),
        (with("[events]", "kind = \"sqs\""), "events.sqs"),
        (with("[events]", "kind = \"sns\""), "events.sns"),
        (with("[events]", "kind = \"amqp\""), "events.amqp"),
        (with("[events]", "kind = \"webhook\""), "events.webhook"),
        (with("[events]", "source = \"\""), "events.source"),
        (with("[events]", "source = \"our uploads\""), "events.source"),
        (with("[events.sqs]", "url = \"sqs://q\""), "events.sqs.url"),
        (with("[events.sns]", "topic_arn = \"verdicts\""), "events.sns.topic_arn"),
        (with("[events.amqp]", "url = \"amqp://\"\nexchange = \"e\"\nrouting_key = \"r\""), "events.amqp.url"),
        (
            with("[events.amqp]", "url = \"amqp://h?heartbeat=0\"\nexchange = \"e\"\nrouting_key = \"r\""),
            "events.amqp.url",
        ),
        (with("[events.amqp]", "url = \"amqp://h\"\nexchange = \"\"\nrouting_key = \"\""), "events.amqp.routing_key"),
        (
            with("[queue.sqs]", "url = \"http://q/1\"\n[events]\nkind = \"sqs\"\n[events.sqs]\nurl = \"http://q/1\""),
            "events.sqs.url",
        ),
        (
            amqp(
                "amqp://h",
                "q",
                "[events]\nkind = \"amqp\"\n[events.amqp]\nurl = \"amqp://h\"\nexchange = \"\"\nrouting_key = \"q\"",
            ),
            "events.amqp.routing_key",
        ),
        (with("[events.webhook]", "url = \"ftp://h\"\nsecret = \"s\""), "events.webhook.url"),
        (with("[events.webhook]", "url = \"http://h\"\nsecret = \"s\"\ntimeout = \"0s\""), "events.webhook.timeout"),
        (with("[events.webhook]", "url = \"http://h\"\nsecret = \"hunter2\""), "events.webhook.secret"),
        (with("[worker]", "lease = \"0s\""), "worker.lease"),
        (with("[worker]", "spool_budget = \"1MiB\""), "worker.memory_spool_limit"),
        (with("[limits]", "max_object_size = \"5GiB\""), "limits.max_object_size"),
        (with("[limits]", "upload_ttl = \"8days\""), "limits.upload_ttl"),
        (with("[limits]", "archive_memory = \"0B\""), "limits.archive_memory"),
        (with("[limits]", "archive_ratio = 0"), "limits.archive_ratio"),
        (with("[sandbox]", "wall_time = \"0s\""), "sandbox.wall_time"),
        (format!("{LEAST}\n[[scanner]]\nname = \"clamd\"\nkind = \"clamd\"\naddress = \"unix:/x\""), "scanner[1].name"),
        (LEAST.split("[[scanner]]").next().unwrap().to_owned(), "scanner"),
        (format!("policy = []\n{LEAST}"), "policy"),
        (policy("types = []\naction = \"reject\""), "policy[0].types"),
        (policy("types = [\"application/pdf\"]\naction = \"as-is\""), "policy[0].scanners"),
        (policy("types = [\"*/*\"]\naction = \"as-is\"\nscanners = [\"other\"]"), "policy[0].scanners"),
        (policy("types = [\"image/*\"]\naction = \"re-encode\"\nscanners = [\"clamd\"]"), "policy[0].types"),
        (with("[sandbox]", "max_picture = \"0\""), "sandbox.max_picture"),
        (with("[sandbox]", "memory = \"2048GiB\""), "sandbox.memory"),
    ] {
        let message = error(&text, &[]);
        assert!(message.starts_with(&format!("settings: {key}: ")), "{key}: {message}");
        assert!(!message.contains("hunter2"), "{message}");
    }
    let apart = with("[storage]", "published_prefix = \"quarantine/ok/\"\npublished_bucket = \"safe\"");
    parse(&apart, &[]).unwrap();
    parse(&policy("types = [\"*/*\"]\naction = \"reject\""), &[]).unwrap();
}

fn policy(types: &str, action: &str, rest: &str) -> String {
    let policy = format!("name = \"p\"\ntypes = [{types}]\naction = {action:?}\nscanners = [\"clamd\"]");
    format!("{LEAST}\n[[policy]]\n{policy}\n{rest}")
}

#[test]
fn images_become_what_a_policy_says() {
    use lazaret_core::{Animation, Colour, MultiPage, OutputFormat};

    let text = policy(
        "\"image/tiff\", \"image/png\", \"image/svg+xml\"",
        "re-encode",
        "output = \"jpeg\"\nquality = 70\nresize_to = 2048\nbackground = \"#102030\"\nanimation = \"first-frame\"\n\
         pages = \"first\"\ncolour = \"keep\"\nvariants = { web = 1600, thumb = 256, w-1600 = 1600 }",
    );
    let settings = parse(&text, &[("LAZARET__POLICY__0__VARIANTS__TINY", "64")]).unwrap();
    let image = settings.policies()[0].to_core().image;
    assert_eq!((image.format, image.quality, image.max_side), (Some(OutputFormat::Jpeg), 70, Some(2048)));
    assert_eq!((image.background, image.animation), ([16, 32, 48], Animation::FirstFrame));
    assert_eq!((image.pages, image.colour), (MultiPage::First, Colour::Keep));
    let variants: Vec<_> = image.variants.iter().map(|size| (size.name.as_str(), size.max_side)).collect();
    assert_eq!(variants, [("tiny", 64), ("thumb", 256), ("w-1600", 1600), ("web", 1600)], "the smallest first");
    assert_eq!(settings.shown().unwrap()["policy"][0]["background"], "#102030");
    parse(&policy("\"application/pdf\", \"image/svg+xml\"", "sanitise", ""), &[]).unwrap();
}

#[test]
fn contradictions_in_a_policy_are_said() {
    let many = (0..9).map(|number| format!("v{number} = 1")).collect::<Vec<_>>().join(", ");
    let png = "\"image/png\"";
    for (types, action, rest, key) in [
        (png, "as-is", "variants = { thumb = 256 }", "variants"),
        (png, "as-is", "output = \"webp\"", "output"),
        (png, "reject", "quality = 80", "quality"),
        ("\"application/pdf\"", "sanitise", "resize_to = 10", "resize_to"),
        ("\"image/svg+xml\"", "sanitise", "background = \"#ffffff\"", "background"),
        (png, "sanitise", "", "types"),
        ("\"text/plain\"", "sanitise", "", "types"),
        ("\"*/*\"", "sanitise", "", "types"),
        ("\"application/pdf\"", "re-encode", "", "types"),
        ("\"image/heic\"", "re-encode", "", "types"),
        (png, "re-encode", "quality = 0", "quality"),
        (png, "re-encode", "quality = 101", "quality"),
        (png, "re-encode", "quality = 80\noutput = \"png\"", "quality"),
        (png, "re-encode", "background = \"#ffffff\"", "background"),
        (png, "re-encode", "background = \"#ffffff\"\noutput = \"webp\"", "background"),
        (png, "re-encode", "animation = \"keep\"\noutput = \"jpeg\"", "animation"),
        (png, "re-encode", "colour = \"keep\"\noutput = \"gif\"", "colour"),
        (png, "re-encode", "pages = \"first\"", "pages"),
        (png, "re-encode", "resize_to = 0", "resize_to"),
        (png, "re-encode", "resize_to = 16385", "resize_to"),
        (png, "re-encode", "resize_to = 16384\noutput = \"webp\"", "resize_to"),
        (png, "re-encode", "variants = {}", "variants"),
        (png, "re-encode", &format!("variants = {{ {many} }}"), "variants"),
        (png, "re-encode", "variants = { thumb = 0 }", "variants.thumb"),
        (png, "re-encode", "variants = { thumb = 16385 }", "variants.thumb"),
        (png, "re-encode", "variants = { web = 1600 }\nresize_to = 1024", "variants.web"),
        (png, "re-encode", "max_pixels = 200000000", "max_pixels"),
        (png, "re-encode", "max_size = \"65MiB\"", "max_size"),
        ("\"application/pdf\"", "sanitise", "max_size = \"65MiB\"", "max_size"),
    ] {
        let message = error(&policy(types, action, rest), &[]);
        assert!(message.starts_with(&format!("settings: policy[0].{key}: ")), "{action} {rest}: {message}");
    }
    for (rest, said) in [
        ("variants = { \"../x\" = 1 }", "variant name"),
        ("variants = { Thumb = 1 }", "variant name"),
        ("background = \"white\"", "#ffffff"),
        ("output = \"avif\"", "`webp`"),
        ("quality = 256", "256"),
        ("animation = \"some\"", "first-frame"),
    ] {
        let message = error(&policy(png, "re-encode", rest), &[]);
        assert!(message.contains(said) && message.contains("policy[0]."), "{rest}: {message}");
    }
    insta::assert_snapshot!(error(&policy(png, "as-is", "variants = { thumb = 256 }"), &[]), @r#"settings: policy[0].variants: only images that are encoded anew have it: action = "re-encode""#);
    insta::assert_snapshot!(error(&policy(png, "re-encode", "max_pixels = 200000000"), &[]), @"settings: policy[0].max_pixels: 200000000 pixels of 4 bytes do not fit into sandbox.max_picture of 512MiB");
}

#[test]
fn what_the_environment_got_wrong_is_blamed_on_its_variable() {
    let blamed = |name: &str, value: &str| error(LEAST, &[(name, value)]);
    insta::assert_snapshot!(blamed("LAZARET__NOPE__X", "1"), @"environment variable LAZARET__NOPE__X: nope: unknown field `nope`, expected one of `storage`, `queue`, `sessions`, `worker`, `limits`, `scanner`, `policy`, `sandbox`, `sweeper`, `events`, `telemetry`; see config/lazaret.toml or `lazaret config schema`");
    insta::assert_snapshot!(blamed("LAZARET__QUEUE__SQS__REGION", "r"), @"environment variable LAZARET__QUEUE__SQS__REGION: queue.sqs: missing field `url`; see config/lazaret.toml or `lazaret config schema`");
    insta::assert_snapshot!(blamed("LAZARET__WORKER", "{ nope = 1 }"), @"environment variable LAZARET__WORKER: worker.nope: unknown field `nope`, expected one of `concurrency`, `lease`, `max_attempts`, `drain_timeout`, `spool_dir`, `spool_budget`, `memory_spool_limit`; see config/lazaret.toml or `lazaret config schema`");
    insta::assert_snapshot!(blamed("LAZARET__WORKER__MAX_ATTEMPTS", "0"), @"environment variable LAZARET__WORKER__MAX_ATTEMPTS: worker.max_attempts: 0 is too few: at least 1 is expected; see config/lazaret.toml or `lazaret config schema`");
    insta::assert_snapshot!(blamed("LAZARET__WORKER__CONCURRENCY", "-1"), @"environment variable LAZARET__WORKER__CONCURRENCY: worker.concurrency: -1 is too few: at least 1 is expected; see config/lazaret.toml or `lazaret config schema`");
    insta::assert_snapshot!(blamed("LAZARET__WORKER__LEASE", "30"), @r#"environment variable LAZARET__WORKER__LEASE: worker.lease: "30" is not a length of time, such as "30s", "5m" or "7days"; see config/lazaret.toml or `lazaret config schema`"#);
    insta::assert_snapshot!(blamed("LAZARET__STORAGE__ENDPOINT", "http://u:hunter2@:x"), @r#"environment variable LAZARET__STORAGE__ENDPOINT: storage.endpoint: empty host: "http://u:…@:x"; see config/lazaret.toml or `lazaret config schema`"#);
    // What the file got wrong stays its own.
    let own = error(&with("[nope]", "y = 1"), &[("LAZARET__NOPE__X", "1")]);
    assert!(own.starts_with("lazaret.toml: nope: "), "{own}");
}

#[test]
fn passwords_in_urls_are_not_shown() {
    let settings = parse(&with("[storage]", "endpoint = \"http://user:hunter2@127.0.0.1:1/\""), &[]).unwrap();
    let shown = settings.shown().unwrap();
    assert_eq!(shown["storage"]["endpoint"], "http://user:…@127.0.0.1:1/");
}

#[test]
fn brokers_databases_and_buses_are_accepted_and_their_secrets_known() {
    let text = amqp(
        "amqps://lazaret:hunt%65r2@rabbit.internal:5671/uploads",
        "lazaret",
        "prefetch = 7\ndead_letter_exchange = \"dead\"\nca_certificate = \"/etc/ca.pem\"",
    );
    let text = text.replace("sqlite:/var/lib/lazaret/lazaret.db", "postgresql://lazaret:s3same@db:5432/lazaret");
    let text = format!(
        "{text}\n[events]\nkind = \"webhook\"\n[events.webhook]\nurl = \"https://e:short@hooks/x\"\nsecret = \"d2hpc3Blci13aGlzcGVyLXdoaXNwZXIh\"\n\
         [events.sqs]\nurl = \"http://q/1\"\n[events.sns]\ntopic_arn = \"arn:aws:sns:eu-west-1:1:verdicts\"\n\
         [events.amqp]\nurl = \"amqp://u@h\"\nexchange = \"verdicts\"\nrouting_key = \"v\""
    );
    let settings = parse(&text, &[]).unwrap();
    let queue = settings.queue.amqp.as_ref().unwrap();
    assert_eq!((settings.queue.kind, queue.prefetch.map(std::num::NonZero::get)), (QueueKind::Amqp, Some(7)));
    assert!(settings.sessions.is_postgres() && settings.sessions.sqlite_path().is_none());
    assert_eq!(settings.events.source, "lazaret");
    assert_eq!(settings.events.webhook.as_ref().unwrap().timeout, Period::from_secs(10));
    let secrets = settings.secrets();
    for secret in ["hunt%65r2", "hunter2", "s3same", "d2hpc3Blci13aGlzcGVyLXdoaXNwZXIh", ":short@"] {
        assert!(secrets.iter().any(|known| known == secret), "{secret}: {secrets:?}");
    }
    let shown = format!("{} {settings:?}", settings.shown().unwrap());
    for secret in ["hunt%65r2", "hunter2", "s3same", "d2hpc3Blci13aGlzcGVyLXdoaXNwZXIh"] {
        assert!(!shown.contains(secret), "{secret}: {shown}");
    }
    assert!(shown.contains("postgresql://lazaret:…@db:5432/lazaret"), "{shown}");
}

#[test]
fn a_database_behind_a_socket_is_one() {
    for url in ["postgres:///d?host=/run/postgresql", "postgres://u@h:1/d?sslmode=require", "postgres://h/?dbname=d"] {
        parse(&LEAST.replace("sqlite:/var/lib/lazaret/lazaret.db", url), &[]).unwrap();
    }
}

#[test]
fn a_wrong_prefetch_says_what_would_do() {
    for (prefetch, said) in [("0", "at least 1"), ("70000", "too many")] {
        let message = error(&amqp("amqp://h", "q", &format!("prefetch = {prefetch}")), &[]);
        assert!(message.contains("queue.amqp.prefetch") && message.contains(said), "{message}");
    }
}

#[test]
fn a_sweep_may_have_no_grace() {
    assert!(parse(&with("[sweeper]", "grace = \"0s\""), &[]).unwrap().sweeper.grace.is_zero());
    assert!(error(&with("[sweeper]", "interval = \"0s\""), &[]).contains("sweeper.interval"));
}

#[test]
fn a_database_in_memory_is_refused_with_the_reason() {
    for url in ["sqlite::memory:", "sqlite://:memory:", "sqlite:shared?mode=memory"] {
        let message = error(&LEAST.replace("sqlite:/var/lib/lazaret/lazaret.db", url), &[]);
        assert!(message.starts_with("settings: sessions.url: a database in memory cannot be shared"), "{message}");
    }
}
