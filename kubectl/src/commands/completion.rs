//! `kubectl completion`: scripts that complete commands, flags, and names that the server knows, in a shell.

use clap::Args;
use clap_complete::Shell;

use crate::{Failure, session::Session};

/// Asks for names where they are expected, and leaves the rest to what is generated from the flags.
const BASH: &str = r#"
_kubectl_names() {
    local names
    if names=$(kubectl __complete -- "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null); then
        COMPREPLY=($(compgen -W "$names" -- "${COMP_WORDS[COMP_CWORD]#=}"))
    else
        _kubectl "$@"
    fi
}
complete -F _kubectl_names -o bashdefault -o default kubectl
"#;
/// Takes the place of what is generated, which goes by another name.
const ZSH: &str = r#"
_kubectl() {
    local names
    if names=$(kubectl __complete -- "${(@)words[2,CURRENT]}" 2>/dev/null); then
        compadd -- ${(f)names}
    else
        _kubectl_flags "$@"
    fi
}
"#;
const FISH: &str = r"
function __kubectl_expects_names
    set -l words (commandline -opc) (commandline -ct)
    set -g __kubectl_names (kubectl __complete -- $words[2..] 2>/dev/null)
end
complete -c kubectl -n __kubectl_expects_names -f -a '$__kubectl_names'
";

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
        clap_complete::generate(self.shell, &mut (session.grammar)(), "kubectl", &mut script);
        let script = String::from_utf8_lossy(&script);
        let script = match self.shell {
            Shell::Bash => format!("{script}{BASH}"),
            Shell::Zsh => in_zsh(&script),
            Shell::Fish => format!("{script}{FISH}"),
            _ => script.into_owned(),
        };
        Ok(session.io.raw(script.as_bytes())?)
    }
}

/// The last lines of what is generated run it, or announce it.
fn in_zsh(script: &str) -> String {
    let script = script.replacen("\n_kubectl() {", "\n_kubectl_flags() {", 1);
    let (functions, end) = script.rsplit_once("\nif [ ").unwrap_or((&script, ""));
    format!("{functions}\n{ZSH}\nif [ {end}")
}
