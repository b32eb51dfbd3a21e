#![doc = include_str!("../README.md")]

mod broker;
mod failure;
mod link;
mod publisher;

pub use broker::Broker;
pub use failure::{Failure, LIMIT, within};
pub use link::Link;
pub use publisher::{Message, Publisher};
