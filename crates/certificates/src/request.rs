//! A request for a certificate, as it is read.

use std::net::IpAddr;

use rcgen::{DistinguishedName, DnType, SanType, SubjectPublicKeyInfo};
use x509_parser::{
    certification_request::X509CertificationRequest,
    extensions::{GeneralName, ParsedExtension},
    prelude::FromDer,
    x509::X509Name,
};

const LABEL: &str = "CERTIFICATE REQUEST";

/// What somebody wants a certificate to say. Its signature was checked: who made it has the key.
#[derive(Debug)]
pub struct Request {
    /// Whom it is for: the user, for whom it shows the API server.
    pub common_name: String,
    /// The user's groups.
    pub organizations: Vec<String>,
    /// The host names of a server.
    pub dns_names: Vec<String>,
    /// The addresses of a server.
    pub addresses: Vec<IpAddr>,
    /// Mail addresses.
    pub emails: Vec<String>,
    /// URIs.
    pub uris: Vec<String>,
    /// The subject as it is signed; `None` if that can't be done.
    pub(crate) subject: Option<DistinguishedName>,
    pub(crate) public_key: SubjectPublicKeyInfo,
}

/// Why something is no request.
#[derive(Debug, thiserror::Error)]
pub enum ParseError {
    /// It is not PEM, or of something else.
    #[error("PEM block type must be {LABEL}")]
    Pem,
    /// What is in the PEM is no request.
    #[error("not a PKCS #10 certificate request: {0}")]
    Malformed(String),
    /// It was not signed with its own key.
    #[error("the request is not signed with the key that it is for, or in a way that is not known")]
    Signature,
    /// Nobody here signs such keys.
    #[error("the key is of a kind that is not known")]
    Key,
}

impl Request {
    /// Reads a request and checks its signature.
    ///
    /// # Errors
    /// If it is none, or was not signed with its key.
    pub fn parse(text: &[u8]) -> Result<Self, ParseError> {
        let block = pem::parse(text).map_err(|_| ParseError::Pem)?;
        if block.tag() != LABEL {
            return Err(ParseError::Pem);
        }
        let parsed = X509CertificationRequest::from_der(block.contents());
        let (rest, parsed) = parsed.map_err(|error| ParseError::Malformed(error.to_string()))?;
        if !rest.is_empty() {
            return Err(ParseError::Malformed("something follows it".to_owned()));
        }
        parsed.verify_signature().map_err(|_| ParseError::Signature)?;
        let info = &parsed.certification_request_info;
        let public_key = SubjectPublicKeyInfo::from_der(info.subject_pki.raw);
        let mut request = Self {
            common_name: values(info.subject.iter_common_name())
                .into_iter()
                .next()
                .unwrap_or_default(),
            organizations: values(info.subject.iter_organization()),
            dns_names: Vec::new(),
            addresses: Vec::new(),
            emails: Vec::new(),
            uris: Vec::new(),
            subject: subject(&info.subject),
            public_key: public_key.map_err(|_| ParseError::Key)?,
        };
        for extension in parsed.requested_extensions().into_iter().flatten() {
            if let ParsedExtension::SubjectAlternativeName(names) = extension {
                names.general_names.iter().for_each(|name| request.take(name));
            }
        }
        Ok(request)
    }

    fn take(&mut self, name: &GeneralName<'_>) {
        match name {
            GeneralName::DNSName(name) => self.dns_names.push((*name).to_owned()),
            GeneralName::RFC822Name(name) => self.emails.push((*name).to_owned()),
            GeneralName::URI(name) => self.uris.push((*name).to_owned()),
            GeneralName::IPAddress(octets) => self.addresses.extend(address(octets)),
            _ => {}
        }
    }

    /// The names of a server, as a certificate has them. None that has no form there.
    pub(crate) fn names(&self) -> Vec<SanType> {
        let dns = self
            .dns_names
            .iter()
            .filter_map(|name| Some(SanType::DnsName(name.as_str().try_into().ok()?)));
        let mail = self
            .emails
            .iter()
            .filter_map(|name| Some(SanType::Rfc822Name(name.as_str().try_into().ok()?)));
        let uris =
            self.uris.iter().filter_map(|name| Some(SanType::URI(name.as_str().try_into().ok()?)));
        dns.chain(mail)
            .chain(uris)
            .chain(self.addresses.iter().copied().map(SanType::IpAddress))
            .collect()
    }
}

fn values<'a>(
    attributes: impl Iterator<Item = &'a x509_parser::x509::AttributeTypeAndValue<'a>>,
) -> Vec<String> {
    attributes.filter_map(|attribute| attribute.as_str().ok().map(str::to_owned)).collect()
}

/// `None` if an attribute comes twice: what signs here has each once.
fn subject(name: &X509Name<'_>) -> Option<DistinguishedName> {
    let mut subject = DistinguishedName::new();
    for attribute in name.iter_attributes() {
        let oid: Vec<u64> = attribute.attr_type().iter()?.collect();
        let type_ = DnType::from_oid(&oid);
        if subject.get(&type_).is_some() {
            return None;
        }
        subject.push(type_, attribute.as_str().ok()?);
    }
    Some(subject)
}

pub(crate) fn address(octets: &[u8]) -> Option<IpAddr> {
    let four = <[u8; 4]>::try_from(octets).map(IpAddr::from);
    four.or_else(|_| <[u8; 16]>::try_from(octets).map(IpAddr::from)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{new_key, new_request};

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|&name| name.to_owned()).collect()
    }

    #[test]
    fn what_was_asked_for_is_read() {
        let key = new_key().unwrap();
        let text = new_request(&key, "jane", &["dev"], &names(&["a.b", "10.0.0.7"])).unwrap();
        let request = Request::parse(text.as_bytes()).unwrap();
        assert_eq!(
            (request.common_name.as_str(), &request.organizations[..]),
            ("jane", &names(&["dev"])[..])
        );
        assert_eq!(request.dns_names, ["a.b"]);
        assert_eq!(request.addresses, ["10.0.0.7".parse::<IpAddr>().unwrap()]);
    }

    #[test]
    fn what_is_not_signed_with_its_key_is_refused() {
        let text = new_request(&new_key().unwrap(), "jane", &[], &[]).unwrap();
        let block = pem::parse(&text).unwrap();
        let mut forged = block.contents().to_vec();
        let at = forged.windows(4).position(|part| part == b"jane").unwrap();
        forged[at..at + 4].copy_from_slice(b"root");
        let forged = pem::encode(&pem::Pem::new(LABEL, forged));
        let error = Request::parse(forged.as_bytes()).unwrap_err();
        assert!(matches!(error, ParseError::Signature), "{error}");
        for wrong in ["", "x", &text.replace("CERTIFICATE REQUEST", "CERTIFICATE")] {
            let error = Request::parse(wrong.as_bytes()).unwrap_err();
            assert_eq!(error.to_string(), "PEM block type must be CERTIFICATE REQUEST", "{wrong}");
        }
    }
}
