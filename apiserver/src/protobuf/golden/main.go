// Writes `messages.txt` and the JSON files in `golden/` from Kubernetes' own types. To renew them, in this folder:
//
//	go mod init golden && go get k8s.io/api@v0.37.2 k8s.io/apiextensions-apiserver@v0.37.2 k8s.io/kube-aggregator@v0.37.2 k8s.io/metrics@v0.37.2 && go mod tidy && go run . && rm go.mod go.sum
package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"reflect"
	"sort"
	"strconv"
	"strings"
	"time"

	admissionregistration "k8s.io/api/admissionregistration/v1"
	apidiscovery "k8s.io/api/apidiscovery/v2"
	apps "k8s.io/api/apps/v1"
	authentication "k8s.io/api/authentication/v1"
	authorization "k8s.io/api/authorization/v1"
	autoscaling "k8s.io/api/autoscaling/v1"
	autoscaling2 "k8s.io/api/autoscaling/v2"
	batch "k8s.io/api/batch/v1"
	certificates "k8s.io/api/certificates/v1"
	coordination "k8s.io/api/coordination/v1"
	core "k8s.io/api/core/v1"
	discovery "k8s.io/api/discovery/v1"
	events "k8s.io/api/events/v1"
	flowcontrol "k8s.io/api/flowcontrol/v1"
	networking "k8s.io/api/networking/v1"
	node "k8s.io/api/node/v1"
	policy "k8s.io/api/policy/v1"
	rbac "k8s.io/api/rbac/v1"
	resources "k8s.io/api/resource/v1"
	scheduling "k8s.io/api/scheduling/v1"
	storage "k8s.io/api/storage/v1"
	apiextensions "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/intstr"
	apiregistration "k8s.io/kube-aggregator/pkg/apis/apiregistration/v1"
	metrics "k8s.io/metrics/pkg/apis/metrics/v1beta1"
)

type message interface{ Marshal() ([]byte, error) }

