//! Any bytes as a message of either side.

#![no_main]

use lazaret_sandbox::wire::{MESSAGE_BYTES, ToChild, ToHost};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    // As it comes, and as long as a message has to be, behind the magic that lets it in.
    check(bytes);
    let mut message = [0; MESSAGE_BYTES];
    let (magic, fields) = message.split_at_mut(4);
    magic.copy_from_slice(b"LZJ4");
    let len = bytes.len().min(fields.len());
    fields[..len].copy_from_slice(&bytes[..len]);
    check(&message);
});

/// An answer, never a panic; what was understood is understood the same after it was written.
fn check(bytes: &[u8]) {
    if let Ok(message) = ToHost::decode(bytes) {
        assert_eq!(ToHost::decode(&message.encode()), Ok(message));
    }
    if let Ok(message) = ToChild::decode(bytes) {
        assert_eq!(ToChild::decode(&message.encode()), Ok(message));
    }
}
