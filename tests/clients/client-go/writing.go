package main

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	applyappsv1 "k8s.io/client-go/applyconfigurations/apps/v1"
	applycorev1 "k8s.io/client-go/applyconfigurations/core/v1"
	applymetav1 "k8s.io/client-go/applyconfigurations/meta/v1"
	"k8s.io/client-go/kubernetes/scheme"
	typedcorev1 "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/tools/record"
)

func deployment(namespace, image string) *applyappsv1.DeploymentApplyConfiguration {
	labels := map[string]string{"app": "web"}
	container := applycorev1.Container().WithName("c").WithImage(image)
	template := applycorev1.PodTemplateSpec().WithLabels(labels).WithSpec(applycorev1.PodSpec().WithContainers(container))
	spec := applyappsv1.DeploymentSpec().WithReplicas(0).WithTemplate(template)
	return applyappsv1.Deployment("web", namespace).WithSpec(spec.WithSelector(applymetav1.LabelSelector().WithMatchLabels(labels)))
}

func apply(ctx context.Context, t *tour) error {
	deployments := t.client.AppsV1().Deployments(t.namespace)
	one, other := metav1.ApplyOptions{FieldManager: "one"}, metav1.ApplyOptions{FieldManager: "other"}
	if _, err := deployments.Apply(ctx, deployment(t.namespace, "one:1"), one); err != nil {
		return err
	}
	_, err := deployments.Apply(ctx, deployment(t.namespace, "other:1"), other)
	if !apierrors.IsConflict(err) {
		return fmt.Errorf("another manager's apply: %v", err)
	}
	other.Force = true
	forced, err := deployments.Apply(ctx, deployment(t.namespace, "other:1"), other)
	if err != nil {
		return err
	}
	if err := expect("image", forced.Spec.Template.Spec.Containers[0].Image, "other:1"); err != nil {
		return err
	}
	left, err := applyappsv1.ExtractDeployment(forced, "one")
	if err != nil {
		return err
	}
	containers := left.Spec.Template.Spec.Containers
	if len(containers) != 1 || containers[0].Image != nil || *containers[0].Name != "c" {
		return fmt.Errorf("what is left to the first: %+v", containers)
	}
	// What no applier has any more goes.
	left.Spec.Replicas = nil
	changed, err := deployments.Apply(ctx, left.WithLabels(map[string]string{"a": "1"}), one)
	if err != nil {
		return err
	}
	if _, err = deployments.Apply(ctx, applyappsv1.Deployment("web", t.namespace).WithSpec(left.Spec), one); err != nil {
		return err
	}
	without, err := deployments.Get(ctx, "web", metav1.GetOptions{})
	if err != nil {
		return err
	}
	return expect("labels", fmt.Sprint(changed.Labels, without.Labels), "map[a:1] map[]")
}

func events(ctx context.Context, t *tour) error {
	broadcaster := record.NewBroadcaster(record.WithContext(ctx))
	defer broadcaster.Shutdown()
	broadcaster.StartRecordingToSink(&typedcorev1.EventSinkImpl{Interface: t.client.CoreV1().Events(t.namespace)})
	recorder := broadcaster.NewRecorder(scheme.Scheme, corev1.EventSource{Component: "tour"})
	about, err := t.client.CoreV1().ConfigMaps(t.namespace).Create(ctx, configMap("m"), metav1.CreateOptions{})
	if err != nil {
		return err
	}
	for range 3 {
		recorder.Event(about, corev1.EventTypeWarning, "Toured", "again")
	}
	return until(ctx, "three events in one", func() (bool, error) {
		of := metav1.ListOptions{FieldSelector: "involvedObject.name=m,reason=Toured"}
		found, err := t.client.CoreV1().Events(t.namespace).List(ctx, of)
		if err != nil {
			return false, err
		}
		if len(found.Items) != 1 || found.Items[0].Count != 3 {
			return false, fmt.Errorf("%d events: %+v", len(found.Items), found.Items)
		}
		return true, nil
	})
}