// The objects that clients send or are answered with, by API version.
var roots = []struct {
	version string
	object  message
}{
	{"v1", &core.Pod{}}, {"v1", &core.Binding{}}, {"v1", &core.ConfigMap{}}, {"v1", &core.Endpoints{}},
	{"v1", &core.Event{}}, {"v1", &core.LimitRange{}}, {"v1", &core.Namespace{}}, {"v1", &core.Node{}}, {"v1", &core.PersistentVolume{}},
	{"v1", &core.PersistentVolumeClaim{}}, {"v1", &core.PodTemplate{}}, {"v1", &core.ReplicationController{}}, {"v1", &core.ResourceQuota{}},
	{"v1", &core.Secret{}}, {"v1", &core.Service{}},
	{"v1", &core.ServiceAccount{}}, {"apps/v1", &apps.ControllerRevision{}}, {"apps/v1", &apps.DaemonSet{}}, {"apps/v1", &apps.Deployment{}},
	{"apps/v1", &apps.ReplicaSet{}}, {"apps/v1", &apps.StatefulSet{}},
	{"admissionregistration.k8s.io/v1", &admissionregistration.MutatingAdmissionPolicy{}},
	{"admissionregistration.k8s.io/v1", &admissionregistration.MutatingAdmissionPolicyBinding{}},
	{"admissionregistration.k8s.io/v1", &admissionregistration.MutatingWebhookConfiguration{}},
	{"admissionregistration.k8s.io/v1", &admissionregistration.ValidatingAdmissionPolicy{}},
	{"admissionregistration.k8s.io/v1", &admissionregistration.ValidatingAdmissionPolicyBinding{}},
	{"admissionregistration.k8s.io/v1", &admissionregistration.ValidatingWebhookConfiguration{}},
	{"apiextensions.k8s.io/v1", &apiextensions.CustomResourceDefinition{}},
	{"autoscaling/v1", &autoscaling.HorizontalPodAutoscaler{}}, {"autoscaling/v1", &autoscaling.Scale{}},
	{"autoscaling/v2", &autoscaling2.HorizontalPodAutoscaler{}},
	{"batch/v1", &batch.CronJob{}}, {"batch/v1", &batch.Job{}},
	{"policy/v1", &policy.Eviction{}}, {"policy/v1", &policy.PodDisruptionBudget{}},
	{"coordination.k8s.io/v1", &coordination.Lease{}}, {"discovery.k8s.io/v1", &discovery.EndpointSlice{}},
	{"flowcontrol.apiserver.k8s.io/v1", &flowcontrol.FlowSchema{}},
	{"flowcontrol.apiserver.k8s.io/v1", &flowcontrol.PriorityLevelConfiguration{}},
	{"v1", &meta.DeleteOptions{}}, {"authentication.k8s.io/v1", &authentication.TokenRequest{}},
	{"authentication.k8s.io/v1", &authentication.TokenReview{}},
	{"authentication.k8s.io/v1", &authentication.SelfSubjectReview{}},
	{"authorization.k8s.io/v1", &authorization.SubjectAccessReview{}},
	{"authorization.k8s.io/v1", &authorization.LocalSubjectAccessReview{}},
	{"authorization.k8s.io/v1", &authorization.SelfSubjectAccessReview{}},
	{"authorization.k8s.io/v1", &authorization.SelfSubjectRulesReview{}},
	{"rbac.authorization.k8s.io/v1", &rbac.Role{}}, {"rbac.authorization.k8s.io/v1", &rbac.ClusterRole{}},
	{"rbac.authorization.k8s.io/v1", &rbac.RoleBinding{}},
	{"rbac.authorization.k8s.io/v1", &rbac.ClusterRoleBinding{}},
	{"networking.k8s.io/v1", &networking.Ingress{}}, {"networking.k8s.io/v1", &networking.IngressClass{}},
	{"networking.k8s.io/v1", &networking.NetworkPolicy{}},
	{"certificates.k8s.io/v1", &certificates.CertificateSigningRequest{}},
	{"apiregistration.k8s.io/v1", &apiregistration.APIService{}},
	{"node.k8s.io/v1", &node.RuntimeClass{}}, {"storage.k8s.io/v1", &storage.CSIDriver{}},
	{"storage.k8s.io/v1", &storage.CSINode{}}, {"storage.k8s.io/v1", &storage.CSIStorageCapacity{}},
	{"storage.k8s.io/v1", &storage.StorageClass{}}, {"storage.k8s.io/v1", &storage.VolumeAttachment{}},
	{"storage.k8s.io/v1", &storage.VolumeAttributesClass{}}, {"events.k8s.io/v1", &events.Event{}},
	{"networking.k8s.io/v1", &networking.IPAddress{}}, {"networking.k8s.io/v1", &networking.ServiceCIDR{}},
	{"scheduling.k8s.io/v1", &scheduling.PriorityClass{}}, {"resource.k8s.io/v1", &resources.DeviceClass{}},
	{"resource.k8s.io/v1", &resources.ResourceClaim{}}, {"resource.k8s.io/v1", &resources.ResourceClaimTemplate{}},
	{"resource.k8s.io/v1", &resources.ResourceSlice{}},
	{"metrics.k8s.io/v1beta1", &metrics.NodeMetrics{}}, {"metrics.k8s.io/v1beta1", &metrics.PodMetrics{}},
	{"v1", &meta.Status{}}, {"v1", &meta.APIVersions{}}, {"v1", &meta.APIGroup{}}, {"v1", &meta.APIGroupList{}},
	{"v1", &meta.APIResourceList{}}, {"apidiscovery.k8s.io/v2", &apidiscovery.APIGroupDiscoveryList{}},
	{"meta.k8s.io/v1", &meta.PartialObjectMetadata{}},
}

// Lists, which all have their metadata and their items under the same numbers: no lines of the table.
var lists = []struct {
	version string
	object  message
}{
	{"v1", &core.ConfigMapList{}}, {"apps/v1", &apps.DeploymentList{}},
	{"meta.k8s.io/v1", &meta.PartialObjectMetadataList{}},
}

// Types with a form of their own.
var special = map[reflect.Type]string{
	reflect.TypeFor[meta.Time](): "time", reflect.TypeFor[meta.MicroTime](): "microtime",
	reflect.TypeFor[resource.Quantity](): "quantity", reflect.TypeFor[intstr.IntOrString](): "intorstring",
	reflect.TypeFor[meta.Duration](): "duration", reflect.TypeFor[meta.Verbs](): "strings",
	reflect.TypeFor[meta.FieldsV1](): "raw", reflect.TypeFor[[]byte](): "bytes",
	reflect.TypeFor[apiextensions.JSON](): "raw", reflect.TypeFor[runtime.RawExtension](): "raw",
	reflect.TypeFor[authorization.ExtraValue](): "strings", reflect.TypeFor[certificates.ExtraValue](): "strings",
	reflect.TypeFor[authentication.ExtraValue](): "strings", reflect.TypeFor[authentication.AttestationValue](): "strings",
}

