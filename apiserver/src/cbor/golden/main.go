// Writes `typed.json` and `untyped.json`: objects as Kubernetes' own serializer encodes them in CBOR, those of its types and
// those of custom resources. To renew them, in this folder:
//
//	go mod init golden && go get k8s.io/api@v0.37.2 && go mod tidy && go run . && rm go.mod go.sum
package main

import (
	"bytes"
	"encoding/json"
	"math"
	"os"
	"time"

	coordination "k8s.io/api/coordination/v1"
	core "k8s.io/api/core/v1"
	networking "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer/cbor"
	"k8s.io/apimachinery/pkg/util/intstr"
)

func kind(version, name string) meta.TypeMeta {
	return meta.TypeMeta{APIVersion: version, Kind: name}
}

func named(name string) meta.ObjectMeta {
	at := meta.NewTime(time.Unix(1700000000, 0).UTC())
	fields := []meta.ManagedFieldsEntry{{Manager: "m", FieldsV1: &meta.FieldsV1{Raw: []byte(`{"f:data":{}}`)}, Time: &at}}
	return meta.ObjectMeta{Name: name, CreationTimestamp: at, Labels: map[string]string{"b": "1", "aa": "2"}, ManagedFields: fields}
}

func typed() []runtime.Object {
	micro := meta.NewMicroTime(time.Unix(1700000000, 123456000).UTC())
	holder, seconds, port := "h", int32(40000), intstr.FromInt32(8080)
	limits := core.ResourceList{"cpu": resource.MustParse("100m"), "memory": resource.MustParse("1Gi")}
	probe := &core.Probe{ProbeHandler: core.ProbeHandler{HTTPGet: &core.HTTPGetAction{Port: port}}, PeriodSeconds: -1}
	return []runtime.Object{
		&core.Secret{TypeMeta: kind("v1", "Secret"), ObjectMeta: named("s"), Data: map[string][]byte{"k": {0, 255, 1}, "e": {}}},
		&core.ConfigMap{TypeMeta: kind("v1", "ConfigMap"), ObjectMeta: named("c"), Data: map[string]string{"ü": "ö\u0000"}},
		&coordination.Lease{TypeMeta: kind("coordination.k8s.io/v1", "Lease"), ObjectMeta: named("l"),
			Spec: coordination.LeaseSpec{HolderIdentity: &holder, LeaseDurationSeconds: &seconds, RenewTime: &micro}},
		&core.Pod{TypeMeta: kind("v1", "Pod"), ObjectMeta: named("p"), Spec: core.PodSpec{Containers: []core.Container{
			{Name: "c", Resources: core.ResourceRequirements{Limits: limits}, LivenessProbe: probe}}}},
		&networking.NetworkPolicy{TypeMeta: kind("networking.k8s.io/v1", "NetworkPolicy"), ObjectMeta: named("n"),
			Spec: networking.NetworkPolicySpec{Ingress: []networking.NetworkPolicyIngressRule{{Ports: []networking.NetworkPolicyPort{{Port: &port}}}}}},
		&core.ConfigMapList{TypeMeta: kind("v1", "ConfigMapList"), ListMeta: meta.ListMeta{ResourceVersion: "7"}, Items: []core.ConfigMap{{ObjectMeta: named("c")}}},
		&meta.Status{TypeMeta: kind("v1", "Status"), Status: "Failure", Message: "m", Reason: "NotFound", Code: 404},
	}
}

func untyped() []runtime.Object {
	numbers := []interface{}{int64(0), int64(23), int64(24), int64(255), int64(256), int64(65536), int64(1) << 32, int64(-1), int64(-257),
		int64(math.MinInt64), int64(math.MaxInt64), 0.5, 0.1, 3.4028234663852886e38, 1e300, -0.25, 5.960464477539063e-8}
	spec := map[string]interface{}{"numbers": numbers, "yes": true, "no": false, "nothing": nil, "text": "é\n", "": "",
		"zz": map[string]interface{}{}, "a": []interface{}{}, "long": string(bytes.Repeat([]byte("x"), 300))}
	frog := map[string]interface{}{"apiVersion": "pond.io/v1", "kind": "Frog", "metadata": map[string]interface{}{"name": "f"}, "spec": spec}
	return []runtime.Object{&unstructured.Unstructured{Object: frog}}
}

func write(file string, objects []runtime.Object) {
	var lines [][]byte
	for _, object := range objects {
		var encoded bytes.Buffer
		if err := cbor.NewSerializer(nil, nil).Encode(object, &encoded); err != nil {
			panic(err)
		}
		line, err := json.Marshal(map[string]any{"cbor": encoded.Bytes(), "json": object})
		if err != nil {
			panic(err)
		}
		lines = append(lines, line)
	}
	text := append([]byte("[\n"), bytes.Join(lines, []byte(",\n"))...)
	os.WriteFile(file, append(text, "\n]\n"...), 0o644)
}

func main() {
	write("typed.json", typed())
	write("untyped.json", untyped())
}
