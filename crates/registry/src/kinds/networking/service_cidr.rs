//! A range out of which Services get addresses.

use api_machinery::{FieldErrors, FieldPath};
use api_types::api::networking::v1::ServiceCIDR;
use ipnet::IpNet;
use serde_json::json;

use crate::{ResourceDef, Strategy, resource, rules};

pub(crate) fn definition() -> ResourceDef {
    resource::<ServiceCIDR, _>(RangeStrategy)
        .status_alone(|range, from| range.status.clone_from(&from.status))
        .column("CIDRs", "string", 0, |range, _| json!(cidrs(range).join(",")))
        .build()
}

fn cidrs(range: &ServiceCIDR) -> &[String] {
    range.spec.as_ref().and_then(|spec| spec.cidrs.as_deref()).unwrap_or_default()
}

fn path() -> FieldPath {
    FieldPath::new("spec").child("cidrs")
}

struct RangeStrategy;

impl Strategy<ServiceCIDR> for RangeStrategy {
    fn validate(&self, range: &ServiceCIDR, errors: &mut FieldErrors) {
        let cidrs = cidrs(range);
        match cidrs {
            [] => return errors.required(&path(), "at least one CIDR required"),
            [_] | [_, _] => {}
            _ => return errors.invalid(&path(), cidrs, "may only hold up to 2 values"),
        }
        for (index, cidr) in cidrs.iter().enumerate() {
            rules::cidr(cidr, &path().index(index), errors);
        }
        let is_v4 = |cidr: &String| cidr.parse::<IpNet>().ok().map(|net| net.addr().is_ipv4());
        if let [one, other] = cidrs
            && is_v4(one).is_some()
            && is_v4(one) == is_v4(other)
        {
            let why = "may specify no more than one IP for each IP family, i.e 192.168.0.0/24 and 2001:db8::/64";
            errors.invalid(&path(), cidrs, why);
        }
    }

    /// A range of the other family may be added.
    fn validate_update(&self, new: &ServiceCIDR, old: &ServiceCIDR, errors: &mut FieldErrors) {
        let (new, old) = (cidrs(new), cidrs(old));
        match (old, new) {
            ([before], [now, _]) if before != now => {
                errors.invalid(&path().index(0), now, rules::IMMUTABLE);
            }
            ([_], [_, _]) => {}
            _ if old.len() != new.len() => errors.invalid(&path(), new, rules::IMMUTABLE),
            _ => {
                for (index, (now, before)) in new.iter().zip(old).enumerate() {
                    rules::immutable(now, before, now, &path().index(index), errors);
                }
            }
        }
    }
}
