//! Changes to the tables, by what they are about. Each is made within a transaction of the writer's.

pub mod access;
pub mod audit;
pub mod batches;
pub mod devices;
pub mod panels;
