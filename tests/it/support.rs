//! How a test session is built: a [`server::TestServer`] on a free port, actions on it, every answer checked
//! ([`answer`]) and written to a [`snapshot::Transcript`] with only the necessary hidden ([`redact`]).

pub mod answer;
pub mod binary;
pub mod identifiers;
pub mod profiles;
pub mod receiver;
pub mod redact;
pub mod server;
pub mod simulated;
pub mod snapshot;
