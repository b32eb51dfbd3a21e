//! Over a pipe, with answers of any bytes.

use lazaret_testkit::scanners::spooled;
use proptest::prelude::*;
use tokio::io::{AsyncReadExt, DuplexStream, ReadHalf, WriteHalf, duplex, split};

use super::*;

const OBJECT: &[u8] = b"some bytes of an object";

const CONTINUE: &[u8] = b"ICAP/1.0 100 Continue\r\n\r\n";

type Pipe = Wire<ReadHalf<DuplexStream>, WriteHalf<DuplexStream>>;

/// A server that takes what it is sent and then says `answer`, its `100 Continue` after the preview.
fn scanned(answer: &[u8], method: IcapMethod, preview: Option<u64>) -> Result<Answer, Trouble> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let (client, mut server) = duplex(64 * 1024);
        let (reader, writer) = split(client);
        let mut wire: Pipe = Wire { reader: Reader::new(reader), writer };
        let url: IcapUrl = "icap://host/scan".parse().unwrap();
        let object = spooled(OBJECT).unwrap();
        let request = Request { url: &url, method, len: object.len(), preview, allow_204: true };
        let serve = async {
            take(&mut server).await;
            let first = if preview.is_some() && answer.starts_with(CONTINUE) { CONTINUE.len() } else { 0 };
            server.write_all(&answer[..first]).await.unwrap();
            if first > 0 {
                take(&mut server).await;
            }
            server.write_all(&answer[first..]).await.unwrap();
            server.shutdown().await.unwrap();
        };
        tokio::join!(scan(&mut wire, &request, &object), serve).0
    })
}

/// Reads up to the chunk that ends a body or a preview.
async fn take(server: &mut DuplexStream) {
    let mut taken = Vec::new();
    while !taken.ends_with(chunk::LAST) {
        assert!(server.read_buf(&mut taken).await.unwrap() > 0);
    }
}

fn respmod(answer: &str) -> Result<Answer, Trouble> {
    scanned(answer.as_bytes(), IcapMethod::Respmod, None)
}

fn sent_back(http: &str, body: &str) -> String {
    format!("ICAP/1.0 200 OK\r\nISTag: x\r\nEncapsulated: res-hdr=0, res-body={}\r\n\r\n{http}{body}", http.len())
}

const OK: &str = "HTTP/1.1 200 OK\r\n\r\n";
const BODY: &str = "17\r\nsome bytes of an object\r\n0\r\n\r\n";

#[test]
fn the_whole_object_back_is_clean() {
    let answer = respmod(&sent_back(OK, BODY)).unwrap();
    assert_eq!(answer, Answer { finding: Finding::Clean, tag: Some("x".to_owned()), reusable: true });
    let in_pieces = "4\r\nsome\r\n13\r\n bytes of an object\r\n0\r\n\r\n";
    assert_eq!(respmod(&sent_back(OK, in_pieces)).unwrap().finding, Finding::Clean);
    let put = "PUT http://lazaret.invalid/object HTTP/1.1\r\n\r\n";
    let request = sent_back(put, BODY).replace("res-", "req-");
    let answer = scanned(request.as_bytes(), IcapMethod::Reqmod, None);
    assert_eq!(answer.unwrap().finding, Finding::Clean);
}

#[test]
fn anything_else_back_is_no_verdict() {
    let whole = sent_back(OK, BODY);
    let put = "PUT http://lazaret.invalid/object HTTP/1.1\r\n\r\n";
    for answer in [
        sent_back(OK, "0\r\n\r\n"),
        sent_back(OK, "16\r\nsome bytes of an objec\r\n0\r\n\r\n"),
        sent_back(OK, "17\r\nsome bytes of an objecT\r\n0\r\n\r\n"),
        sent_back(OK, "18\r\nsome bytes of an object!\r\n0\r\n\r\n"),
        sent_back(OK, "17\r\nsome bytes of an object\r\n"),
        sent_back(OK, ""),
        sent_back("HTTP/1.1 206 Partial\r\n\r\n", BODY),
        sent_back("HTTP/1.1 302 Found\r\n\r\n", BODY),
        sent_back("HTTP/1.1 500 No\r\n\r\n", BODY),
        sent_back(put, BODY),
        sent_back(put, BODY).replace("res-", "req-"),
        sent_back("HTTP/1.1 200 OK\r\n", BODY),
        whole.replace("res-hdr=0, res-body=19", "null-body=0"),
        whole.replace("res-hdr=0, res-body=19", "res-hdr=0, null-body=19"),
        whole.replace("res-hdr=0, res-body=19", "res-body=0"),
        whole.replace("res-body=19", "res-body=18"),
        whole.replace("res-body=19", "res-body=20"),
        whole.replace("res-body=19", "res-body=99999999"),
        whole.replace("Encapsulated: res-hdr=0, res-body=19\r\n", ""),
        whole.replace("\r\n\r\nHTTP", "\r\nEncapsulated: null-body=0\r\n\r\nHTTP"),
        whole.replace("ISTag: x", "ISTag: x\r\nISTag: y"),
        whole.replace("ICAP/1.0 200", "ICAP/1.0 206"),
        sent_back(OK, &BODY.replace("0\r\n\r\n", "0\r\nX-Virus-ID: Eicar\r\n\r\n")),
        format!("{whole}ICAP/1.0 204 No\r\n\r\n"),
        "ICAP/1.0 204 No\r\nEncapsulated: res-hdr=0, res-body=5\r\n\r\n".to_owned(),
        "ICAP/1.0 204 No\r\n\r\nICAP/1.0 204 No\r\n\r\n".to_owned(),
        "ICAP/1.0 100 Continue\r\n\r\nICAP/1.0 204 No\r\n\r\n".to_owned(),
    ] {
        assert!(matches!(respmod(&answer), Err(Trouble::Answer(_))), "{answer:?}");
    }
    assert!(matches!(respmod(""), Err(Trouble::Nothing(_))));
    let whole = scanned(whole.as_bytes(), IcapMethod::Reqmod, None);
    assert!(matches!(whole, Err(Trouble::Answer(_))), "a page instead of the request: {whole:?}");
}

