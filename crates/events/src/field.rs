//! Reading the fields of one record, with errors that name the record and the field.

use lazaret_core::{ETag, InvalidValue, Timestamp};
use serde_json::Value;

use crate::{DecodeError, error::cut};

/// One record of a message.
#[derive(Clone, Copy)]
pub(crate) struct Fields<'a> {
    pub(crate) index: usize,
    pub(crate) record: &'a Value,
}

impl<'a> Fields<'a> {
    /// The value at a path of names with dots between them. Null and the empty string say that there is none.
    fn get(self, path: &str) -> Option<&'a Value> {
        let value = path.split('.').try_fold(self.record, |value, name| value.get(name))?;
        let absent = value.is_null() || value.as_str() == Some("");
        (!absent).then_some(value)
    }

    pub(crate) fn optional_text(self, path: &'static str) -> Result<Option<&'a str>, DecodeError> {
        match self.get(path) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(self.bad(path, "a string is expected")),
        }
    }

    pub(crate) fn text(self, path: &'static str) -> Result<&'a str, DecodeError> {
        self.optional_text(path)?.ok_or_else(|| self.bad(path, "missing or empty"))
    }

    pub(crate) fn parse<T>(self, path: &'static str, text: &str) -> Result<T, DecodeError>
    where
        T: TryFrom<String, Error = InvalidValue>,
    {
        T::try_from(text.to_owned()).map_err(|error| self.bad(path, error.rule))
    }

    pub(crate) fn optional<T>(self, path: &'static str) -> Result<Option<T>, DecodeError>
    where
        T: TryFrom<String, Error = InvalidValue>,
    {
        self.optional_text(path)?.map(|text| self.parse(path, text)).transpose()
    }

    /// An entity tag, with or without the quotes that HTTP has around it.
    pub(crate) fn etag(self, path: &'static str) -> Result<Option<ETag>, DecodeError> {
        self.optional_text(path)?.map(|text| self.parse(path, text.trim_matches('"'))).transpose()
    }

    /// A size in bytes. Ceph RGW documents a string.
    pub(crate) fn size(self, path: &'static str) -> Result<Option<u64>, DecodeError> {
        let size = match self.get(path) {
            None => return Ok(None),
            Some(Value::Number(number)) => number.as_u64(),
            Some(Value::String(digits)) if digits.bytes().all(|b| b.is_ascii_digit()) => digits.parse().ok(),
            Some(_) => None,
        };
        size.map(Some).ok_or_else(|| self.bad(path, "a number of bytes is expected"))
    }

    pub(crate) fn time(self, path: &'static str) -> Result<Option<Timestamp>, DecodeError> {
        let Some(text) = self.optional_text(path)? else { return Ok(None) };
        text.parse().map(Some).map_err(|_| self.bad(path, "an ISO 8601 time with an offset is expected"))
    }

    /// Fails unless the version at `path` is absent or has one of `majors` before its dot.
    pub(crate) fn optional_major(
        self,
        path: &'static str,
        majors: &[&str],
        supported: &'static str,
    ) -> Result<(), DecodeError> {
        let Some(version) = self.optional_text(path)? else { return Ok(()) };
        let major = version.split_once('.').map_or(version, |(major, _)| major);
        if majors.contains(&major) {
            Ok(())
        } else {
            Err(DecodeError::UnsupportedVersion { index: self.index, field: path, version: cut(version), supported })
        }
    }

    /// The same, where the version must be there.
    pub(crate) fn major(self, path: &'static str, majors: &[&str], supported: &'static str) -> Result<(), DecodeError> {
        self.text(path)?;
        self.optional_major(path, majors, supported)
    }

    pub(crate) fn bad(self, field: &'static str, why: &str) -> DecodeError {
        DecodeError::BadRecord { index: self.index, field, why: cut(why) }
    }
}
