//! What a server's answer says about an object.

use lazaret_core::{Finding, HoldReason};

use super::{
    head::{FirstLine, Head},
    request::{REQMOD_METHOD, TARGET},
    threat,
};

/// What the fields of an answer say, and the HTTP message inside; none where they say nothing.
pub(super) fn told(icap: &Head, http: Option<&Head>) -> Option<Finding> {
    let fields = |name| [Some(icap), http].into_iter().flatten().flat_map(move |head| head.all(name));
    let infections: Vec<_> = fields("x-infection-found").filter_map(threat::infection).collect();
    // The same name, in a field that does not say of which type it is.
    let explained = |finding: &Finding| {
        infections.iter().any(|infection| match (infection, finding) {
            (Finding::Unscannable { detail, .. }, Finding::Infected { signature }) => detail == signature,
            _ => false,
        })
    };
    let names = fields("x-virus-id").chain(fields("x-virus-name")).filter_map(threat::name);
    let violations = fields("x-violations-found").flat_map(threat::violations);
    let others: Vec<_> = names.chain(violations).filter(|finding| !explained(finding)).collect();
    strongest(infections.into_iter().chain(others).collect())
        .or_else(|| fields("x-blocked").find_map(threat::name))
        .or_else(|| block_page(http?.status()?))
}

/// A page instead of the object. Other codes can as well be the server's own trouble: they are no verdict.
fn block_page(status: u16) -> Option<Finding> {
    match status {
        403 | 451 => Some(Finding::Infected { signature: format!("blocked.http-{status}") }),
        413 => {
            let detail = "the server calls it too large (HTTP 413)".to_owned();
            Some(Finding::Unscannable { reason: HoldReason::ScanLimits, detail })
        }
        _ => None,
    }
}

/// An infection outweighs what could not be looked at, and encryption is the better reason of two.
fn strongest(findings: Vec<Finding>) -> Option<Finding> {
    findings.into_iter().min_by_key(|finding| match finding {
        Finding::Infected { .. } => 0,
        Finding::Unscannable { reason: HoldReason::Encrypted, .. } => 1,
        Finding::Unscannable { .. } => 2,
        Finding::Clean => 3,
    })
}

/// Whether the HTTP message is about the object as it was sent, so that its body may be the object's own bytes.
pub(super) fn passes(http: &Head) -> bool {
    match &http.first {
        FirstLine::Status(status) => *status == 200,
        FirstLine::Request { method, target } => method == REQMOD_METHOD && target == TARGET,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(fields: &str) -> Head {
        Head::icap(format!("ICAP/1.0 200 OK\r\n{fields}\r\n").as_bytes()).unwrap()
    }

    fn page(line: &str) -> Head {
        Head::http(format!("{line}\r\n\r\n").as_bytes()).unwrap()
    }

    fn infected(signature: &str) -> Finding {
        Finding::Infected { signature: signature.to_owned() }
    }

    fn held(reason: HoldReason, detail: &str) -> Finding {
        Finding::Unscannable { reason, detail: detail.to_owned() }
    }

    #[test]
    fn each_field_tells() {
        for (fields, signature) in [
            ("X-Infection-Found: Type=0; Resolution=2; Threat=Eicar;\r\n", "Eicar"),
            ("X-Virus-ID: Eicar\r\n", "Eicar"),
            ("X-Virus-Name: Eicar\r\n", "Eicar"),
            ("X-Violations-Found: 1\r\n\t-\r\n\tEicar\r\n\t0\r\n\t0\r\n", "Eicar"),
            ("X-Blocked: yes\r\n", "blocked"),
        ] {
            assert_eq!(told(&head(fields), None), Some(infected(signature)), "{fields:?}");
            let inside = Head::http(format!("HTTP/1.1 200 OK\r\n{fields}\r\n").as_bytes()).unwrap();
            assert_eq!(told(&head(""), Some(&inside)), Some(infected(signature)), "{fields:?} inside");
        }
        assert_eq!(told(&head("X-Blocked: 0\r\nX-Virus-ID: none\r\n"), None), None);
    }

    #[test]
    fn a_type_explains_a_name() {
        let fields = "X-Infection-Found: Type=2; Resolution=0; Threat=Zip bomb;\r\nX-Virus-ID: Zip bomb\r\n";
        assert_eq!(told(&head(fields), Some(&page("HTTP/1.1 403 No"))), Some(held(HoldReason::ScanLimits, "Zip bomb")));
        let other = format!("{fields}X-Virus-ID: Eicar\r\n");
        assert_eq!(told(&head(&other), None), Some(infected("Eicar")), "an infection outweighs the rest");
        let two = "X-Infection-Found: Type=2; Threat=Bomb;\r\nX-Infection-Found: Type=2; Threat=Encrypted Zip;\r\n";
        assert_eq!(told(&head(two), None), Some(held(HoldReason::Encrypted, "Encrypted Zip")));
    }

    #[test]
    fn some_pages_tell() {
        for (line, expected) in [
            ("HTTP/1.0 403 Forbidden", Some(infected("blocked.http-403"))),
            ("HTTP/1.1 451 No", Some(infected("blocked.http-451"))),
            ("HTTP/1.1 413 No", Some(held(HoldReason::ScanLimits, "the server calls it too large (HTTP 413)"))),
            ("HTTP/1.1 200 OK", None),
            ("HTTP/1.1 302 Found", None),
            ("HTTP/1.1 404 Not Found", None),
            ("HTTP/1.1 500 No", None),
            ("PUT http://lazaret.invalid/object HTTP/1.1", None),
        ] {
            assert_eq!(told(&head(""), Some(&page(line))), expected, "{line}");
        }
    }

    #[test]
    fn only_the_message_that_was_sent_passes() {
        assert!(passes(&page("HTTP/1.1 200 OK")));
        assert!(passes(&page("PUT http://lazaret.invalid/object HTTP/1.1")));
        for line in ["HTTP/1.1 206 Partial", "HTTP/1.1 500 No", "PUT http://other.invalid/ HTTP/1.1", "GET / HTTP/1.0"]
        {
            assert!(!passes(&page(line)), "{line}");
        }
    }
}
