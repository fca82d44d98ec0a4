//! Changes to the tables, by what they are about. Each is made within a transaction of the writer's.
//!
//! What people can ask for is one named function, which writes its entry of the audit too: the rooms above hand it what
//! they want and are told what came of it, and compose nothing. What it is made of stays in here.

pub mod access;
pub mod alerts;
pub mod audit;
pub mod batches;
pub mod devices;
pub mod embedded;
pub mod events;
pub mod panels;
pub mod present;
pub mod sealing;
