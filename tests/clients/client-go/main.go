// What programs that use client-go do, on a cluster of their own: client-go KUBECONFIG. Prints a line per step.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/klog/v2"
)

// patience is for what is bound to happen.
const patience = time.Minute

// tour is what every step is given.
type tour struct {
	config    *rest.Config
	client    kubernetes.Interface
	dynamic   dynamic.Interface
	namespace string
}

type step struct {
	name string
	run  func(context.Context, *tour) error
}

var steps = []step{
	{"typed: pages, conflicts, deletion with preconditions", typed},
	{"protobuf: typed objects written and read in it, and their watch", protobuf},
	{"SharedInformerFactory: lists by WatchList, follows, indexes", sharedInformers},
	{"informer without WatchList", listedInformer},
	{"dynamic: a custom resource, its status, scale and informer", dynamicClient},
	{"metadata: informer of PartialObjectMetadata", metadataInformer},
	{"server-side apply: extract, conflict, force", apply},
	{"RetryWatcher: goes on over the ends of watches", retryWatcher},
	{"events: recorded and counted", events},
	{"discovery: aggregated, RESTMapper, OpenAPI v3 and v2", discover},
	{"leader election: lease, release, take-over", leaderElection},
}

func main() {
	if err := run(); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
}

func run() error {
	if len(os.Args) != 2 {
		return fmt.Errorf("usage: client-go KUBECONFIG")
	}
	klog.LogToStderr(false)
	klog.SetOutput(io.Discard)
	rest.SetDefaultWarningHandler(rest.NoWarnings{})
	config, err := clientcmd.BuildConfigFromFlags("", os.Args[1])
	if err != nil {
		return err
	}
	// Its own limit of five requests a second is not what is tried.
	config.QPS = -1
	t := &tour{config: config}
	if t.client, err = kubernetes.NewForConfig(config); err != nil {
		return err
	}
	if t.dynamic, err = dynamic.NewForConfig(config); err != nil {
		return err
	}
	failed := 0
	for i, step := range steps {
		if err := t.take(i, step); err != nil {
			failed++
			fmt.Printf("FAILED  %s: %v\n", step.name, err)
		}
	}
	if failed > 0 {
		return fmt.Errorf("%d of %d steps failed", failed, len(steps))
	}
	return nil
}

// take takes a step in a namespace of its own.
func (t *tour) take(number int, step step) error {
	ctx, cancel := context.WithTimeout(context.Background(), 2*patience)
	defer cancel()
	t.namespace = fmt.Sprintf("client-go-%d-%d", os.Getpid(), number)
	if _, err := t.client.CoreV1().Namespaces().Create(ctx, namespace(t.namespace), metav1.CreateOptions{}); err != nil {
		return err
	}
	began := time.Now()
	if err := step.run(ctx, t); err != nil {
		return err
	}
	fmt.Printf("ok %5.1fs  %s\n", time.Since(began).Seconds(), step.name)
	return t.client.CoreV1().Namespaces().Delete(ctx, t.namespace, metav1.DeleteOptions{})
}

// until waits for a condition, and says what was there instead.
func until(ctx context.Context, what string, holds func() (bool, error)) error {
	var last error
	err := wait.PollUntilContextTimeout(ctx, 20*time.Millisecond, patience, true, func(context.Context) (bool, error) {
		var done bool
		done, last = holds()
		return done && last == nil, nil
	})
	if err != nil {
		return fmt.Errorf("%s: %w (%v)", what, err, last)
	}
	return nil
}

// expect is an error unless both are equal.
func expect[T comparable](what string, got, wanted T) error {
	if got != wanted {
		return fmt.Errorf("%s: %v instead of %v", what, got, wanted)
	}
	return nil
}
