//! Tests of the whole: `architecture.rs` (the invariants of the code), `catalogue.rs` (every kind, every verb, in
//! process), `monitoring.rs` (what Prometheus is told) and `cluster/` (real programs with real etcd, Redis, Docker and both kubectls).