// Messages that are one of their fields in JSON.
var alternatives = map[reflect.Type]bool{
	reflect.TypeFor[apiextensions.JSONSchemaPropsOrArray]():       true,
	reflect.TypeFor[apiextensions.JSONSchemaPropsOrBool]():        true,
	reflect.TypeFor[apiextensions.JSONSchemaPropsOrStringArray](): true,
}

func name(t reflect.Type) string {
	parts := strings.Split(t.PkgPath(), "/")
	return strings.Join(parts[len(parts)-2:], "/") + "." + t.Name()
}

func spelled(t reflect.Type) string {
	if s, ok := special[t]; ok {
		return s
	}
	switch t.Kind() {
	case reflect.Pointer:
		return "*" + spelled(t.Elem())
	case reflect.Slice:
		return "[]" + spelled(t.Elem())
	case reflect.Map:
		return "{}" + spelled(t.Elem())
	case reflect.Struct:
		return name(t)
	case reflect.Float64:
		return "double"
	}
	return t.Kind().String()
}

type line struct {
	number int
	text   string
}

// The fields of a message, and those of the messages in it.
func describe(t reflect.Type, table map[string][]line) {
	for t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice || t.Kind() == reflect.Map {
		t = t.Elem()
	}
	if _, ok := special[t]; ok || t.Kind() != reflect.Struct || table[name(t)] != nil {
		return
	}
	table[name(t)] = []line{}
	for i := range t.NumField() {
		field := t.Field(i)
		tag := strings.Split(field.Tag.Get("protobuf"), ",")
		if len(tag) < 2 {
			continue
		}
		number, _ := strconv.Atoi(tag[1])
		json := strings.Split(field.Tag.Get("json"), ",")[0]
		if json == "" {
			json = "-"
		}
		typ := spelled(field.Type)
		if alternatives[t] {
			json = "="
			if field.Type.Kind() == reflect.Bool {
				typ = "*" + typ
			}
		}
		table[name(t)] = append(table[name(t)], line{number, fmt.Sprintf(" %d %s %s\n", number, json, typ)})
		describe(field.Type, table)
	}
}

var count int64

// Gives every field a value of its own. A message is filled where it comes first, and empty elsewhere.
func fill(v reflect.Value, seen map[reflect.Type]bool) {
	count++
	switch x := v.Addr().Interface().(type) {
	case *meta.Time:
		*x = meta.NewTime(time.Unix(1700000000+count, 0).UTC())
		return
	case *meta.MicroTime:
		*x = meta.NewMicroTime(time.Unix(1700000000+count, 123456000).UTC())
		return
	case *meta.Duration:
		*x = meta.Duration{Duration: time.Duration(count) * time.Second}
		return
	case *resource.Quantity:
		*x = resource.MustParse(fmt.Sprint(count, "m"))
		return
	case *intstr.IntOrString:
		if count%2 == 0 {
			*x = intstr.FromInt32(int32(count))
		} else {
			*x = intstr.FromString(fmt.Sprint("s", count))
		}
		return
	case *meta.FieldsV1:
		x.Raw = []byte(`{"f:data":{}}`)
		return
	case *apiextensions.JSON:
		x.Raw = []byte(fmt.Sprintf(`{"n":%d}`, count))
		return
	case *runtime.RawExtension:
		x.Raw = []byte(fmt.Sprintf(`{"n":%d}`, count))
		return
	case *[]byte:
		*x = []byte(fmt.Sprint("bytes ", count))
		return
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString(fmt.Sprint("s", count))
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int32, reflect.Int64:
		v.SetInt(count)
	case reflect.Float64:
		v.SetFloat(float64(count) + 0.5)
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem(), seen)
	case reflect.Slice:
		inner := reflect.New(v.Type().Elem()).Elem()
		fill(inner, seen)
		v.Set(reflect.Append(v, inner))
	case reflect.Map:
		inner := reflect.New(v.Type().Elem()).Elem()
		fill(inner, seen)
		v.Set(reflect.MakeMap(v.Type()))
		v.SetMapIndex(reflect.ValueOf(fmt.Sprint("k", count)).Convert(v.Type().Key()), inner)
	case reflect.Struct:
		if seen[v.Type()] {
			return
		}
		seen[v.Type()] = true
		for i := range v.NumField() {
			if v.Type().Field(i).Tag.Get("protobuf") != "" {
				fill(v.Field(i), seen)
			}
		}
	default:
		panic(v.Kind())
	}
}

