//! A copy of everything, made while the server runs.

use std::io::Read;

use actix_web::http::header;
use actix_web::web::Bytes;
use actix_web::{HttpRequest, HttpResponse, get, web};
use futures_util::stream;

use crate::http::Shared;
use crate::http::auth::{self, Admin};
use crate::http::problem::{Problem, ProblemBody};
use crate::store::{StoreError, backup};

/// Bytes of the copy that are read at once.
const PIECE: usize = 256 * 1024;

/// A copy of the whole store as it is at this moment, as a database file. Passwords of devices stay sealed in it: it is
/// of use with the server's key.
#[utoipa::path(tag = "backup",
    responses((status = 200, content_type = "application/octet-stream", body = Vec<u8>), (status = 401, body = ProblemBody), (status = 403, body = ProblemBody)))]
#[get("/backup")]
pub async fn download(
    Admin(who): Admin,
    request: HttpRequest,
    shared: web::Data<Shared>,
) -> Result<HttpResponse, Problem> {
    let audit = auth::origin(&request, &who.name).audit("backup", "");
    match shared.store.change(move |tables| tables.audit(&audit)).await {
        // What can still be read can be saved, though nothing can be written.
        Err(error @ (StoreError::Gone | StoreError::Failed | StoreError::NoRoom)) => {
            tracing::warn!(%error, actor = who.name, "a backup is not in the audit");
        }
        result => result?,
    }
    let (store, data_dir) = (shared.store.clone(), shared.data_dir.clone());
    let copied = web::block(move || -> Result<_, Problem> {
        // Beside the store, where there is room for a store.
        let folder = tempfile::Builder::new().prefix("backup-").tempdir_in(data_dir)?;
        let path = folder.path().join("copy");
        backup::copy(&store.read()?, &path)?;
        let file = std::fs::File::open(&path)?;
        let length = file.metadata()?.len();
        Ok((folder, file, length))
    });
    let (folder, file, length) = copied.await??;
    // The folder goes with the last piece, or with whoever does not wait for it.
    let pieces = stream::unfold((folder, file), |(folder, mut file)| async move {
        let read = web::block(move || {
            let mut piece = vec![0; PIECE];
            let read = file.read(&mut piece).map(|length| {
                piece.truncate(length);
                Bytes::from(piece)
            });
            (file, read)
        });
        match read.await {
            Ok((_, Ok(piece))) if piece.is_empty() => None,
            Ok((file, piece)) => Some((piece.map_err(actix_web::Error::from), (folder, file))),
            Err(_) => None, // the server is stopping; the length says that this is not all
        }
    });
    Ok(HttpResponse::Ok()
        .insert_header((header::CONTENT_LENGTH, length))
        .content_type("application/octet-stream")
        .insert_header((header::CONTENT_DISPOSITION, "attachment; filename=\"panelsync.redb\""))
        .no_chunking(length)
        .streaming(Box::pin(pieces)))
}
