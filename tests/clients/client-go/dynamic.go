package main

import (
	"context"
	"fmt"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/discovery/cached/memory"
	"k8s.io/client-go/dynamic/dynamicinformer"
	"k8s.io/client-go/restmapper"
	"k8s.io/client-go/tools/cache"
)

var (
	definitions = schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"}
	crons       = schema.GroupVersionResource{Group: "tour.example.com", Version: "v1", Resource: "crons"}
)

type object = map[string]any

func of(typ string, properties object) object { return object{"type": typ, "properties": properties} }

func definition() *unstructured.Unstructured {
	integer := object{"type": "integer", "default": int64(1), "minimum": int64(0)}
	whole := of("object", object{
		"spec":   of("object", object{"replicas": integer, "schedule": object{"type": "string", "pattern": `^[*\d ]+$`}}),
		"status": of("object", object{"replicas": object{"type": "integer"}}),
	})
	scale := object{"specReplicasPath": ".spec.replicas", "statusReplicasPath": ".status.replicas"}
	version := object{
		"name": "v1", "served": true, "storage": true, "schema": object{"openAPIV3Schema": whole},
		"subresources": object{"status": object{}, "scale": scale},
	}
	names := object{"plural": "crons", "singular": "cron", "kind": "Cron", "listKind": "CronList"}
	spec := object{"group": crons.Group, "scope": "Namespaced", "names": names, "versions": []any{version}}
	kind := object{"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition"}
	kind["metadata"], kind["spec"] = object{"name": "crons.tour.example.com"}, spec
	return &unstructured.Unstructured{Object: kind}
}

func (t *tour) define(ctx context.Context) error {
	client := t.dynamic.Resource(definitions)
	if _, err := client.Create(ctx, definition(), metav1.CreateOptions{}); err != nil {
		return err
	}
	return until(ctx, "the definition is established", func() (bool, error) {
		found, err := client.Get(ctx, "crons.tour.example.com", metav1.GetOptions{})
		if err != nil {
			return false, err
		}
		conditions, _, err := unstructured.NestedSlice(found.Object, "status", "conditions")
		for _, condition := range conditions {
			condition := condition.(object)
			if condition["type"] == "Established" && condition["status"] == "True" {
				return true, err
			}
		}
		return false, fmt.Errorf("conditions: %v, %v", conditions, err)
	})
}

func dynamicClient(ctx context.Context, t *tour) error {
	if err := t.define(ctx); err != nil {
		return err
	}
	client := t.dynamic.Resource(crons).Namespace(t.namespace)
	factory := dynamicinformer.NewFilteredDynamicSharedInformerFactory(t.dynamic, 0, t.namespace, nil)
	informer, heard := factory.ForResource(crons).Informer(), &heard{}
	if _, err := informer.AddEventHandler(heard.handler()); err != nil {
		return err
	}
	ctx, end := context.WithCancel(ctx)
	factory.Start(ctx.Done())
	defer factory.Shutdown()
	defer end()
	if !cache.WaitForCacheSync(ctx.Done(), informer.HasSynced) {
		return fmt.Errorf("it never got into step")
	}
	cron := &unstructured.Unstructured{Object: object{
		"apiVersion": "tour.example.com/v1", "kind": "Cron", "metadata": object{"name": "c"},
		"spec": object{"schedule": "* * 5", "unknown": true},
	}}
	made, err := client.Create(ctx, cron, metav1.CreateOptions{})
	if err != nil {
		return err
	}
	if err := expect("defaulted and pruned", fmt.Sprint(made.Object["spec"]), "map[replicas:1 schedule:* * 5]"); err != nil {
		return err
	}
	made.Object["status"] = object{"replicas": int64(3)}
	if _, err := client.UpdateStatus(ctx, made, metav1.UpdateOptions{}); err != nil {
		return err
	}
	scaled, err := client.Patch(ctx, "c", types.MergePatchType, []byte(`{"spec":{"replicas":2}}`), metav1.PatchOptions{}, "scale")
	if err != nil {
		return err
	}
	status, _, _ := unstructured.NestedInt64(scaled.Object, "status", "replicas")
	if err := expect("kind and status of the scale", fmt.Sprint(scaled.GetKind(), status), "Scale3"); err != nil {
		return err
	}
	_, err = client.Patch(ctx, "c", types.MergePatchType, []byte(`{"spec":{"schedule":"!","replicas":-1}}`), metav1.PatchOptions{})
	if err == nil || !strings.Contains(err.Error(), "spec.schedule") || !strings.Contains(err.Error(), "spec.replicas") {
		return fmt.Errorf("an invalid object: %v", err)
	}
	if err := client.Delete(ctx, "c", metav1.DeleteOptions{}); err != nil {
		return err
	}
	key := t.namespace + "/c"
	if err := until(ctx, "what the informer told", heard.is("added "+key, "updated "+key, "updated "+key, "deleted "+key)); err != nil {
		return err
	}
	return t.dynamic.Resource(definitions).Delete(ctx, "crons.tour.example.com", metav1.DeleteOptions{})
}

func discover(_ context.Context, t *tour) error {
	client, err := discovery.NewDiscoveryClientForConfig(t.config)
	if err != nil {
		return err
	}
	groups, byVersion, failed, err := client.GroupsAndMaybeResources()
	if err != nil {
		return err
	}
	if len(failed) > 0 || byVersion == nil {
		return fmt.Errorf("aggregated discovery: %v of %d groups", failed, len(groups.Groups))
	}
	mapper := restmapper.NewShortcutExpander(
		restmapper.NewDeferredDiscoveryRESTMapper(memory.NewMemCacheClient(client)), memory.NewMemCacheClient(client), func(string) {})
	deployments, err := mapper.ResourceFor(schema.GroupVersionResource{Resource: "deploy"})
	if err != nil {
		return err
	}
	if err := expect("deploy", deployments.String(), "apps/v1, Resource=deployments"); err != nil {
		return err
	}
	paths, err := client.OpenAPIV3().Paths()
	if err != nil {
		return err
	}
	document, err := paths["apis/apps/v1"].Schema("application/json")
	if err != nil {
		return err
	}
	if !strings.Contains(string(document), "io.k8s.api.apps.v1.Deployment") {
		return fmt.Errorf("OpenAPI v3 of apps/v1 does not know Deployments")
	}
	return findsDeployments(client)
}

// findsDeployments looks for their kind in OpenAPI v2, which comes in protobuf.
func findsDeployments(client discovery.OpenAPISchemaInterface) error {
	document, err := client.OpenAPISchema()
	if err != nil {
		return err
	}
	for _, definition := range document.GetDefinitions().GetAdditionalProperties() {
		if definition.GetName() != "io.k8s.api.apps.v1.Deployment" {
			continue
		}
		for _, extension := range definition.GetValue().GetVendorExtension() {
			if extension.GetName() == "x-kubernetes-group-version-kind" {
				kind := "- group: apps\n  kind: Deployment\n  version: v1\n"
				return expect("the kind", extension.GetValue().GetYaml(), kind)
			}
		}
	}
	return fmt.Errorf("OpenAPI v2 does not know the kind of Deployments")
}
