//! What a certificate may be used for, as the API and as X.509 spell it
//! (Kubernetes: `pkg/controller/certificates/authority`).

use rcgen::{ExtendedKeyUsagePurpose as Extended, KeyUsagePurpose as Usage};

/// The usages that the API knows, in order.
pub const USAGES: [&str; 23] = [
    "any",
    "cert sign",
    "client auth",
    "code signing",
    "content commitment",
    "crl sign",
    "data encipherment",
    "decipher only",
    "digital signature",
    "email protection",
    "encipher only",
    "ipsec end system",
    "ipsec tunnel",
    "ipsec user",
    "key agreement",
    "key encipherment",
    "microsoft sgc",
    "netscape sgc",
    "ocsp signing",
    "s/mime",
    "server auth",
    "signing",
    "timestamping",
];

/// The usages of keys among these.
pub(crate) fn of_keys(usages: &[String]) -> Vec<Usage> {
    let mut found: Vec<_> = usages.iter().filter_map(|usage| of_key(usage)).collect();
    found.dedup();
    found
}

fn of_key(usage: &str) -> Option<Usage> {
    Some(match usage {
        "signing" | "digital signature" => Usage::DigitalSignature,
        "content commitment" => Usage::ContentCommitment,
        "key encipherment" => Usage::KeyEncipherment,
        "key agreement" => Usage::KeyAgreement,
        "data encipherment" => Usage::DataEncipherment,
        "cert sign" => Usage::KeyCertSign,
        "crl sign" => Usage::CrlSign,
        "encipher only" => Usage::EncipherOnly,
        "decipher only" => Usage::DecipherOnly,
        _ => return None,
    })
}

/// The extended usages among these.
pub(crate) fn extended(usages: &[String]) -> Vec<Extended> {
    let mut found: Vec<Extended> = Vec::new();
    for usage in usages.iter().filter_map(|usage| extended_one(usage)) {
        if !found.contains(&usage) {
            found.push(usage);
        }
    }
    found
}

fn extended_one(usage: &str) -> Option<Extended> {
    let ipsec = |last| Extended::Other(vec![1, 3, 6, 1, 5, 5, 7, 3, last]);
    Some(match usage {
        "any" => Extended::Any,
        "server auth" => Extended::ServerAuth,
        "client auth" => Extended::ClientAuth,
        "code signing" => Extended::CodeSigning,
        "email protection" | "s/mime" => Extended::EmailProtection,
        "ipsec end system" => ipsec(5),
        "ipsec tunnel" => ipsec(6),
        "ipsec user" => ipsec(7),
        "timestamping" => Extended::TimeStamping,
        "ocsp signing" => Extended::OcspSigning,
        "microsoft sgc" => Extended::Other(vec![1, 3, 6, 1, 4, 1, 311, 10, 3, 3]),
        "netscape sgc" => Extended::Other(vec![2, 16, 840, 1, 113_730, 4, 1]),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_usage_is_of_keys_or_extended() {
        assert!(USAGES.is_sorted());
        for usage in USAGES {
            assert!(of_key(usage).is_some() != extended_one(usage).is_some(), "{usage}");
        }
        assert!(of_key("x").is_none() && extended_one("x").is_none());
    }
}
