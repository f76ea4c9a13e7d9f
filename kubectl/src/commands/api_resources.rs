//! `kubectl api-resources`: the kinds that the server serves.

use clap::{Args, ValueEnum};

use crate::{Failure, discovery::ApiResource, output::tabs, session::Session};

/// Print the kinds that the server serves
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  kubectl api-resources\n  kubectl api-resources --namespaced=false\n  kubectl api-resources --api-group=apps -o wide"
)]
pub struct ApiResources {
    /// Only of this group
    #[arg(long)]
    api_group: Option<String>,
    /// Only kinds with (true) or without (false) namespaces
    #[arg(long, num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    namespaced: Option<bool>,
    /// Only kinds with all of these verbs
    #[arg(long, value_delimiter = ',')]
    verbs: Vec<String>,
    /// Only kinds in all of these categories
    #[arg(long, value_delimiter = ',')]
    categories: Vec<String>,
    /// wide or name
    #[arg(short, long, value_enum)]
    output: Option<Form>,
    /// Without the header line
    #[arg(long)]
    no_headers: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Form {
    Wide,
    Name,
}

impl ApiResources {
    pub(super) async fn run(self, session: &Session) -> Result<(), Failure> {
        let mapper = session.fresh_mapper().await?;
        let mut resources: Vec<_> = mapper.resources().iter().filter(|r| self.wants(r)).collect();
        resources.sort_by_key(|r| (r.group.clone(), r.plural.clone()));
        if self.output == Some(Form::Name) {
            for resource in resources {
                session.io.line(resource.qualified())?;
            }
            return Ok(());
        }
        session.io.raw(self.table(&resources).as_bytes())?;
        Ok(())
    }

    fn wants(&self, resource: &ApiResource) -> bool {
        !resource.verbs.is_empty()
            && self.api_group.as_ref().is_none_or(|g| *g == resource.group)
            && self.namespaced.is_none_or(|n| n == resource.namespaced)
            && self.verbs.iter().all(|v| resource.can(v))
            && self.categories.iter().all(|c| resource.categories.contains(c))
    }

    fn table(&self, resources: &[&ApiResource]) -> String {
        let wide = self.output == Some(Form::Wide);
        let mut text = String::new();
        if !self.no_headers {
            text += "NAME\tSHORTNAMES\tAPIVERSION\tNAMESPACED\tKIND";
            text += if wide { "\tVERBS\tCATEGORIES\n" } else { "\n" };
        }
        for r in resources {
            text += &format!(
                "{}\t{}\t{}\t{}\t{}",
                r.plural,
                r.short_names.join(","),
                r.api_version(),
                r.namespaced,
                r.kind
            );
            if wide {
                text += &format!("\t{}\t{}", r.verbs.join(","), r.categories.join(","));
            }
            text.push('\n');
        }
        tabs::align(&text, 6, 3)
    }
}
