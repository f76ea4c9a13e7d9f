//! The control plane's items of the CIS Kubernetes Benchmark (v1.10), one by one: what each comes to here, held against a
//! server that runs and against what installs the others. `docs/cis.md` is the same as a table (`UPDATE_EXPECT=1`).

mod facts;
mod items;

use std::fmt::Write;

use expect_test::expect_file;

use self::{
    facts::Facts,
    items::{ITEMS, Is, Item},
};

#[tokio::test]
async fn every_item_of_the_benchmark_is_met_or_does_not_apply() {
    let facts = Facts::gather().await;
    let is_met = |item: &Item| match item.is {
        Is::Met(holds) | Is::Offered(holds) => holds(&facts),
        Is::NotApplicable | Is::Yours => true,
    };
    let unmet: Vec<_> = ITEMS.iter().filter(|item| !is_met(item)).collect();
    let unmet: Vec<_> = unmet.iter().map(|item| (item.number, item.title)).collect();
    assert!(unmet.is_empty(), "{unmet:#?}\n{:#?}\n{:#?}", facts.codes, facts.files);
}

#[test]
fn the_table_in_the_docs_is_that_of_the_items() {
    let mut table = String::from(
        "# The CIS Kubernetes Benchmark, control plane\n\n\
         Numbers and titles of v1.10. `apiserver/tests/program/cis/` holds each item that says so against a running server and against the units and scripts; the rest says why it does not apply, or is for whoever runs the cluster.\n\n\
         | | item | | how |\n|---|---|---|---|\n",
    );
    for Item { number, title, is, how } in ITEMS {
        let mark = match is {
            Is::Met(_) => "met",
            Is::NotApplicable => "n/a",
            Is::Offered(_) | Is::Yours => "yours",
        };
        writeln!(table, "| {number} | {title} | {mark} | {how} |").unwrap();
    }
    expect_file!["../../../docs/cis.md"].assert_eq(&table);
}