#[test]
fn what_is_found_counts_though_the_page_is_cut() {
    for answer in [
        "ICAP/1.0 200 OK\r\nX-Virus-ID: Eicar\r\n\r\n".to_owned(),
        "ICAP/1.0 204 No\r\nX-Virus-ID: Eicar\r\n\r\n".to_owned(),
        "ICAP/1.0 500 No\r\nX-Infection-Found: Type=0; Threat=Eicar;\r\n\r\n".to_owned(),
        sent_back("HTTP/1.1 200 OK\r\nX-Virus-ID: Eicar\r\n\r\n", "17\r\nsome"),
    ] {
        let found = respmod(&answer).unwrap();
        assert_eq!(found.finding, Finding::Infected { signature: "Eicar".to_owned() }, "{answer:?}");
        assert!(!found.reusable, "{answer:?}");
    }
}

#[test]
fn a_second_continue_is_no_verdict() {
    let twice = "ICAP/1.0 100 Continue\r\n\r\nICAP/1.0 100 Continue\r\n\r\nICAP/1.0 204 No\r\n\r\n";
    let answer = scanned(twice.as_bytes(), IcapMethod::Respmod, Some(4));
    assert!(matches!(answer, Err(Trouble::Answer(_))), "{answer:?}");
}

#[test]
fn let_pass_after_the_preview_is_not_looked_at() {
    for answer in ["ICAP/1.0 204 No\r\nISTag: x\r\n\r\n".to_owned(), sent_back(OK, BODY)] {
        let finding = scanned(answer.as_bytes(), IcapMethod::Respmod, Some(4)).unwrap().finding;
        let Finding::Unscannable { reason: HoldReason::ScanLimits, detail } = finding else { panic!("{finding:?}") };
        assert!(detail.contains("4 of 23 bytes"), "{detail}");
    }
}

/// Pieces of answers, in no order.
fn answer() -> impl Strategy<Value = String> {
    let beginnings = [
        "",
        "ICAP/1.0 204 No\r\n",
        "ICAP/1.0 100 Continue\r\n\r\nICAP/1.0 204 No\r\n",
        "ICAP/1.0 200 OK\r\nEncapsulated: res-hdr=0, res-body=19\r\n",
        "ICAP/1.0 200 OK\r\nEncapsulated: res-hdr=0, res-body=19\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
    ];
    let pieces = [
        "ICAP/1.0 100 Continue\r\n",
        "ICAP/1.0 200 OK\r\n",
        "ICAP/1.0 204 No\r\n",
        "ICAP/1.0 500 No\r\n",
        "ISTag: x\r\n",
        "Encapsulated: null-body=0\r\n",
        "Encapsulated: res-hdr=0, res-body=19\r\n",
        "X-Virus-ID: Eicar\r\n",
        "X-Infection-Found: \r\n",
        "Connection: close\r\n",
        "HTTP/1.1 200 OK\r\n\r\n",
        "HTTP/1.1 403 No\r\n",
        "17\r\nsome bytes of an object\r\n",
        "16\r\nsome bytes of an objec\r\n",
        "0\r\n",
        "0; ieof\r\n",
        "\r\n",
        "\n",
        "\0",
    ];
    let pieces = prop::collection::vec(prop::sample::select(pieces.to_vec()), 0..6);
    (prop::sample::select(beginnings.to_vec()), pieces, prop::sample::select(vec!["", "\r\n", "0\r\n\r\n"]))
        .prop_map(|(beginning, pieces, end)| [beginning, &pieces.concat(), end].concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn only_what_the_protocol_calls_unmodified_is_clean(
        answer in answer(),
        preview in prop::option::of(0_u64..23),
    ) {
        let scanned = scanned(answer.as_bytes(), IcapMethod::Respmod, preview);
        if matches!(scanned, Ok(Answer { finding: Finding::Clean, .. })) {
            let last = if preview.is_some() {
                prop_assert!(answer.as_bytes().starts_with(CONTINUE), "{answer:?}");
                &answer[CONTINUE.len()..]
            } else {
                &answer
            };
            let unmodified = last.starts_with("ICAP/1.0 204 No\r\n") && last.ends_with("\r\n\r\n");
            let back = last.starts_with("ICAP/1.0 200 OK\r\n")
                && last.contains("\r\n\r\nHTTP/1.1 200 OK\r\n")
                && last.contains("some bytes of an object\r\n0");
            prop_assert!(unmodified || back, "{answer:?}");
            prop_assert!(!last.contains("X-"), "{answer:?}");
        }
    }

    #[test]
    fn arbitrary_bytes_are_never_clean(
        answer in prop::collection::vec(any::<u8>(), 0..400),
        preview in prop::option::of(0_u64..23),
    ) {
        let clean = matches!(scanned(&answer, IcapMethod::Respmod, preview), Ok(Answer { finding: Finding::Clean, .. }));
        prop_assert!(!clean, "{answer:?}");
    }

    #[test]
    fn no_part_of_an_answer_is_clean(cut in any::<prop::sample::Index>()) {
        for whole in [sent_back(OK, BODY), "ICAP/1.0 204 No\r\nISTag: x\r\n\r\n".to_owned()] {
            let part = &whole[..cut.index(whole.len())];
            prop_assert!(respmod(part).is_err(), "{part:?}");
        }
    }
}
