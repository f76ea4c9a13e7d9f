// A small operator: a Greeting becomes a ConfigMap with its text, which is the Greeting's own.
package envtest

import (
	"context"
	"errors"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	coreapply "k8s.io/client-go/applyconfigurations/core/v1"
	metaapply "k8s.io/client-go/applyconfigurations/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"
)

var groupVersion = schema.GroupVersion{Group: "demo.example.com", Version: "v1"}

type GreetingSpec struct {
	Name  string `json:"name,omitempty"`
	Times int32  `json:"times,omitempty"`
}

type GreetingStatus struct {
	Text string `json:"text,omitempty"`
}

type Greeting struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`
	Spec              GreetingSpec   `json:"spec"`
	Status            GreetingStatus `json:"status,omitempty"`
}

type GreetingList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []Greeting `json:"items"`
}

func (g *Greeting) DeepCopyObject() runtime.Object {
	copied := *g
	g.ObjectMeta.DeepCopyInto(&copied.ObjectMeta)
	return &copied
}

func (l *GreetingList) DeepCopyObject() runtime.Object {
	copied := *l
	copied.Items = nil
	for i := range l.Items {
		copied.Items = append(copied.Items, *l.Items[i].DeepCopyObject().(*Greeting))
	}
	return &copied
}

func addToScheme(scheme *runtime.Scheme) error {
	scheme.AddKnownTypes(groupVersion, &Greeting{}, &GreetingList{})
	metav1.AddToGroupVersion(scheme, groupVersion)
	return nil
}

type reconciler struct{ client.Client }

func (r *reconciler) Reconcile(ctx context.Context, request ctrl.Request) (ctrl.Result, error) {
	var greeting Greeting
	if err := r.Get(ctx, request.NamespacedName, &greeting); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	text := strings.TrimSpace(strings.Repeat("Hello, "+greeting.Spec.Name+"! ", int(greeting.Spec.Times)))
	owner := metaapply.OwnerReference().
		WithAPIVersion(groupVersion.String()).WithKind("Greeting").
		WithName(greeting.Name).WithUID(greeting.UID).
		WithController(true).WithBlockOwnerDeletion(true)
	wanted := coreapply.ConfigMap(greeting.Name, greeting.Namespace).
		WithOwnerReferences(owner).WithData(map[string]string{"text": text})
	if err := r.Apply(ctx, wanted, client.FieldOwner("greeter"), client.ForceOwnership); err != nil {
		return ctrl.Result{}, err
	}
	if greeting.Status.Text == text {
		return ctrl.Result{}, nil
	}
	greeting.Status.Text = text
	return ctrl.Result{}, r.Status().Update(ctx, &greeting)
}

type hooks struct{}

func (hooks) Default(_ context.Context, greeting *Greeting) error {
	if greeting.Spec.Name == "" {
		greeting.Spec.Name = "world"
	}
	return nil
}

func (hooks) validate(greeting *Greeting) (admission.Warnings, error) {
	if greeting.Spec.Name == "nobody" {
		return nil, errors.New("nobody is to be greeted")
	}
	return nil, nil
}

func (h hooks) ValidateCreate(_ context.Context, greeting *Greeting) (admission.Warnings, error) {
	return h.validate(greeting)
}

func (h hooks) ValidateUpdate(_ context.Context, _, greeting *Greeting) (admission.Warnings, error) {
	return h.validate(greeting)
}

func (hooks) ValidateDelete(context.Context, *Greeting) (admission.Warnings, error) {
	return nil, nil
}

func setUp(manager ctrl.Manager) error {
	err := ctrl.NewControllerManagedBy(manager).For(&Greeting{}).Owns(&corev1.ConfigMap{}).
		Complete(&reconciler{manager.GetClient()})
	if err != nil {
		return err
	}
	return ctrl.NewWebhookManagedBy(manager, &Greeting{}).
		WithDefaulter(hooks{}).WithValidator(hooks{}).Complete()
}
