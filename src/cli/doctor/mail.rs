//! What `doctor` says of the mail server: whether it is reached, encrypted, and lets this one in.

use std::time::Duration;

use super::Finding;
use crate::config::Settings;
use crate::courier::smtp::{NoMail, Tls};
use crate::panel::device::line::trust::Configs;

const CHECK: &str = "mail server";

/// How long it may take to connect, and as long again to shake hands.
const WITHIN: Duration = Duration::from_secs(5);

/// What was found; nothing without `--smtp`. No mail is sent.
pub(super) fn findings(settings: &Settings) -> Vec<Finding> {
    let Some(smtp) = &settings.smtp else { return Vec::new() };
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return vec![Finding::wrong(CHECK, error.to_string(), "look at the machine's limits")],
    };
    let configs = Configs::default();
    let opened = runtime.block_on(async {
        let opening = async {
            let mut connection = smtp.open(&configs, WITHIN).await?;
            let _ = connection.quit().await; // it was let in
            Ok::<_, NoMail>(())
        };
        tokio::time::timeout(WITHIN * 4, opening).await
    });
    let place = smtp.place();
    vec![match opened {
        Ok(Ok(())) if smtp.tls == Tls::Off => Finding::warning(
            CHECK,
            format!("{place} takes mail, in clear"),
            "give --smtp-tls required, or smtps://, unless the way there is safe",
        ),
        Ok(Ok(())) => Finding::ok(CHECK, format!("{place} takes mail from {}", smtp.from)),
        Ok(Err(error)) => Finding::wrong(
            CHECK,
            format!("{place}: {}", error.why),
            "put --smtp and its password right; alerts by mail wait until then",
        ),
        Err(_) => Finding::wrong(
            CHECK,
            format!("{place} does not answer as a mail server does"),
            "look whether --smtp names the right port: 587 for smtp://, 465 for smtps://",
        ),
    }]
}
