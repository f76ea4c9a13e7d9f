//! What kubelets leave on the host for those who come after them.

use std::process::Command;

/// Our chains of the packet filter that name one of the ranges, the jumps to them, and the ranges' routes.
const REMOVE: &str = r#"
set -e
for table in filter nat; do
    rules=$(iptables -w -t $table -S)
    chains=$(echo "$rules" | grep -F $MATCHES | grep -o 'MINIK8S-[^ ]*' | sort -u)
    [ -n "$chains" ] || continue
    {
        echo "*$table"
        for chain in $chains; do echo "$rules" | sed -n "s/^-A \(.* -j $chain\)\$/-D \1/p"; done
        for chain in $chains; do printf -- '-F %s\n-X %s\n' $chain $chain; done
        echo COMMIT
    } | iptables-restore -w --noflush
done
for range in $RANGES; do
    [ -z "$(ip route show type blackhole exact $range)" ] || ip route del blackhole $range
done
# Of bridges that are gone.
for table in $(nft list tables bridge | grep -o 'minik8s-pods-.*'); do
    ip link show mk8s${table#minik8s-pods-} >/dev/null 2>&1 || nft delete table bridge $table
done
left=$( (iptables-save; ip route) | grep -F $MATCHES) || exit 0
echo "left on the host: $left" >&2
exit 1
"#;

/// Takes the rules and routes of these ranges from the host: of tests that have such of their own, when the
/// last of their kubelets has ended.
///
/// # Panics
/// If something of them is left, unless a panic is under way.
pub fn remove_pod_ranges(ranges: &[&str]) {
    let matches: Vec<String> = ranges.iter().map(|range| format!("-e {range}")).collect();
    let mut script = Command::new("sh");
    script.args(["-c", REMOVE]).env("RANGES", ranges.join(" ")).env("MATCHES", matches.join(" "));
    let done = script.output().expect("sh runs");
    let why = String::from_utf8_lossy(&done.stderr).into_owned();
    assert!(done.status.success() || std::thread::panicking(), "{why}");
}
