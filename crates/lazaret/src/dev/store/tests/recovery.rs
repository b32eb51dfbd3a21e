use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use super::super::OpenError;
use super::*;

const ROOT: &str = "LAZARET_TEST_STORE";

#[tokio::test]
async fn everything_finished_is_there_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let first = Endpoint::over(folder.path()).await;
    let body = ByteStream::from_static(b"kept");
    let put = first.client.put_object().bucket(BUCKET).key("a/ü").content_type("text/plain").body(body);
    let tag = put.send().await.unwrap().e_tag;
    let create = first.client.create_multipart_upload().bucket(BUCKET).key("open").send().await.unwrap();
    let upload = create.upload_id.unwrap();
    let part = first.client.upload_part().bucket(BUCKET).key("open").upload_id(&upload).part_number(1);
    part.body(ByteStream::from_static(b"part")).send().await.unwrap();
    first.stop().await;
    let staging = folder.path().join("staging");
    std::fs::write(staging.join("torn"), b"x").unwrap();
    std::fs::create_dir_all(staging.join("withdrawn/1")).unwrap();

    let second = Endpoint::over(folder.path()).await;
    assert_eq!(second.staged_files(), 0);
    assert_eq!(second.get("a/ü").await.unwrap(), b"kept");
    let head = second.client.head_object().bucket(BUCKET).key("a/ü").send().await.unwrap();
    assert_eq!((head.content_type(), head.e_tag()), (Some("text/plain"), tag.as_deref()));
    let parts = second.client.list_parts().bucket(BUCKET).key("open").upload_id(&upload).send().await.unwrap();
    assert_eq!(parts.parts().len(), 1);
    assert_eq!(second.completed().len(), 0);
}

#[tokio::test]
async fn an_upload_that_was_killed_after_it_became_an_object_is_over() {
    let folder = tempfile::tempdir().unwrap();
    let uploads = folder.path().join("buckets").join(BUCKET).join("uploads");
    let first = Endpoint::over(folder.path()).await;
    let create = first.client.create_multipart_upload().bucket(BUCKET).key("k").send().await.unwrap();
    let upload = create.upload_id.unwrap();
    let before = std::fs::read(uploads.join(&upload).join("upload.json")).unwrap();
    let part = first.client.upload_part().bucket(BUCKET).key("k").upload_id(&upload).part_number(1);
    let tag = part.body(ByteStream::from_static(b"part")).send().await.unwrap().e_tag.unwrap();
    let part = aws_sdk_s3::types::CompletedPart::builder().part_number(1).e_tag(tag).build();
    let parts = aws_sdk_s3::types::CompletedMultipartUpload::builder().parts(part).build();
    let complete = first.client.complete_multipart_upload().bucket(BUCKET).key("k").upload_id(&upload);
    complete.multipart_upload(parts).send().await.unwrap();
    first.stop().await;
    std::fs::create_dir(uploads.join(&upload)).unwrap();
    std::fs::write(uploads.join(&upload).join("upload.json"), before).unwrap();

    let second = Endpoint::over(folder.path()).await;
    assert_eq!(std::fs::read_dir(uploads).unwrap().count(), 0);
    assert_eq!(second.get("k").await.unwrap(), b"part");
}

#[tokio::test]
async fn one_process_at_a_time() {
    let folder = tempfile::tempdir().unwrap();
    let first = DirStore::open(folder.path(), |_| {}).unwrap();
    let Err(second) = DirStore::open(folder.path(), |_| {}) else { panic!("opened twice") };
    assert!(matches!(second, OpenError::InUse(_)));
    let text = second.to_string();
    assert!(text.contains("another `lazaret dev` uses the folder") && !text.contains('\n'), "{text}");
    drop(first);
    DirStore::open(folder.path(), |_| {}).unwrap();
}

#[tokio::test]
async fn a_damaged_object_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let first = Endpoint::over(folder.path()).await;
    first.put("k", b"whole").await;
    first.stop().await;
    let objects = folder.path().join("buckets").join(BUCKET).join("objects");
    let file = std::fs::read_dir(&objects).unwrap().next().unwrap().unwrap().path();
    let whole = std::fs::read(&file).unwrap();
    for torn in [&whole[..whole.len() - 1], &whole[1..], b""] {
        std::fs::write(&file, torn).unwrap();
        let Err(OpenError::Damaged { path, .. }) = DirStore::open(folder.path(), |_| {}) else { panic!("opened") };
        assert_eq!(path, file);
    }
    std::fs::write(&file, &whole).unwrap();
    std::fs::rename(&file, objects.join("0".repeat(64))).unwrap();
    assert!(matches!(DirStore::open(folder.path(), |_| {}), Err(OpenError::Damaged { .. })));
}

/// The other half of `a_kill_in_the_middle_leaves_every_object_whole`: a server in a process of its own.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "started by another test"]
async fn a_server_to_kill() {
    let Some(root) = std::env::var_os(ROOT) else { return };
    let endpoint = Endpoint::over(Path::new(&root)).await;
    println!("\nserving on {}", endpoint.address);
    std::future::pending::<()>().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_in_the_middle_leaves_every_object_whole() {
    const LENGTH: usize = 700_000;
    let folder = tempfile::tempdir().unwrap();
    let module = module_path!().split_once("::").unwrap().1;
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "--nocapture", &format!("{module}::a_server_to_kill")])
        .env(ROOT, folder.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    let line = lines.find(|line| line.starts_with("serving on ")).expect("the child serves");
    let client = client(line.trim_start_matches("serving on ").parse().unwrap());
    let acknowledged = Arc::new(Mutex::new(Vec::<(String, u8)>::new()));
    let mut writers = JoinSet::new();
    for writer in 0..4_u8 {
        let (client, acknowledged) = (client.clone(), Arc::clone(&acknowledged));
        writers.spawn(async move {
            for round in 0_u8..=255 {
                // Half of the writes replace an object, half make a new one.
                let key = if round % 2 == 0 { format!("{writer}") } else { format!("{writer}/{round}") };
                let put = client.put_object().bucket(BUCKET).key(&key).body(bytes(LENGTH, round).into());
                if put.metadata("round", round.to_string()).send().await.is_err() {
                    return;
                }
                acknowledged.lock().unwrap().push((key, round));
            }
        });
    }
    until("some writes are done", || acknowledged.lock().unwrap().len() > 20).await;
    child.kill().unwrap();
    child.wait().unwrap();
    writers.join_all().await;

    let again = Endpoint::over(folder.path()).await;
    assert_eq!(again.staged_files(), 0);
    let mut found = std::collections::BTreeMap::new();
    for object in again.client.list_objects_v2().bucket(BUCKET).send().await.unwrap().contents() {
        let key = object.key().unwrap();
        let get = again.client.get_object().bucket(BUCKET).key(key).send().await.unwrap();
        let round: u8 = get.metadata().unwrap()["round"].parse().unwrap();
        assert!(get.body.collect().await.unwrap().to_vec() == bytes(LENGTH, round), "{key} is not whole");
        found.insert(key.to_owned(), round);
    }
    for (key, round) in acknowledged.lock().unwrap().iter() {
        assert!(found[key] >= *round, "{key} of round {round} was acknowledged and is lost");
    }
}
