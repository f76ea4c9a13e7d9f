package main

import (
	"context"
	"fmt"
	"net/http"
	"sync"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/metadata/metadatainformer"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
	toolswatch "k8s.io/client-go/tools/watch"
)

// requests are those of a client to collections, as they were asked for.
type requests struct {
	mutex           sync.Mutex
	lists, streamed int
	next            http.RoundTripper
}

func (r *requests) RoundTrip(request *http.Request) (*http.Response, error) {
	query := request.URL.Query()
	r.mutex.Lock()
	switch {
	case query.Get("sendInitialEvents") == "true":
		r.streamed++
	case request.Method == http.MethodGet && !query.Has("watch"):
		r.lists++
	}
	r.mutex.Unlock()
	return r.next.RoundTrip(request)
}

func (t *tour) counted() (*kubernetes.Clientset, *requests, error) {
	config, counted := rest.CopyConfig(t.config), &requests{}
	config.Wrap(func(next http.RoundTripper) http.RoundTripper { counted.next = next; return counted })
	client, err := kubernetes.NewForConfig(config)
	return client, counted, err
}

// heard is what an informer told of.
type heard struct {
	mutex sync.Mutex
	texts []string
}

func (h *heard) note(what string, object any) {
	name, _ := cache.DeletionHandlingMetaNamespaceKeyFunc(object)
	h.mutex.Lock()
	defer h.mutex.Unlock()
	h.texts = append(h.texts, what+" "+name)
}

func (h *heard) is(wanted ...string) func() (bool, error) {
	return func() (bool, error) {
		h.mutex.Lock()
		defer h.mutex.Unlock()
		if fmt.Sprint(h.texts) != fmt.Sprint(wanted) {
			return false, fmt.Errorf("heard %v", h.texts)
		}
		return true, nil
	}
}

func (h *heard) handler() cache.ResourceEventHandler {
	return cache.ResourceEventHandlerFuncs{
		AddFunc:    func(object any) { h.note("added", object) },
		UpdateFunc: func(_, object any) { h.note("updated", object) },
		DeleteFunc: func(object any) { h.note("deleted", object) },
	}
}

// followed has an informer that has begun tell of a map's life.
func followed(ctx context.Context, t *tour, heard *heard) error {
	maps, key := t.client.CoreV1().ConfigMaps(t.namespace), t.namespace+"/later"
	if _, err := maps.Create(ctx, configMap("later"), metav1.CreateOptions{}); err != nil {
		return err
	}
	changed := configMap("later")
	changed.Data["count"] = "1"
	if _, err := maps.Update(ctx, changed, metav1.UpdateOptions{}); err != nil {
		return err
	}
	if err := maps.Delete(ctx, "later", metav1.DeleteOptions{}); err != nil {
		return err
	}
	first := "added " + t.namespace + "/first"
	wanted := heard.is(first, "added "+key, "updated "+key, "deleted "+key)
	return until(ctx, "what the informer told", wanted)
}

func (t *tour) makeFirst(ctx context.Context) error {
	_, err := t.client.CoreV1().ConfigMaps(t.namespace).Create(ctx, configMap("first"), metav1.CreateOptions{})
	return err
}

func sharedInformers(ctx context.Context, t *tour) error {
	if err := t.makeFirst(ctx); err != nil {
		return err
	}
	client, asked, err := t.counted()
	if err != nil {
		return err
	}
	factory := informers.NewSharedInformerFactoryWithOptions(client, 0, informers.WithNamespace(t.namespace),
		informers.WithTweakListOptions(func(options *metav1.ListOptions) { options.LabelSelector = "tour=1" }))
	maps, heard := factory.Core().V1().ConfigMaps(), &heard{}
	byCount := func(object any) ([]string, error) { return []string{object.(*corev1.ConfigMap).Data["count"]}, nil }
	if err := maps.Informer().AddIndexers(cache.Indexers{"count": byCount}); err != nil {
		return err
	}
	if _, err := maps.Informer().AddEventHandler(heard.handler()); err != nil {
		return err
	}
	ctx, end := context.WithCancel(ctx)
	factory.Start(ctx.Done())
	defer factory.Shutdown()
	defer end()
	for kind, synced := range factory.WaitForCacheSync(ctx.Done()) {
		if !synced {
			return fmt.Errorf("%v never got into step", kind)
		}
	}
	listed, err := maps.Lister().ConfigMaps(t.namespace).List(labels.Everything())
	if err != nil {
		return err
	}
	found, err := maps.Informer().GetIndexer().ByIndex("count", "0")
	if err != nil {
		return err
	}
	if err := expect("listed and found", fmt.Sprint(len(listed), len(found)), "1 1"); err != nil {
		return err
	}
	if err := expect("requests: lists, streamed lists", fmt.Sprint(asked.lists, asked.streamed), "0 1"); err != nil {
		return err
	}
	return followed(ctx, t, heard)
}

