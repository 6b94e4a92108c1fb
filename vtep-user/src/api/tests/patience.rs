//! How long a client waits for a daemon that says nothing.

use std::time::Duration;

use futures::{StreamExt as _, stream};
use tokio::net::UnixListener;

use super::super::client::{Client, ClientError};
use super::{FakeDaemon, scratch};
use crate::ask::Reply;
use crate::model::Query;

const PATIENCE: Duration = Duration::from_millis(100);

/// A daemon that takes connections, and is silent. It lives as long as the listener.
fn silent(name: &str) -> (std::path::PathBuf, UnixListener) {
    let path = scratch(name).join("silent.sock");
    drop(std::fs::remove_file(&path));
    let listener = UnixListener::bind(&path).unwrap();
    (path, listener)
}

async fn client(path: &std::path::Path) -> Client {
    let client = Client::connect_at(path, "main").await.unwrap();
    client.patient_for(Some(PATIENCE))
}

#[tokio::test]
async fn a_client_gives_up_where_the_daemon_is_silent_and_says_how_to_wait_longer() {
    let (path, _listener) = silent("silent");

    let asked = client(&path).await.show(Query::Status).await.unwrap_err();
    let sent = client(&path)
        .await
        .batch(stream::iter([b"{}\n".to_vec()]))
        .await
        .unwrap_err();

    for error in [asked, sent] {
        assert!(matches!(error, ClientError::TimedOut(_)), "{error}");
        assert!(error.to_string().contains("--timeout SECONDS"), "{error}");
    }
}

#[tokio::test]
async fn a_batch_may_take_its_time_to_come() {
    let daemon = FakeDaemon::start("slow-batch", |_| Ok(Reply::Done));
    let client = daemon.client().await;
    let pieces = stream::iter(0..3).then(|_| async {
        tokio::time::sleep(2 * PATIENCE).await;
        b"{\"command\":{\"vni_del\":{\"vni\":1}}}\n".to_vec()
    });

    let applied = client.patient_for(Some(PATIENCE)).batch(pieces).await;

    assert_eq!(applied.unwrap(), 3);
}
