//! The file store.

use super::{commit, config, context, location, open, position, renamed, writer};
use crate::support::{PATIENCE, eventually};
use std::path::Path;
use tailwater::checkpoint::{self, Store};
use tailwater::config::{Config, ResumeBackend};
use tailwater::error::{Code, Error};
use tempfile::TempDir;

fn at(path: &Path) -> Config {
    config(ResumeBackend::File { path: path.into() })
}

fn place() -> (TempDir, Config) {
    let folder = tempfile::tempdir().unwrap();
    let config = at(&folder.path().join("checkpoint.json"));
    (folder, config)
}

fn stored(folder: &TempDir) -> serde_json::Value {
    let text = std::fs::read(folder.path().join("checkpoint.json")).unwrap();
    serde_json::from_slice(&text).unwrap()
}

async fn refused(config: &Config) -> Error {
    let opened = Store::open(location(config), context("two")).await;
    let error = opened.map(|_| ()).unwrap_err();
    assert_eq!(error.code, Code::CheckpointFailed, "{error}");
    error
}

#[tokio::test]
async fn absence_is_none_and_what_is_stored_comes_back() {
    let (_folder, config) = place();
    super::absence_is_none_and_what_is_stored_comes_back(&config).await;
}

#[tokio::test]
async fn a_claim_keeps_the_position_and_tells_who_holds_the_stream() {
    let (_folder, config) = place();
    super::a_claim_keeps_the_position_and_tells_who_holds_the_stream(&config).await;
}

#[tokio::test]
async fn a_checkpoint_never_moves_back() {
    let (_folder, config) = place();
    super::a_checkpoint_never_moves_back(&config).await;
}

#[tokio::test]
async fn a_new_incarnation_may_begin_earlier_with_a_higher_number() {
    let (_folder, config) = place();
    super::a_new_incarnation_may_begin_earlier_with_a_higher_number(&config).await;
}

#[tokio::test]
async fn what_is_beside_the_position_is_kept_and_makes_form_2() {
    let (folder, config) = place();
    let version = async || stored(&folder)["version"].as_i64().unwrap();
    super::what_is_beside_the_position_is_kept_and_makes_form_2(&config, version).await;
}

#[tokio::test]
async fn a_newer_form_is_refused_with_what_to_do() {
    let (folder, config) = place();
    let make_newer = async || {
        let mut newer = stored(&folder);
        newer["version"] = 3.into();
        std::fs::write(folder.path().join("checkpoint.json"), newer.to_string()).unwrap();
    };
    super::a_newer_form_is_refused_with_what_to_do(&config, make_newer).await;
}

#[tokio::test]
async fn a_misconfigured_instance_is_refused_and_leaves_the_file_as_it_is() {
    let (folder, config) = place();
    let (mut store, _) = open(&config, "one").await;
    commit(&mut store, 1).await.unwrap();
    store.close().await.unwrap();
    let file = folder.path().join("checkpoint.json");
    let before = std::fs::read(&file).unwrap();
    let opened = Store::open(location(&config), super::elsewhere("lost")).await;
    assert_eq!(opened.map(|_| ()).unwrap_err().code, Code::TokenInvalid);
    assert_eq!(std::fs::read(&file).unwrap(), before);
}

#[tokio::test]
async fn a_second_process_is_refused_and_told_who_holds_the_file() {
    let (_folder, config) = place();
    let mut holder = writer::spawn(&config, 1);
    eventually(PATIENCE, "the writer stores", async || {
        writer::last_step(&holder.output())
    })
    .await;
    let error = refused(&config).await;
    assert!(error.detail.contains("instance writer"), "{error}");
    assert!(
        error.detail.contains(&format!("process {}", holder.pid())),
        "{error}"
    );
    holder.kill9();
    open(&config, "two").await;
}

#[tokio::test]
async fn a_damaged_file_is_an_error_and_never_a_first_start() {
    let (_folder, config) = place();
    let ResumeBackend::File { path } = &config.streams[0].resume.backend else {
        unreachable!()
    };
    let (mut store, _) = open(&config, "one").await;
    commit(&mut store, 1).await.unwrap();
    store.close().await.unwrap();
    let whole = std::fs::read(path).unwrap();
    for damaged in [&b""[..], b"{}", b"\0\0\0\0", &whole[..whole.len() / 2]] {
        std::fs::write(path, damaged).unwrap();
        refused(&config).await;
        let read = checkpoint::read(location(&config), None).await;
        assert_eq!(read.unwrap_err().code, Code::CheckpointFailed);
        assert_eq!(
            std::fs::read(path).unwrap(),
            damaged,
            "it is left for a person to look at"
        );
    }
    std::fs::write(path, &whole).unwrap();
    let (_store, found) = open(&config, "two").await;
    assert_eq!(found.unwrap().position, position(1));
}

#[tokio::test]
async fn what_is_in_the_way_of_the_file_is_said() {
    let (folder, config) = place();
    let ResumeBackend::File { path } = &config.streams[0].resume.backend else {
        unreachable!()
    };
    std::fs::create_dir(path).unwrap();
    assert!(
        refused(&config)
            .await
            .detail
            .contains("names a file, not a folder")
    );

    let missing = at(&folder.path().join("missing/checkpoint.json"));
    assert!(refused(&missing).await.detail.contains("has to exist"));

    std::fs::write(folder.path().join("plain"), "").unwrap();
    let through = at(&folder.path().join("plain/checkpoint.json"));
    assert!(refused(&through).await.detail.contains("has to exist"));
}

#[tokio::test]
async fn the_checkpoint_of_another_stream_is_not_written_over() {
    let (_folder, config) = place();
    let (mut store, _) = open(&config, "one").await;
    commit(&mut store, 1).await.unwrap();
    store.close().await.unwrap();
    let other = renamed(&config, "another");
    assert!(refused(&other).await.detail.contains(&config.streams[0].id));
    let read = checkpoint::read(location(&config), None).await.unwrap();
    assert_eq!(read.unwrap().position, position(1));
}

#[tokio::test]
async fn a_disk_that_fails_for_a_while_is_survived() {
    let (folder, config) = place();
    let (mut store, _) = open(&config, "one").await;
    commit(&mut store, 1).await.unwrap();
    // A folder where the temporary file goes: no write can succeed, not even of root.
    let block = folder.path().join("checkpoint.json.tmp");
    std::fs::create_dir(&block).unwrap();
    let failed = commit(&mut store, 2).await;
    assert!(
        matches!(failed, Err(checkpoint::CommitError::Transient(_))),
        "{failed:?}"
    );
    std::fs::remove_dir(&block).unwrap();
    commit(&mut store, 2).await.unwrap();
}

#[tokio::test]
async fn a_writer_killed_at_any_moment_leaves_a_whole_file_and_nothing_lost() {
    let (_folder, config) = place();
    let mut next = 1;
    for round in 0..20_u32 {
        let mut process = writer::spawn(&config, next);
        eventually(PATIENCE, "the writer stores", async || {
            writer::last_step(&process.output())
        })
        .await;
        tokio::time::sleep(std::time::Duration::from_micros(u64::from(round) * 937)).await;
        process.kill9();
        let read = checkpoint::read(location(&config), None).await;
        let found = read.unwrap().unwrap().position.seq;
        // Its output may still be in the pipe: what was read of it is a lower bound.
        let told = writer::last_step(&process.output()).unwrap();
        assert!(found >= position(told).seq, "stored {told}, found {found}");
        next = u32::try_from(found.0 - position(0).seq.0).unwrap() + 1;
    }
}
