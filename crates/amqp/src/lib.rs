#![doc = include_str!("../README.md")]

mod broker;
mod connection;
mod failure;
mod publisher;

pub use broker::Broker;
pub use connection::OwnedConnection;
pub use failure::{Failure, LIMIT, within};
pub use publisher::{Message, Publisher};
