package main

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"sync"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/pager"
	"k8s.io/client-go/util/retry"
)

func namespace(name string) *corev1.Namespace {
	return &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}
}

func configMap(name string) *corev1.ConfigMap {
	meta := metav1.ObjectMeta{Name: name, Labels: map[string]string{"tour": "1"}}
	return &corev1.ConfigMap{ObjectMeta: meta, Data: map[string]string{"count": "0"}}
}

func typed(ctx context.Context, t *tour) error {
	maps := t.client.CoreV1().ConfigMaps(t.namespace)
	for i := range 25 {
		if _, err := maps.Create(ctx, configMap(fmt.Sprintf("m%d", i)), metav1.CreateOptions{}); err != nil {
			return err
		}
	}
	pages := pager.New(func(ctx context.Context, options metav1.ListOptions) (runtime.Object, error) {
		return maps.List(ctx, options)
	})
	pages.PageSize = 10
	found := 0
	count := func(runtime.Object) error { found++; return nil }
	if err := pages.EachListItem(ctx, metav1.ListOptions{LabelSelector: "tour=1"}, count); err != nil {
		return err
	}
	if err := expect("objects in pages", found, 25); err != nil {
		return err
	}
	if err := countTogether(ctx, t); err != nil {
		return err
	}
	return deletes(ctx, t)
}

// countTogether has many clients count at one object: each count is there in the end.
func countTogether(ctx context.Context, t *tour) error {
	maps := t.client.CoreV1().ConfigMaps(t.namespace)
	const clients, counts = 4, 10
	done := make(chan error, clients)
	count := func() error {
		m, err := maps.Get(ctx, "m0", metav1.GetOptions{})
		if err != nil {
			return err
		}
		before, err := strconv.Atoi(m.Data["count"])
		if err != nil {
			return err
		}
		m.Data["count"] = strconv.Itoa(before + 1)
		_, err = maps.Update(ctx, m, metav1.UpdateOptions{})
		return err
	}
	backoff := retry.DefaultBackoff
	backoff.Steps = 100
	for range clients {
		go func() {
			var err error
			for i := 0; i < counts && err == nil; i++ {
				err = retry.RetryOnConflict(backoff, count)
			}
			done <- err
		}()
	}
	for range clients {
		if err := <-done; err != nil {
			return err
		}
	}
	m, err := maps.Get(ctx, "m0", metav1.GetOptions{})
	if err != nil {
		return err
	}
	return expect("counts", m.Data["count"], strconv.Itoa(clients*counts))
}

func deletes(ctx context.Context, t *tour) error {
	maps := t.client.CoreV1().ConfigMaps(t.namespace)
	other := types.UID("00000000-0000-0000-0000-000000000000")
	err := maps.Delete(ctx, "m0", metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &other}})
	if !apierrors.IsConflict(err) {
		return fmt.Errorf("deletion of another uid: %v", err)
	}
	selector := metav1.ListOptions{LabelSelector: "tour in (1, 2)"}
	if err := maps.DeleteCollection(ctx, metav1.DeleteOptions{}, selector); err != nil {
		return err
	}
	if _, err = maps.Get(ctx, "m0", metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		return fmt.Errorf("a deleted object: %v", err)
	}
	return nil
}

// answers passes requests on, and notes in what they were answered.
type answers struct {
	mutex sync.Mutex
	types map[string]bool
	next  http.RoundTripper
}

func (a *answers) RoundTrip(request *http.Request) (*http.Response, error) {
	response, err := a.next.RoundTrip(request)
	if err == nil {
		a.mutex.Lock()
		a.types[response.Header.Get("Content-Type")] = true
		a.mutex.Unlock()
	}
	return response, err
}

// protobuf is what components of Kubernetes write in, and would rather read.
func protobuf(ctx context.Context, t *tour) error {
	config, answered := rest.CopyConfig(t.config), &answers{types: map[string]bool{}}
	config.ContentType = runtime.ContentTypeProtobuf
	config.AcceptContentTypes = runtime.ContentTypeProtobuf + "," + runtime.ContentTypeJSON
	config.Wrap(func(next http.RoundTripper) http.RoundTripper { answered.next = next; return answered })
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	objects := client.CoreV1().ConfigMaps(t.namespace)
	watch, err := objects.Watch(ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}
	defer watch.Stop()
	m := configMap("m")
	m.BinaryData = map[string][]byte{"bytes": {0, 255, 128}}
	if _, err := objects.Create(ctx, m, metav1.CreateOptions{}); err != nil {
		return err
	}
	list, err := objects.List(ctx, metav1.ListOptions{FieldSelector: "metadata.name=m"})
	if err != nil {
		return err
	}
	if err := expect("items", len(list.Items), 1); err != nil {
		return err
	}
	if _, err := objects.Get(ctx, "none", metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		return fmt.Errorf("an object that is not there: %v", err)
	}
	for event := range watch.ResultChan() {
		if seen, ok := event.Object.(*corev1.ConfigMap); ok && seen.Name == "m" {
			for _, bytes := range []map[string][]byte{seen.BinaryData, list.Items[0].BinaryData} {
				if err := expect("bytes", string(bytes["bytes"]), "\x00\xff\x80"); err != nil {
					return err
				}
			}
			types := slices.Sorted(maps.Keys(answered.types))
			return expect("types", fmt.Sprint(types), "[application/vnd.kubernetes.protobuf application/vnd.kubernetes.protobuf;stream=watch]")
		}
	}
	return fmt.Errorf("the watch ended")
}
