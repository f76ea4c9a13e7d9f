package main

import (
	"context"
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/leaderelection"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
)

// stand has a candidate stand for leader, and gives the channel on which it says that it leads, and what ends it.
func (t *tour) stand(ctx context.Context, name string) (leads chan string, end func(), err error) {
	config := resourcelock.ResourceLockConfig{Identity: name}
	lock, err := resourcelock.New(resourcelock.LeasesResourceLock, t.namespace, "leader", t.client.CoreV1(), t.client.CoordinationV1(), config)
	if err != nil {
		return nil, nil, err
	}
	leads = make(chan string, 1)
	elector, err := leaderelection.NewLeaderElector(leaderelection.LeaderElectionConfig{
		Lock: lock, LeaseDuration: 6 * time.Second, RenewDeadline: 4 * time.Second, RetryPeriod: time.Second, ReleaseOnCancel: true,
		Callbacks: leaderelection.LeaderCallbacks{
			OnStartedLeading: func(context.Context) { leads <- name },
			OnStoppedLeading: func() {},
		},
	})
	if err != nil {
		return nil, nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan struct{})
	go func() { defer close(ended); elector.Run(ctx) }()
	return leads, func() { cancel(); <-ended }, nil
}

func leaderElection(ctx context.Context, t *tour) error {
	first, endFirst, err := t.stand(ctx, "first")
	if err != nil {
		return err
	}
	<-first
	second, endSecond, err := t.stand(ctx, "second")
	if err != nil {
		return err
	}
	defer endSecond()
	select {
	case <-second:
		return fmt.Errorf("two lead")
	case <-time.After(3 * time.Second):
	}
	endFirst()
	select {
	case <-second:
	case <-ctx.Done():
		return fmt.Errorf("nobody leads after a release")
	}
	lease, err := t.client.CoordinationV1().Leases(t.namespace).Get(ctx, "leader", metav1.GetOptions{})
	if err != nil {
		return err
	}
	return expect("the holder and its number", fmt.Sprint(*lease.Spec.HolderIdentity, *lease.Spec.LeaseTransitions), "second1")
}
