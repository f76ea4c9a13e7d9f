//! How many seats each priority level has at the moment: what one does not use is lent to others
//! (Kubernetes: `apf_controller.go`, `updateBorrowingLocked`; `conc_alloc.go`).

use super::demand::DemandStats;

/// A level, as far as it matters here.
#[derive(Clone, Copy, Debug)]
pub(super) struct Claim {
    pub(super) is_exempt: bool,
    pub(super) nominal: u32,
    /// What it does not lend.
    pub(super) min: u32,
    /// What it has if it borrows all it may.
    pub(super) max: u32,
    pub(super) demand: DemandStats,
}

/// What levels get.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Allocation {
    /// In the order of the claims.
    pub(super) seats: Vec<u32>,
    /// What each aims at.
    pub(super) targets: Vec<f64>,
    /// The part of what each aims at that all get who are not bound otherwise.
    pub(super) fair: f64,
}

/// Below it a target counts as this much: what nobody needs is shared evenly.
const LEAST_TARGET: f64 = 0.001;
/// So often an interval is halved, which is then as small as numbers tell apart.
const HALVINGS: usize = 128;

impl Claim {
    /// What it has in any case: what it needed in the last period, up to what is its own.
    fn lower(&self) -> u32 {
        let most = self.demand.most;
        if self.is_exempt { self.min.max(most) } else { self.min.max(self.nominal.min(most)) }
    }

    fn target(&self) -> f64 {
        f64::from(self.lower()).max(self.demand.smoothed).max(LEAST_TARGET)
    }

    fn at(&self, fair: f64) -> f64 {
        (fair * self.target()).min(f64::from(self.max)).max(f64::from(self.lower()))
    }
}

/// Shares out what all levels have together.
pub(super) fn allocate(claims: &[Claim]) -> Allocation {
    let sum = |of: fn(&Claim) -> u32, exempt: bool| -> f64 {
        let claims = claims.iter().filter(|claim| claim.is_exempt == exempt);
        claims.map(|claim| f64::from(of(claim))).sum()
    };
    let all = sum(|claim| claim.nominal, false) + sum(|claim| claim.nominal, true);
    let left = all - sum(Claim::lower, true);
    let (least, lower) = (sum(|claim| claim.min, false), sum(Claim::lower, false));
    let fair = if left > lower { fair(left, claims) } else { 0.0 };
    let scale =
        if lower > least { ((left - least) / (lower - least)).clamp(0.0, 1.0) } else { 0.0 };
    let seats = |claim: &Claim| {
        let min = f64::from(claim.min);
        let seats = whole(match claim.is_exempt {
            true => f64::from(claim.lower()),
            false if left > lower => claim.at(fair),
            false => min + (f64::from(claim.lower()) - min) * scale,
        });
        // The first request of a level that lends all it has would wait for the end of the period.
        if claim.is_exempt { seats } else { seats.max(claim.nominal.min(1)) }
    };
    let targets = claims.iter().map(Claim::target).collect();
    Allocation { seats: claims.iter().map(seats).collect(), targets, fair }
}

/// The part with which all limited levels get this much together, or as much as they may have.
fn fair(required: f64, claims: &[Claim]) -> f64 {
    let limited = || claims.iter().filter(|claim| !claim.is_exempt);
    let highest = |claim: &Claim| f64::from(claim.max) / claim.target();
    let (mut low, mut high) = (0.0, limited().map(highest).fold(0.0, f64::max));
    for _ in 0..HALVINGS {
        let middle = (low + high) / 2.0;
        let sum: f64 = limited().map(|claim| claim.at(middle)).sum();
        if sum < required { low = middle } else { high = middle }
    }
    high
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it saturates")]
fn whole(seats: f64) -> u32 {
    seats.round() as u32
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn claim(nominal: u32, min: u32, max: u32, most: u32) -> Claim {
        let demand = DemandStats { most, smoothed: f64::from(most), ..DemandStats::default() };
        Claim { is_exempt: false, nominal, min, max, demand }
    }

    #[test]
    fn who_needs_more_borrows_what_others_lend() {
        // The second needs nothing, and keeps the half that it does not lend.
        let seats = allocate(&[claim(10, 10, 100, 50), claim(20, 10, 100, 0)]).seats;
        assert_eq!(seats, [20, 10]);
        // It needs some of its own again.
        let seats = allocate(&[claim(10, 10, 100, 50), claim(20, 10, 100, 18)]).seats;
        assert_eq!(seats, [12, 18]);
        let bound = allocate(&[claim(10, 10, 13, 50), claim(20, 10, 100, 0)]).seats;
        assert_eq!(bound, [13, 17]);
    }

    #[test]
    fn who_lends_all_keeps_a_seat_for_the_first_who_comes() {
        let seats = allocate(&[claim(1, 0, 4, 0), claim(10, 10, 13, 10), claim(0, 0, 9, 0)]).seats;
        assert_eq!(seats, [1, 11, 0]);
    }

    #[test]
    fn what_is_exempt_takes_from_what_is_lent_and_no_more() {
        let exempt = |most| Claim { is_exempt: true, ..claim(0, 0, 0, most) };
        let limited = [claim(10, 10, 100, 50), claim(20, 10, 100, 18)];
        let with = |most| allocate(&[limited[0], limited[1], exempt(most)]).seats;
        assert_eq!(with(0), [12, 18, 0]);
        assert_eq!(with(6), [10, 14, 6]);
        assert_eq!(with(100), [10, 10, 100]);
    }

    proptest! {
        #[test]
        fn all_is_shared_out_within_bounds(
            levels in prop::collection::vec((0_u32..100, 0_u32..=100, 0_u32..200, 0_u32..300), 1..8)
        ) {
            let claims: Vec<_> = levels
                .into_iter()
                .map(|(nominal, lent, borrowed, most)| {
                    claim(nominal, nominal - nominal * lent / 100, nominal + borrowed, most)
                })
                .collect();
            let Allocation { seats, .. } = allocate(&claims);
            for (claim, &seats) in claims.iter().zip(&seats) {
                prop_assert!(seats > 0 || claim.nominal == 0);
                prop_assert!((claim.lower()..=claim.max).contains(&seats), "{claim:?}: {seats}");
            }
            let all: u32 = claims.iter().map(|claim| claim.nominal).sum();
            let sum: u32 = seats.iter().sum();
            // Each is rounded by itself, and none is left without.
            prop_assert!(sum + 4 >= all && sum <= all + 8, "{all} {seats:?}");
        }
    }
}
