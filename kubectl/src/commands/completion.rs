//! `kubectl completion`: scripts that complete commands and flags in a shell; in bash also the names of functions, workflows and runs.

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use crate::{Cli, Failure, session::Session};

/// Commands after which names follow, and of what kind these are.
const NAMES: [(&[&str], &str); 3] = [
    (&["func update", "func rm", "func get", "func logs", "func rollback", "trigger"], "functions"),
    (&["wf run", "wf get", "wf runs", "wf rm"], "workflows"),
    (&["wf history", "wf cancel"], "workflowruns"),
];

/// Print a completion script for a shell
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  source <(kubectl completion bash)\n  kubectl completion zsh > ~/.zfunc/_kubectl\n  kubectl completion fish | source"
)]
pub struct Completion {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

impl Completion {
    pub(super) async fn run(self, session: &Session) -> Result<(), Failure> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut Cli::command(), "kubectl", &mut script);
        if self.shell == Shell::Bash {
            script.extend(names_in_bash().bytes());
        }
        Ok(session.io.raw(&script)?)
    }
}

/// Asks the server for names where one is expected, and leaves the rest to what is generated from the flags.
fn names_in_bash() -> String {
    let pattern = |command: &&str| format!("'{command} '*");
    let case = |(commands, kind): &(&[&str], &str)| {
        let patterns: Vec<_> = commands.iter().map(pattern).collect();
        format!("    {}) kind={kind} ;;\n", patterns.join(" | "))
    };
    let cases: String = NAMES.iter().map(case).collect();
    format!(
        r#"
_kubectl_names() {{
    local word=${{COMP_WORDS[COMP_CWORD]}} before=${{COMP_WORDS[COMP_CWORD-1]}} kind=
    case "${{COMP_WORDS[*]:1:COMP_CWORD-1}} " in
{cases}    esac
    if [[ -z $kind || $word == -* || ($before == -* && $before != -f && $before != --func) ]]; then
        _kubectl "$@"
        return
    fi
    COMPREPLY=($(compgen -W "$(kubectl get "$kind" -o 'jsonpath={{.items[*].metadata.name}}' 2>/dev/null)" -- "$word"))
}}
complete -F _kubectl_names -o bashdefault -o default kubectl
"#
    )
}
