//! The versions that a `CustomResourceDefinition` has, each as a definition like those of other kinds.

use std::sync::Arc;

use api_types::{
    api::admissionregistration::v1::{ServiceReference, WebhookClientConfig},
    apiextensions::{
        CustomResourceDefinition,
        v1::{
            self, CustomResourceColumnDefinition, CustomResourceConversion,
            CustomResourceDefinitionNames, CustomResourceDefinitionVersion,
            CustomResourceSubresourceScale,
        },
    },
};
use serde_json::{Value, json};

use super::{
    priority::Priority,
    resource::{CustomResource, CustomResourceError, PrinterColumn},
};
use crate::{
    conversion::{Conversion, ConversionWebhook, SameFields},
    definition::ResourceDef,
    description::{Column, Names, Scope},
    rules::REVIEW_VERSIONS,
    scale::{ScalePaths, SelectorPath},
};

/// The versions under these names, which need not all be those that are wished for: also those that are not served, in
/// which objects may be stored. The preferred one is the first.
///
/// # Errors
/// If one can't be served.
pub fn versions(
    definition: &CustomResourceDefinition,
    names: &CustomResourceDefinitionNames,
) -> Result<Vec<ResourceDef>, CustomResourceError> {
    let mut versions: Vec<_> = definition.spec.versions.iter().zip(schemas(definition)).collect();
    versions.sort_by_key(|(version, _)| Priority::of(&version.name));
    let webhook = definition.spec.conversion.as_ref().and_then(webhook).map(Arc::new);
    let version = |(version, schema)| {
        CustomResource { webhook: webhook.clone(), ..resource(definition, names, version, schema) }
            .build()
    };
    versions.into_iter().map(version).collect()
}

/// The versions' schemas as they are on the wire.
pub(crate) fn schemas(definition: &CustomResourceDefinition) -> Vec<Option<Value>> {
    let object = serde_json::to_value(definition).unwrap_or_default();
    let schema = |index: usize| {
        object.pointer(&format!("/spec/versions/{index}/schema/openAPIV3Schema")).cloned()
    };
    (0..definition.spec.versions.len()).map(schema).collect()
}

fn resource(
    definition: &CustomResourceDefinition,
    names: &CustomResourceDefinitionNames,
    version: &CustomResourceDefinitionVersion,
    schema: Option<Value>,
) -> CustomResource {
    let spec = &definition.spec;
    let subresources = version.subresources.as_ref();
    let conversion: Option<Box<dyn Conversion>> = match version.storage {
        true => None,
        false => Some(Box::new(SameFields)),
    };
    let columns = version.additional_printer_columns.iter().flatten();
    let selectable_fields = version.selectable_fields.iter().flatten();
    CustomResource {
        names: Names {
            group: spec.group.clone(),
            version: version.name.clone(),
            kind: names.kind.clone(),
            plural: names.plural.clone(),
            singular: names.singular.clone().unwrap_or_default(),
            list_kind: names.list_kind.clone().unwrap_or_default(),
            short_names: names.short_names.clone().unwrap_or_default(),
            categories: names.categories.clone().unwrap_or_default(),
        },
        scope: if spec.scope == "Cluster" { Scope::Cluster } else { Scope::Namespaced },
        schema: schema.unwrap_or_else(|| json!({"type": "object"})),
        columns: columns.map(column).collect(),
        has_status: subresources.is_some_and(|found| found.status.is_some()),
        scale: subresources.and_then(|found| found.scale.as_ref()).map(scale),
        deprecation_warning: deprecation_warning(definition, version),
        webhook: None,
        conversion,
        is_served: version.served,
        selectable_fields: selectable_fields.map(|field| field.json_path.clone()).collect(),
    }
}

/// Who converts, if it is another server. Of the versions of reviews that it takes the first that is known here is sent.
fn webhook(conversion: &CustomResourceConversion) -> Option<ConversionWebhook> {
    let webhook = conversion.webhook.as_ref().filter(|_| conversion.strategy == "Webhook")?;
    let is_known = |version: &&String| REVIEW_VERSIONS.contains(&version.as_str());
    Some(ConversionWebhook {
        client_config: webhook.client_config.as_ref().map(client_config).unwrap_or_default(),
        review_version: webhook.conversion_review_versions.iter().find(is_known)?.clone(),
    })
}

/// What is told of a version that is not to be used any more: which one is to be used, if nothing else is said.
fn deprecation_warning(
    definition: &CustomResourceDefinition,
    version: &CustomResourceDefinitionVersion,
) -> Option<String> {
    if version.deprecated != Some(true) {
        return None;
    }
    let spec = &definition.spec;
    let told = || {
        let name = |version: &str| format!("{}/{version} {}", spec.group, spec.names.kind);
        let own = Priority::of(&version.name);
        let others = spec.versions.iter().filter(|other| {
            other.served && other.deprecated != Some(true) && Priority::of(&other.name) < own
        });
        let deprecated = format!("{} is deprecated", name(&version.name));
        match others.min_by_key(|other| Priority::of(&other.name)) {
            Some(better) => format!("{deprecated}; use {}", name(&better.name)),
            None => deprecated,
        }
    };
    Some(version.deprecation_warning.clone().unwrap_or_else(told))
}

/// As webhooks of other kinds have it.
pub(crate) fn client_config(given: &v1::WebhookClientConfig) -> WebhookClientConfig {
    let v1::WebhookClientConfig { ca_bundle, service, url } = given.clone();
    let service = service.map(|service| {
        let v1::ServiceReference { name, namespace, path, port } = service;
        ServiceReference { name, namespace, path, port }
    });
    WebhookClientConfig { ca_bundle, service, url }
}

fn column(column: &CustomResourceColumnDefinition) -> PrinterColumn {
    let json_path = column.json_path.clone();
    let column = Column {
        name: column.name.clone(),
        type_: column.type_.clone(),
        format: column.format.clone().unwrap_or_default(),
        priority: column.priority.unwrap_or_default(),
        description: column.description.clone().unwrap_or_default(),
    };
    PrinterColumn { column, json_path }
}

fn scale(scale: &CustomResourceSubresourceScale) -> ScalePaths {
    let path = |path: &str| -> Vec<String> {
        path.split('.').filter(|name| !name.is_empty()).map(str::to_owned).collect()
    };
    let selector = scale.label_selector_path.as_deref().unwrap_or_default();
    ScalePaths {
        spec_replicas: path(&scale.spec_replicas_path),
        status_replicas: path(&scale.status_replicas_path),
        selector: SelectorPath::Text(path(selector)),
    }
}
