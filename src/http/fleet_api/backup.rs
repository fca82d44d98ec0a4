//! A copy of everything, made while the server runs.

use std::fs::File;
use std::io::Read;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use actix_web::http::header;
use actix_web::web::Bytes;
use actix_web::{HttpRequest, HttpResponse, get, web};
use futures_util::{Stream, stream};
use tempfile::TempDir;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use utoipa::ToSchema;

use crate::fleet::FleetError;
use crate::http::auth::{self, Admin};
use crate::http::panel_api;
use crate::http::problem::{Problem, ProblemBody};
use crate::http::{Here, Shared};
use crate::store::{StoreError, backup};

/// Bytes of the copy that are read at once.
const PIECE: usize = 256 * 1024;

/// A copy of the store.
#[derive(ToSchema)]
#[schema(value_type = String, format = Binary)]
#[expect(dead_code, reason = "for the document")]
struct StoreCopy(Vec<u8>);

/// A copy of the whole store as it is at this moment, as a database file. Passwords of devices stay sealed in it: it is
/// of use with the server's key.
#[utoipa::path(tag = "backup", operation_id = "download_backup",
    responses((status = 200, content_type = "application/octet-stream", body = StoreCopy, description = "The copy, a redb database"), (status = 401, body = ProblemBody), (status = 403, body = ProblemBody), (status = 409, body = ProblemBody)))]
#[get("/backup")]
pub async fn download(
    Admin(who): Admin,
    request: HttpRequest,
    shared: Here,
) -> Result<HttpResponse, Problem> {
    if panel_api::is_head(&request) {
        return Ok(HttpResponse::Ok().content_type("application/octet-stream").finish());
    }
    let turn = shared.backups.turn()?;
    let audit = auth::origin(&request, &who.actor()).audit("backup", "");
    match shared.fleet.store.change(move |tables| tables.audit(&audit)).await {
        // What can still be read can be saved, though nothing can be written.
        Err(error @ (StoreError::Gone | StoreError::Failed | StoreError::NoRoom)) => {
            tracing::warn!(%error, actor = %who.actor(), "a backup is not in the audit");
        }
        result => result?,
    }
    copy(&shared, turn).await
}

/// A copy for a node that joins, which shows itself as one.
pub async fn download_for_node(request: HttpRequest, shared: Here) -> Result<HttpResponse, Problem> {
    let Some(node) = auth::node(&request, &shared) else { return Err(FleetError::Unauthorized.into()) };
    tracing::info!(node, "a node copies everything");
    let turn = shared.backups.turn()?;
    copy(&shared, turn).await
}

async fn copy(shared: &Shared, turn: OwnedSemaphorePermit) -> Result<HttpResponse, Problem> {
    let (store, data_dir) = (shared.fleet.store.clone(), shared.data_dir.clone());
    let copied = web::block(move || -> Result<_, Problem> {
        // Beside the store, where there is room for a store.
        let folder = tempfile::Builder::new().prefix(backup::COPY_FOLDER).tempdir_in(data_dir)?;
        let path = folder.path().join(backup::COPY_NAME);
        backup::copy(&store.read()?, &path)?;
        let file = std::fs::File::open(&path)?;
        let length = file.metadata()?.len();
        Ok((Made { folder, file, turn }, length))
    });
    let (made, length) = copied.await??;
    Ok(HttpResponse::Ok()
        .insert_header((header::CONTENT_LENGTH, length))
        .content_type("application/octet-stream")
        .insert_header((header::CONTENT_DISPOSITION, "attachment; filename=\"panelsync.redb\""))
        .no_chunking(length)
        .streaming(Box::pin(pieces(made, shared.backups.patience))))
}

/// In all a reader may take so many times what a piece may take: an hour, as it is set.
const PATIENCE_IN_ALL: u32 = 60;

/// Copies are made one at a time: each takes as much room as the store.
pub struct Backups {
    one: Arc<Semaphore>,
    /// How long a reader may take for a piece.
    patience: Duration,
}

impl Backups {
    /// None is being made. A reader may take so long for a piece.
    pub fn new(patience: Duration) -> Self {
        Self { one: Arc::new(Semaphore::new(1)), patience }
    }

    fn turn(&self) -> Result<OwnedSemaphorePermit, FleetError> {
        Arc::clone(&self.one).try_acquire_owned().map_err(|_| {
            FleetError::Conflict("a backup is being made already; try again when it is done".into())
        })
    }
}

/// A copy in a folder of its own, and the turn of who had it made.
struct Made {
    #[expect(dead_code, reason = "it removes the folder when it is dropped")]
    folder: TempDir,
    file: File,
    #[expect(dead_code, reason = "it gives the turn back when it is dropped")]
    turn: OwnedSemaphorePermit,
}

/// The copy, piece by piece. It goes with the last one, with whoever does not wait for it, and from under a reader who
/// takes no piece for so long.
fn pieces(made: Made, patience: Duration) -> impl Stream<Item = Result<Bytes, actix_web::Error>> {
    let (taken, mut takes) = watch::channel(());
    let made = Arc::new(Mutex::new(Some(made)));
    let watched = Arc::downgrade(&made);
    actix_web::rt::spawn(async move {
        let read = async {
            while let Ok(taken) = tokio::time::timeout(patience, takes.changed()).await {
                if taken.is_err() {
                    return true; // the stream has ended
                }
            }
            false
        };
        if tokio::time::timeout(patience * PATIENCE_IN_ALL, read).await.unwrap_or(false) {
            return;
        }
        if let Some(made) = watched.upgrade() {
            tracing::warn!("a backup was given up: its reader is too slow, or reads no more");
            made.lock().unwrap_or_else(PoisonError::into_inner).take();
        }
    });
    stream::unfold((made, taken), |(made, taken)| async move {
        let reader = Arc::clone(&made);
        let read = web::block(move || {
            let mut made = reader.lock().unwrap_or_else(PoisonError::into_inner);
            let Some(made) = made.as_mut() else { return Err(std::io::ErrorKind::TimedOut.into()) };
            let mut piece = vec![0; PIECE];
            made.file.read(&mut piece).map(|length| {
                piece.truncate(length);
                Bytes::from(piece)
            })
        });
        taken.send_replace(());
        match read.await {
            Ok(Ok(piece)) if piece.is_empty() => None,
            Ok(piece) => Some((piece.map_err(actix_web::Error::from), (made, taken))),
            Err(_) => None, // the server is stopping; the length says that this is not all
        }
    })
}

#[cfg(test)]
mod tests {
    use futures_util::StreamExt;

    use super::*;

    #[actix_web::test]
    async fn a_backup_that_nobody_reads_goes_and_the_next_has_its_turn() {
        let place = tempfile::tempdir().expect("a folder");
        let backups = Backups::new(Duration::from_millis(20));
        let folder = tempfile::Builder::new().prefix(backup::COPY_FOLDER).tempdir_in(place.path());
        let folder = folder.expect("a folder");
        let copy = folder.path().join(backup::COPY_NAME);
        std::fs::write(&copy, vec![7; 3 * PIECE]).expect("written");
        let file = File::open(&copy).expect("opened");
        let made = Made { folder, file, turn: backups.turn().expect("the first one") };
        assert!(matches!(backups.turn(), Err(FleetError::Conflict(_))));
        let mut pieces = Box::pin(pieces(made, backups.patience));
        let first = pieces.next().await.expect("a piece").expect("it can be read");
        assert_eq!(first.len(), PIECE);
        while copy.exists() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert!(pieces.next().await.expect("an end").is_err(), "the rest is no more");
        assert!(backups.turn().is_ok(), "the next one");
    }
}