// withoutWatchList is a source that does not take WatchList.
type withoutWatchList struct{ *cache.ListWatch }

func (withoutWatchList) IsWatchListSemanticsUnSupported() bool { return true }

// listedInformer is one of before WatchList, or of a server without it.
func listedInformer(ctx context.Context, t *tour) error {
	if err := t.makeFirst(ctx); err != nil {
		return err
	}
	client, asked, err := t.counted()
	if err != nil {
		return err
	}
	maps := client.CoreV1().ConfigMaps(t.namespace)
	heard := &heard{}
	source := &cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, options metav1.ListOptions) (runtime.Object, error) {
			options.LabelSelector = "tour=1"
			return maps.List(ctx, options)
		},
		WatchFuncWithContext: func(ctx context.Context, options metav1.ListOptions) (watch.Interface, error) {
			options.LabelSelector = "tour=1"
			return maps.Watch(ctx, options)
		},
	}
	_, informer := cache.NewInformerWithOptions(cache.InformerOptions{
		ListerWatcher: withoutWatchList{source}, ObjectType: &corev1.ConfigMap{}, Handler: heard.handler(),
	})
	go informer.RunWithContext(ctx)
	if !cache.WaitForCacheSync(ctx.Done(), informer.HasSynced) {
		return fmt.Errorf("it never got into step")
	}
	if err := expect("requests: lists, streamed lists", fmt.Sprint(asked.lists, asked.streamed), "1 0"); err != nil {
		return err
	}
	return followed(ctx, t, heard)
}

func metadataInformer(ctx context.Context, t *tour) error {
	if err := t.makeFirst(ctx); err != nil {
		return err
	}
	client, err := metadata.NewForConfig(t.config)
	if err != nil {
		return err
	}
	tweak := func(options *metav1.ListOptions) { options.LabelSelector = "tour=1" }
	factory := metadatainformer.NewFilteredSharedInformerFactory(client, 0, t.namespace, tweak)
	informer, heard := factory.ForResource(corev1.SchemeGroupVersion.WithResource("configmaps")).Informer(), &heard{}
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
	return followed(ctx, t, heard)
}

// retryWatcher has each watch end after a second.
func retryWatcher(ctx context.Context, t *tour) error {
	maps := t.client.CoreV1().ConfigMaps(t.namespace)
	list, err := maps.List(ctx, metav1.ListOptions{LabelSelector: "tour=1"})
	if err != nil {
		return err
	}
	began, second := make(chan struct{}, 100), int64(1)
	source := cache.ListWatch{WatchFuncWithContext: func(ctx context.Context, options metav1.ListOptions) (watch.Interface, error) {
		options.TimeoutSeconds, options.LabelSelector = &second, "tour=1"
		began <- struct{}{}
		return maps.Watch(ctx, options)
	}}
	watcher, err := toolswatch.NewRetryWatcherWithContext(ctx, list.ResourceVersion, &source)
	if err != nil {
		return err
	}
	defer watcher.Stop()
	for i := range 3 {
		<-began
		name := fmt.Sprintf("m%d", i)
		if _, err := maps.Create(ctx, configMap(name), metav1.CreateOptions{}); err != nil {
			return err
		}
		event := <-watcher.ResultChan()
		seen, ok := event.Object.(*corev1.ConfigMap)
		if !ok || event.Type != watch.Added || seen.Name != name {
			return fmt.Errorf("%s %v instead of %s", event.Type, event.Object, name)
		}
	}
	return nil
}
