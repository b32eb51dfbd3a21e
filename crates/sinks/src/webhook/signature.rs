//! The symmetric signature of Standard Webhooks.

use base64::{Engine, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// How long a key may be, in bytes.
const KEY_BYTES: std::ops::RangeInclusive<usize> = 24..=64;

/// What marks a secret as one, and a signature as symmetric.
const SECRET_PREFIX: &str = "whsec_";
const VERSION: &str = "v1";

/// The keys that a request is signed with, each for itself.
pub(super) struct Keys(Vec<Hmac<Sha256>>);

impl Keys {
    /// None where one of them is no key, or there is none at all.
    pub(super) fn parse(secret: &str) -> Option<Self> {
        let key = |text: &str| {
            let bytes = STANDARD.decode(text.strip_prefix(SECRET_PREFIX).unwrap_or(text)).ok()?;
            KEY_BYTES.contains(&bytes.len()).then_some(())?;
            Hmac::new_from_slice(&bytes).ok()
        };
        let keys: Vec<_> = secret.split_whitespace().map(key).collect::<Option<_>>()?;
        (!keys.is_empty()).then_some(Self(keys))
    }

    /// The header's value: a signature with each key over `{id}.{timestamp}.{body}`.
    pub(super) fn sign(&self, id: &str, timestamp: &str, body: &str) -> String {
        let signed = |key: &Hmac<Sha256>| {
            let mut mac = key.clone();
            for part in [id, ".", timestamp, ".", body] {
                mac.update(part.as_bytes());
            }
            format!("{VERSION},{}", STANDARD.encode(mac.finalize().into_bytes()))
        };
        self.0.iter().map(signed).collect::<Vec<_>>().join(" ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Made with Python's `hmac`, over the example of the specification.
    #[test]
    fn a_signature_is_what_others_make_of_it() {
        let keys = Keys::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let signature = keys.sign("msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", "{\"test\": 2432232314}");
        assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn every_key_signs() {
        let [old, new] = [[7_u8; 24], [8; 24]].map(|key| STANDARD.encode(key));
        let signature = |secret: &str| Keys::parse(secret).unwrap().sign("id", "0", "{}");
        let both = signature(&format!("whsec_{old} {new}"));
        assert_eq!(both, format!("{} {}", signature(&old), signature(&new)));
        assert_ne!(signature(&old), signature(&new));
    }

    #[test]
    fn what_is_no_key_is_not_taken() {
        let short = STANDARD.encode([7_u8; 23]);
        let long = STANDARD.encode([7_u8; 65]);
        for bad in ["", " ", "whsec_", "a passphrase", &short, &long, &format!("{} {short}", STANDARD.encode([7; 24]))]
        {
            assert!(Keys::parse(bad).is_none(), "{bad}");
        }
    }
}
