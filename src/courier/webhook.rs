//! Sending a message as a webhook, signed as Standard Webhooks has it: HMAC-SHA256 over the id, the time and the body.
//!
//! <https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md>

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use hyper::header::{self, HeaderName, HeaderValue};
use hyper::{Method, Uri};
use ring::hmac;

use crate::alert::message::Message;
use crate::alert::{Webhook, words};
use crate::panel::device::line::USER_AGENT;
use crate::panel::device::line::connection::{Address, Connection, NoConnection};
use crate::panel::device::line::trust::Configs;
use crate::panel::settings::Trust;

/// Of an answer that is no good so many bytes are read, to say what it says.
const READ: usize = 2048;

const ID: HeaderName = HeaderName::from_static("webhook-id");
const TIMESTAMP: HeaderName = HeaderName::from_static("webhook-timestamp");
const SIGNATURE: HeaderName = HeaderName::from_static("webhook-signature");

/// The signature of a body that is sent at this second.
pub fn signature(key: &[u8], id: &str, second: i64, body: &[u8]) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, key);
    let mut signed = hmac::Context::with_key(&key);
    signed.update(format!("{id}.{second}.").as_bytes());
    signed.update(body);
    format!("v1,{}", STANDARD.encode(signed.sign()))
}

/// Whether a URL can be that of a webhook; the error is what it takes.
pub fn check_url(url: &str) -> Result<(), &'static str> {
    const TAKES: &str = "a URL such as https://hooks.example/panelsync";
    let uri: Uri = url.parse().map_err(|_| TAKES)?;
    if !matches!(uri.scheme_str(), Some("http" | "https")) {
        return Err(TAKES);
    }
    if uri.authority().is_some_and(|authority| authority.as_str().contains('@')) {
        return Err("a URL without a user name or password");
    }
    if url.contains('#') {
        return Err("a URL without #");
    }
    if url.len() > 2000 {
        return Err("a URL of at most 2000 characters");
    }
    Address::parse(&place(&uri)).map(|_| ()).map_err(|_| TAKES)
}

/// The URL without what comes behind the host.
fn place(uri: &Uri) -> String {
    let authority = uri.authority().map_or("", |authority| authority.as_str());
    format!("{}://{authority}", uri.scheme_str().unwrap_or_default())
}

/// Sends a message; gives what was answered, or why it did not go out.
pub async fn send(
    webhook: &Webhook,
    message: &Message,
    second: i64,
    configs: &Configs,
    patience: Duration,
) -> Result<String, String> {
    match tokio::time::timeout(patience, try_to_send(webhook, message, second, configs, patience / 3)).await {
        Ok(sent) => sent,
        Err(_) => Err(format!("no whole answer came within {patience:?}")),
    }
}

async fn try_to_send(
    webhook: &Webhook,
    message: &Message,
    second: i64,
    configs: &Configs,
    connect: Duration,
) -> Result<String, String> {
    let uri: Uri = webhook.url.parse().map_err(|_| "its URL cannot be read".to_owned())?;
    let address = Address::parse(&place(&uri))?;
    let trust = match (&webhook.tls_ca, &webhook.tls_pin) {
        (Some(pem), _) => Trust::from_pem(pem),
        (None, Some(pin)) => Trust::from_pin(pin),
        (None, None) => Some(Trust::System),
    };
    let trust = trust.ok_or("what is to vouch for its certificate cannot be read")?;
    let body = serde_json::to_vec(message).map_err(|error| error.to_string())?;
    let id = message.id.to_string();
    let signature = signature(&webhook.key(), &id, second, &body);
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let mut request = address.request(Method::POST, path, Bytes::from(body))?;
    let text = |text: &str| HeaderValue::from_str(text).map_err(|error| error.to_string());
    let headers = request.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::USER_AGENT, USER_AGENT);
    headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    headers.insert(ID, text(&id)?);
    headers.insert(TIMESTAMP, text(&second.to_string())?);
    headers.insert(SIGNATURE, text(&signature)?);
    let opened = Connection::open(&address, &trust, configs, connect).await;
    let mut line = opened.map_err(|error| match error {
        NoConnection::Unreachable(why) => format!("it is not reached: {why}"),
        NoConnection::Certificate(why) => format!("its certificate is not trusted: {why}"),
        NoConnection::NoTls(why) => why,
    })?;
    let head = line.send(request).await.map_err(|broken| broken.why)?;
    let status = head.status;
    if status.is_success() {
        return Ok(format!("it answered {status}")); // what else it says is of no interest
    }
    if status.is_redirection() {
        return Err(format!(
            "it answered {status}, which is not followed: give the address that it leads to"
        ));
    }
    let mut said = Vec::new();
    while said.len() < READ
        && let Ok(Some(piece)) = line.piece().await
    {
        let room = READ - said.len();
        said.extend_from_slice(&piece[..piece.len().min(room)]);
    }
    let said = words::said(String::from_utf8_lossy(&said).trim());
    let said = if said.is_empty() { said } else { format!(": {said}") };
    Err(format!("it answered {status}{said}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the specification's own libraries.
    #[test]
    fn a_signature_is_that_of_the_specification() {
        let key = STANDARD.decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").expect("base64");
        let signed =
            signature(&key, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, br#"{"test": 2432232314}"#);
        assert_eq!(signed, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn urls_that_hide_something_or_lead_nowhere_are_refused() {
        for good in ["https://hooks.example/a/b?c=d", "http://127.0.0.1:8080", "https://[::1]:8443/x"] {
            assert_eq!(check_url(good), Ok(()), "{good}");
        }
        for wrong in [
            "",
            "hooks.example",
            "ftp://hooks.example",
            "https://",
            "https://u:p@hooks.example",
            "https://a#b",
        ] {
            assert!(check_url(wrong).is_err(), "{wrong}");
        }
    }
}
