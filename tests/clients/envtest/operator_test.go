// The operator's own tests, on the control plane whose programs are in KUBEBUILDER_ASSETS.
package envtest

import (
	"context"
	"os"
	"strings"
	"testing"
	"time"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/scheme"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"
	"sigs.k8s.io/controller-runtime/pkg/metrics/server"
	"sigs.k8s.io/controller-runtime/pkg/webhook"
)

var (
	environment *envtest.Environment
	k8s         client.Client
)

func TestMain(m *testing.M) {
	os.Exit(run(m))
}

func must[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}

func hook(kind string) *admissionv1.WebhookClientConfig {
	path := "/" + kind + "-demo-example-com-v1-greeting"
	return &admissionv1.WebhookClientConfig{Service: &admissionv1.ServiceReference{
		Name: "webhook", Namespace: "default", Path: &path,
	}}
}

func webhooks() envtest.WebhookInstallOptions {
	none, fail := admissionv1.SideEffectClassNone, admissionv1.Fail
	rules := []admissionv1.RuleWithOperations{{
		Operations: []admissionv1.OperationType{admissionv1.Create, admissionv1.Update},
		Rule: admissionv1.Rule{
			APIGroups: []string{"demo.example.com"}, APIVersions: []string{"v1"}, Resources: []string{"greetings"},
		},
	}}
	meta := metav1.ObjectMeta{Name: "greetings"}
	versions := []string{"v1"}
	return envtest.WebhookInstallOptions{
		MutatingWebhooks: []*admissionv1.MutatingWebhookConfiguration{{ObjectMeta: meta,
			Webhooks: []admissionv1.MutatingWebhook{{
				Name: "default.demo.example.com", ClientConfig: *hook("mutate"), Rules: rules,
				SideEffects: &none, FailurePolicy: &fail, AdmissionReviewVersions: versions,
			}}}},
		ValidatingWebhooks: []*admissionv1.ValidatingWebhookConfiguration{{ObjectMeta: meta,
			Webhooks: []admissionv1.ValidatingWebhook{{
				Name: "validate.demo.example.com", ClientConfig: *hook("validate"), Rules: rules,
				SideEffects: &none, FailurePolicy: &fail, AdmissionReviewVersions: versions,
			}}}},
	}
}

func run(m *testing.M) int {
	ctrl.SetLogger(zap.New())
	if err := addToScheme(scheme.Scheme); err != nil {
		panic(err)
	}
	environment = &envtest.Environment{
		CRDDirectoryPaths: []string{"crds"}, ErrorIfCRDPathMissing: true,
		WebhookInstallOptions: webhooks(),
	}
	config := must(environment.Start())
	defer func() {
		if err := environment.Stop(); err != nil {
			panic(err)
		}
	}()
	k8s = must(client.New(config, client.Options{}))
	options := environment.WebhookInstallOptions
	manager := must(ctrl.NewManager(config, ctrl.Options{
		Metrics:                       server.Options{BindAddress: "0"},
		LeaderElection:                true,
		LeaderElectionID:              "greeter",
		LeaderElectionNamespace:       "default",
		LeaderElectionReleaseOnCancel: true,
		WebhookServer: webhook.NewServer(webhook.Options{
			Host: options.LocalServingHost, Port: options.LocalServingPort, CertDir: options.LocalServingCertDir,
		}),
	}))
	if err := setUp(manager); err != nil {
		panic(err)
	}
	running, stop := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() { ended <- manager.Start(running) }()
	<-manager.Elected()
	for manager.GetWebhookServer().StartedChecker()(nil) != nil {
		time.Sleep(10 * time.Millisecond)
	}
	code := m.Run()
	stop()
	if err := <-ended; err != nil {
		panic(err)
	}
	return code
}

// until waits for a condition that comes.
func until(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !holds(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within 30 s: %s", what)
		}
	}
}

func named(name string) metav1.ObjectMeta {
	return metav1.ObjectMeta{Name: name, Namespace: "default"}
}

func create(t *testing.T, greeting *Greeting) {
	t.Helper()
	if err := k8s.Create(t.Context(), greeting); err != nil {
		t.Fatal(err)
	}
}

func TestGreetingIsDefaultedAndBecomesAConfigMapOfItsOwn(t *testing.T) {
	greeting := &Greeting{ObjectMeta: named("a")}
	create(t, greeting)
	if greeting.Spec.Name != "world" || greeting.Spec.Times != 1 {
		t.Fatalf("neither the webhook's default nor the schema's: %+v", greeting.Spec)
	}
	var text corev1.ConfigMap
	key := client.ObjectKeyFromObject(greeting)
	until(t, "the text", func() bool {
		return k8s.Get(t.Context(), key, &text) == nil && text.Data["text"] == "Hello, world!"
	})
	if !metav1.IsControlledBy(&text, greeting) {
		t.Fatalf("not its own: %+v", text.OwnerReferences)
	}
	if managers := text.ManagedFields; len(managers) != 1 || managers[0].Manager != "greeter" ||
		managers[0].Operation != metav1.ManagedFieldsOperationApply {
		t.Fatalf("not applied: %+v", managers)
	}
	until(t, "the status", func() bool {
		return k8s.Get(t.Context(), key, greeting) == nil && greeting.Status.Text == "Hello, world!"
	})
	// What others change comes back, and what they add stays.
	text.Data = map[string]string{"text": "no", "more": "yes"}
	if err := k8s.Update(t.Context(), &text); err != nil {
		t.Fatal(err)
	}
	until(t, "the text again", func() bool {
		return k8s.Get(t.Context(), key, &text) == nil && text.Data["text"] == "Hello, world!" && text.Data["more"] == "yes"
	})
}

func TestWhatIsNotToBeGreetedIsRefused(t *testing.T) {
	for _, refused := range []struct {
		spec GreetingSpec
		why  string
	}{
		{GreetingSpec{Name: "nobody"}, "nobody is to be greeted"},
		{GreetingSpec{Name: "echo", Times: 10}, "an echo ends sooner"},
		{GreetingSpec{Name: strings.Repeat("x", 21)}, "spec.name: Too long"},
		{GreetingSpec{Times: -1}, "spec.times: Invalid value: -1"},
	} {
		err := k8s.Create(t.Context(), &Greeting{ObjectMeta: named("b"), Spec: refused.spec})
		if err == nil || !strings.Contains(err.Error(), refused.why) {
			t.Errorf("%+v: %v", refused.spec, err)
		}
	}
}

func TestOneManagerLeads(t *testing.T) {
	var lease coordinationv1.Lease
	key := client.ObjectKey{Namespace: "default", Name: "greeter"}
	if err := k8s.Get(t.Context(), key, &lease); err != nil || *lease.Spec.HolderIdentity == "" {
		t.Fatalf("%v: %+v", err, lease.Spec)
	}
}

func TestUsersHaveTheRightsThatTheyAreGiven(t *testing.T) {
	user := must(environment.AddUser(envtest.User{Name: "reader", Groups: []string{"readers"}}, nil))
	reader := must(client.New(user.Config(), client.Options{}))
	if err := reader.List(t.Context(), &GreetingList{}); !apierrors.IsForbidden(err) {
		t.Fatalf("may list: %v", err)
	}
}