func envelope(version string, object message) []byte {
	raw, err := object.Marshal()
	if err != nil {
		panic(err)
	}
	kind := reflect.TypeOf(object).Elem().Name()
	unknown := runtime.Unknown{TypeMeta: runtime.TypeMeta{APIVersion: version, Kind: kind}, Raw: raw}
	bytes, err := unknown.Marshal()
	if err != nil {
		panic(err)
	}
	return append([]byte("k8s\x00"), bytes...)
}

// A line for each object, of its protobuf and its JSON.
func write(file string, lines [][]byte) {
	text := append([]byte("[\n"), bytes.Join(lines, []byte(",\n"))...)
	os.WriteFile(file, append(text, "\n]\n"...), 0o644)
}

// Each alternative once: filled, they are all there at the same time, which JSON can't say.
func oneOfEach() message {
	inner := apiextensions.JSONSchemaProps{Type: "string"}
	array := apiextensions.JSONSchemaPropsOrArray{JSONSchemas: []apiextensions.JSONSchemaProps{inner, {}}}
	outer := apiextensions.JSONSchemaProps{
		Items:                &apiextensions.JSONSchemaPropsOrArray{Schema: &inner},
		AllOf:                []apiextensions.JSONSchemaProps{{Items: &array}},
		AdditionalItems:      &apiextensions.JSONSchemaPropsOrBool{Allows: true, Schema: &inner},
		AdditionalProperties: &apiextensions.JSONSchemaPropsOrBool{Allows: true},
		Not:                  &apiextensions.JSONSchemaProps{AdditionalProperties: &apiextensions.JSONSchemaPropsOrBool{}},
		Dependencies: apiextensions.JSONSchemaDependencies{
			"a": {Schema: &inner}, "b": {Property: []string{"c", "d"}},
		},
		Enum: []apiextensions.JSON{{Raw: []byte(`1`)}, {Raw: []byte(`"a"`)}},
	}
	validation := &apiextensions.CustomResourceValidation{OpenAPIV3Schema: &outer}
	versions := []apiextensions.CustomResourceDefinitionVersion{{Name: "v1", Schema: validation}}
	return &apiextensions.CustomResourceDefinition{Spec: apiextensions.CustomResourceDefinitionSpec{Versions: versions}}
}

// An object in both forms, filled if it says what was filled before.
func both(version string, object message, seen map[reflect.Type]bool) []byte {
	v := reflect.ValueOf(object).Elem()
	if seen != nil {
		fill(v, seen)
	}
	proto := envelope(version, object)
	v.FieldByName("APIVersion").SetString(version)
	v.FieldByName("Kind").SetString(v.Type().Name())
	line, err := json.Marshal(map[string]any{"protobuf": proto, "json": object})
	if err != nil {
		panic(err)
	}
	return line
}

func main() {
	table := map[string][]line{}
	seen := map[reflect.Type]bool{}
	var objects, ofLists [][]byte
	for _, root := range roots {
		describe(reflect.TypeOf(root.object).Elem(), table)
		objects = append(objects, both(root.version, root.object, seen))
	}
	for _, list := range lists {
		ofLists = append(ofLists, both(list.version, list.object, map[reflect.Type]bool{}))
	}
	write("objects.json", objects)
	write("lists.json", ofLists)
	write("alternatives.json", [][]byte{both("apiextensions.k8s.io/v1", oneOfEach(), nil)})
	names := []string{}
	for name := range table {
		names = append(names, name)
	}
	sort.Strings(names)
	var text strings.Builder
	for _, name := range names {
		text.WriteString(name + "\n")
		sort.Slice(table[name], func(i, j int) bool { return table[name][i].number < table[name][j].number })
		for _, line := range table[name] {
			text.WriteString(line.text)
		}
	}
	os.WriteFile("../messages.txt", []byte(text.String()), 0o644)
}
