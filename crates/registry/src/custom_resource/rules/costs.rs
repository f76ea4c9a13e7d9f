//! What rules may cost, by how large a schema lets values be (Kubernetes:
//! `apiextensions-apiserver/pkg/apis/apiextensions/validation/cel_validation.go`).

use api_machinery::{FieldErrors, FieldPath};

/// What one expression may cost over all the values that an object may have (Kubernetes: `StaticEstimatedCostLimit`).
const EXPRESSION: u64 = 10_000_000;
/// What all of a schema may cost together (Kubernetes: `StaticEstimatedCRDCostLimit`).
const SCHEMA: u64 = 100_000_000;
/// As many are told of that make a schema's rules too expensive, of those that cost as much.
const MOST_TOLD: usize = 4;
const WORTH_TELLING: u64 = SCHEMA / 100;

/// The costs of a schema's rules.
#[derive(Debug, Default)]
pub(super) struct Costs {
    total: u64,
    /// The most expensive first.
    dearest: Vec<(u64, FieldPath)>,
}

impl Costs {
    /// Adds those of an expression, which may be too much by themselves.
    pub(super) fn add(
        &mut self,
        what: &str,
        cost: u64,
        path: &FieldPath,
        errors: &mut FieldErrors,
    ) {
        if cost > EXPRESSION {
            errors.forbidden(path, &exceeds(&format!("estimated {what} cost"), cost, EXPRESSION));
        }
        self.total = self.total.saturating_add(cost);
        if cost >= WORTH_TELLING {
            let at = self.dearest.partition_point(|(other, _)| *other >= cost);
            self.dearest.insert(at, (cost, path.clone()));
            self.dearest.truncate(MOST_TOLD);
        }
    }

    /// What is wrong with all of them together.
    pub(super) fn check(&self, schema: &FieldPath, errors: &mut FieldErrors) {
        if self.total <= SCHEMA {
            return;
        }
        for (_, path) in &self.dearest {
            let why = "contributed to estimated rule cost total exceeding cost limit for entire OpenAPIv3 schema";
            errors.forbidden(path, why);
        }
        let name = "x-kubernetes-validations estimated rule cost total for entire OpenAPIv3 schema";
        errors.forbidden(schema, &exceeds(name, self.total, SCHEMA));
    }
}

#[allow(clippy::cast_precision_loss, reason = "it is to be read")]
fn exceeds(name: &str, cost: u64, limit: u64) -> String {
    let factor = match cost as f64 / limit as f64 {
        // So much that it is a loop within a loop, and no figure says more.
        factor if factor > 100.0 => "more than 100x".to_owned(),
        // Not "1.0x".
        factor if factor < 1.5 => format!("{factor:.6}x"),
        factor => format!("{factor:.1}x"),
    };
    format!(
        "{name} exceeds budget by factor of {factor} (try simplifying the rule, or adding maxItems, maxProperties, and maxLength where arrays, maps, and strings are declared)"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_factor_is_as_exact_as_it_is_worth() {
        let check = |cost: u64, expected: &str| {
            let said = exceeds("it", cost, 1_000);
            assert!(
                said.starts_with(&format!("it exceeds budget by factor of {expected} (try")),
                "{said}"
            );
        };
        check(1_001, "1.001000x");
        check(1_499, "1.499000x");
        check(1_500, "1.5x");
        check(99_960, "100.0x");
        check(100_001, "more than 100x");
        check(u64::MAX, "more than 100x");
    }

    #[test]
    fn of_a_schema_that_costs_too_much_the_four_dearest_expressions_are_told_of() {
        let (mut costs, mut errors) = (Costs::default(), FieldErrors::default());
        let path = FieldPath::new("schema");
        for (index, millions) in
            [10, 9, 0, 8, 10, 10, 10, 10, 10, 10, 10, 4].into_iter().enumerate()
        {
            costs.add("rule", millions * 1_000_000, &path.index(index), &mut errors);
        }
        costs.check(&path, &mut errors);
        let told: Vec<_> = errors.iter().map(|error| error.path.to_string()).collect();
        assert_eq!(told, ["schema[0]", "schema[4]", "schema[5]", "schema[6]", "schema"]);
    }

    #[test]
    fn what_costs_no_more_than_it_may_is_taken() {
        let (mut costs, mut errors) = (Costs::default(), FieldErrors::default());
        let path = FieldPath::new("schema");
        for index in 0..10 {
            costs.add("rule", EXPRESSION, &path.index(index), &mut errors);
        }
        costs.check(&path, &mut errors);
        assert!(errors.is_empty());
        costs.add("rule", 1, &path, &mut errors);
        costs.check(&path, &mut errors);
        assert!(!errors.is_empty());
        let mut errors = FieldErrors::default();
        Costs::default().add("messageExpression", EXPRESSION + 1, &path, &mut errors);
        assert!(
            errors
                .iter()
                .next()
                .unwrap()
                .message
                .starts_with("Forbidden: estimated messageExpression cost exceeds")
        );
    }
}
