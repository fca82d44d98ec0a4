//! `panelsync serve`.

use super::settings::ServeArgs;
use super::{Exit, Failure};
use crate::access::FIRST_ADMIN;
use crate::server::{RunError, Server, StartError};

/// Runs the server until it is told to stop.
pub fn serve(args: &ServeArgs) -> Result<Exit, Failure> {
    let settings = args.settings().map_err(|error| Failure::usage(error.to_string()))?;
    let data_dir = settings.data_dir.clone();
    let scheme = if settings.tls.is_some() { "https" } else { "http" };
    actix_web::rt::System::new().block_on(async move {
        let mut server = Server::build(settings).await?;
        if let Some(passwords) = server.take_first_passwords() {
            actix_web::rt::spawn(tell_first_password(passwords));
        }
        note!(
            "panelsync serves {} on {scheme}://{} (stop with ctrl-C)",
            data_dir.display(),
            server.address()
        );
        for (panel, address) in server.panel_addresses() {
            note!("panel {panel} is at {scheme}://{address}");
        }
        server.run(stop_signal()).await?;
        Ok(Exit::Done)
    })
}

/// Tells the first user's password, where one is made up; with several nodes that is once this one leads.
async fn tell_first_password(mut passwords: tokio::sync::watch::Receiver<Option<String>>) {
    if let Ok(password) = passwords.wait_for(Option::is_some).await
        && let Some(password) = &*password
    {
        note!("first start: made the user {FIRST_ADMIN} with the password {password}");
        note!("it is shown this once; log in with `panelsync login`");
    }
}

/// Resolves on ctrl-C or SIGTERM.
pub async fn stop_signal() {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        if let Ok(mut terminate) = signal(SignalKind::terminate()) {
            tokio::select! {
                _ = tokio::signal::ctrl_c() => {}
                _ = terminate.recv() => {}
            }
            return;
        }
    }
    let _ = tokio::signal::ctrl_c().await; // without signals there is only the process's end
}

impl From<RunError> for Failure {
    fn from(error: RunError) -> Self {
        let exit = match error {
            RunError::Io(_) => Exit::Failed,
            RunError::Node(_) => Exit::Usage,
        };
        Self::new(exit, error.to_string())
    }
}

impl From<StartError> for Failure {
    fn from(error: StartError) -> Self {
        let exit = match error {
            StartError::Open(_) | StartError::Listen(..) | StartError::Tls(_) | StartError::Node(_) => {
                Exit::Usage
            }
            StartError::Store(_) | StartError::Access(_) | StartError::Engine => Exit::Failed,
        };
        Self::new(exit, error.to_string())
    }
}
