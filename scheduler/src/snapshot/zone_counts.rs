//! How many pods of each controller the zones have, on all nodes, also on those that a decision does not look at.

use std::collections::HashMap;

use super::zone::Zone;
use crate::pod::Uid;

#[derive(Clone, Debug, Default)]
pub(super) struct ZoneCounts(HashMap<Uid, HashMap<Zone, u32>>);

impl ZoneCounts {
    pub(super) fn of(&self, controller: &Uid, zone: &Zone) -> u32 {
        self.0.get(controller).and_then(|zones| zones.get(zone)).copied().unwrap_or_default()
    }

    pub(super) fn add(&mut self, controller: &Uid, zone: Option<&Zone>, pods: u32) {
        if let Some(zone) = zone {
            let zones = self.0.entry(controller.clone()).or_default();
            *zones.entry(zone.clone()).or_default() += pods;
        }
    }

    pub(super) fn take(&mut self, controller: &Uid, zone: Option<&Zone>, pods: u32) {
        let Some((zone, zones)) = zone.and_then(|zone| Some((zone, self.0.get_mut(controller)?)))
        else {
            return;
        };
        if let Some(count) = zones.get_mut(zone) {
            *count -= pods;
        }
        zones.retain(|_, count| *count > 0);
        if zones.is_empty() {
            self.0.remove(controller);
        }
    }

    /// The pods of a node that has come.
    pub(super) fn add_all<'a>(
        &mut self,
        pods: impl Iterator<Item = (&'a Uid, u32)>,
        zone: Option<&Zone>,
    ) {
        pods.for_each(|(controller, pods)| self.add(controller, zone, pods));
    }

    /// The pods of a node that goes.
    pub(super) fn take_all<'a>(
        &mut self,
        pods: impl Iterator<Item = (&'a Uid, u32)>,
        zone: Option<&Zone>,
    ) {
        pods.for_each(|(controller, pods)| self.take(controller, zone, pods));
    }

    #[cfg(test)]
    pub(super) fn sorted(&self) -> Vec<(Uid, Zone, u32)> {
        let each = self.0.iter().flat_map(|(controller, zones)| {
            zones.iter().map(|(zone, pods)| (controller.clone(), zone.clone(), *pods))
        });
        let mut all: Vec<_> = each.collect();
        all.sort();
        all
    }
}
