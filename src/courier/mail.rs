//! Sending a message as a mail, to each of an alert's addresses by itself: one that is refused keeps it from no other.

use std::collections::BTreeSet;
use std::time::{Duration, UNIX_EPOCH};

use lettre::address::Envelope;
use lettre::message::header::{ContentTransferEncoding, HeaderName, HeaderValue};
use lettre::message::{Mailbox, SinglePart};
use lettre::{Address, Message as Mail};

use super::smtp::{NoMail, Smtp};
use crate::alert::message::Message;
use crate::panel::device::line::trust::Configs;

/// Whether a text is an address that mail can go to.
pub fn is_address(text: &str) -> bool {
    text.len() <= 254 && text.parse::<Address>().is_ok()
}

/// Sends a message to those of these addresses who do not have it yet; who has it then is put among them. Gives what was
/// said, or why somebody does not have it.
pub async fn send(
    smtp: &Smtp,
    to: &[String],
    message: &Message,
    made_ms: i64,
    have: &mut BTreeSet<String>,
    configs: &Configs,
    patience: Duration,
) -> Result<String, NoMail> {
    match tokio::time::timeout(patience, try_to_send(smtp, to, message, made_ms, have, configs, patience / 3))
        .await
    {
        Ok(sent) => sent,
        Err(_) => {
            Err(NoMail { why: format!("it did not take the mail within {patience:?}"), for_good: false })
        }
    }
}

async fn try_to_send(
    smtp: &Smtp,
    to: &[String],
    message: &Message,
    made_ms: i64,
    have: &mut BTreeSet<String>,
    configs: &Configs,
    connect: Duration,
) -> Result<String, NoMail> {
    let unreadable =
        |what: &str| NoMail { why: format!("{what} is no address that mail can go to"), for_good: true };
    let mail = mail(smtp, to, message, made_ms).map_err(|what| unreadable(&what))?.formatted();
    let mut connection = smtp.open(configs, connect).await?;
    let mut said = String::new();
    let (mut refused, mut later) = (None, None);
    for address in to.iter().filter(|address| !have.contains(*address)).cloned().collect::<Vec<_>>() {
        let one: Address = address.parse().map_err(|_| unreadable(&address))?;
        let envelope = Envelope::new(Some(smtp.from.email.clone()), vec![one]);
        let envelope = envelope.map_err(|_| unreadable(&address))?;
        if connection.has_broken() {
            connection = smtp.open(configs, connect).await?;
        }
        match connection.send(&envelope, &mail).await {
            Ok(reply) => {
                have.insert(address);
                reply.first_line().unwrap_or_default().clone_into(&mut said);
            }
            Err(error) => {
                let error = NoMail::of_message(&error);
                let why = format!("{address}: {}", error.why);
                let place = if error.for_good { &mut refused } else { &mut later };
                place.get_or_insert(NoMail { why, ..error });
            }
        }
    }
    let _ = connection.quit().await; // it has the mail
    match (later, refused) {
        // As long as somebody may have it later, it is tried again.
        (Some(error), _) | (None, Some(error)) => Err(error),
        (None, None) => Ok(format!("{} took it: {}", smtp.place(), crate::alert::words::said(said.trim()))),
    }
}

/// The mail; the error is what cannot be written in one.
fn mail(smtp: &Smtp, to: &[String], message: &Message, made_ms: i64) -> Result<Mail, String> {
    let domain = smtp.from.email.domain();
    let date = UNIX_EPOCH + Duration::from_millis(made_ms.max(0).unsigned_abs());
    let automatic = HeaderName::new_from_ascii_str("Auto-Submitted");
    let mut mail = Mail::builder()
        .from(smtp.from.clone())
        .subject(format!("[panelsync] {}", message.title))
        .date(date)
        .message_id(Some(format!("<{}@{domain}>", message.id)))
        .raw_header(HeaderValue::new(automatic, "auto-generated".to_owned())); // so that nobody's absence answers
    for address in to {
        let address: Address = address.parse().map_err(|_| address.clone())?;
        mail = mail.to(Mailbox::new(None, address));
    }
    let text = format!(
        "{}\n\n-- \npanelsync, alert {}; remove it with `panelsync alert rm {}`\n",
        message.text, message.alert, message.alert
    );
    let part = SinglePart::builder()
        .header(lettre::message::header::ContentType::TEXT_PLAIN)
        .header(ContentTransferEncoding::QuotedPrintable)
        .body(text);
    mail.singlepart(part).map_err(|error| error.to_string())
}
