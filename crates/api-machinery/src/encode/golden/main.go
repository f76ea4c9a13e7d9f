// Writes `documents.json`: values, and the YAML that Kubernetes' own serializer makes of each. To renew it, in this folder:
//
//	go mod init golden && go get sigs.k8s.io/yaml@v1.6.0 && go mod tidy && go run . && rm go.mod go.sum
package main

import (
	"bytes"
	"encoding/json"
	"math/rand"
	"os"
	"strconv"
	"strings"

	"sigs.k8s.io/yaml"
)

var long = strings.Repeat("long ", 25)

// Texts on which the rules of style turn.
var texts = []string{
	"", " ", "  ", "a", "plain text", "true", "True", "tRUE", "yes", "Yes", "yEs", "n", "N", "on", "off", "OFF", "null", "Null", "~", "=",
	"0", "1", "-1", "+1", "123", "1_000", "_1", "1_", "0x1f", "0X1F", "0xg", "0b101", "-0b1", "0o17", "017", "08", "1e3", "1E+3", "1e", "1.5", "1.",
	".5", ".", "..", "...", ".inf", "-.INF", "+.inf", ".iNF", ".nan", ".NaN", "1.2.3", "10.96.0.1", "99999999999999999999", "1e999",
	"18446744073709551615", "-9223372036854775809", "2026-01-02", "2026-1-2", "2026-13-01", "2026-02-30", "2026-01-02T03:04:05Z", "2026-01-02t3:4:5.7+01:30",
	"2026-01-02 03:04:05", "2026-01-02 03:04:05.123456", "2026-01-02 03:04:05 Z", "2026-01-02T03:04Z", "2026-01-02T25:00:00Z", "2026-01-02x", "0000-1-1",
	"12:30", "1:2:3", "-1:59", "1:60", "1:2.5_", "12:30x", "a:b", "a: b", "a:", ":a", ": a", ":", "::", "?", "?a", "? a", "-", "-a", "- a", "--", "---", "--- a", "-\ta",
	"#a", "a#b", "a #b", "a\t#b", "#", ",a", "a,b", "[a", "]", "{a}", "{}", "[]", "&a", "*a", "!a", "|", ">", "'", "it's", "'a'", "\"a\"", "a\"b", "%a", "@a", "`a", "\\", "a\\b",
	" a", "a ", "\ta", "a\t", "a\tb", "\t", "\n", "\n\n", "a\n", "a\nb", "a\nb\n", "a\n\nb\n\n", "\na", " a\nb", "a \nb", "a\n b", "a\nb ", "a\n ", "a\tb\nc", "a\r\nb", "a\rb", "a: b\n- c\n",
	"\x00", "\x07\x08\x0b\x0c\x1b", "a\u00a0b", "\u00ad", "ünï", "日本語", "\u200b", "\ufeffab", "a\ufeffb", "\ufffd", "\ufffe", "\U0001f600", "a\U0001f600b\n",
	long, long + "x", long + "\n" + long, "'" + long + "'", "it's: " + long, "# " + long, "\t" + long, strings.ReplaceAll(long, " ", "  "), "\t" + strings.ReplaceAll(long, " ", "  "),
	strings.Repeat("x", 128), strings.Repeat("x", 129), strings.Repeat("é", 65), strings.Repeat("-y", 70) + " z", strings.Repeat("x", 79) + " y z", strings.Repeat("x", 81) + " y z", strings.Repeat("x", 90) + " y",
	"a1", "a2", "a10", "a02", "a-b", "a_b", "aB", "ab", "A", "B", "b", "é", "z", "1a", "10a", "2a", "a.b/c", "a.b", "a b",
}

var numbers = []string{"0", "-1", "1.5", "0.0001", "0.00001", "1e6", "1000000.5", "100000.5", "1e20", "1e21", "1e19", "-1e19", "1.5e300", "1e-7", "9007199254740993", "18446744073709551615", "-0.0", "2.0", "3.141592653589793"}

type golden struct {
	JSON json.RawMessage `json:"json"`
	YAML string          `json:"yaml"`
}

func raw(value interface{}) json.RawMessage {
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(value); err != nil {
		panic(err)
	}
	return bytes.TrimSpace(out.Bytes())
}

// As the API server does it: Go's JSON, and YAML of that, which is not made of all that JSON may say.
func of(values ...interface{}) []golden {
	all := []golden{}
	for _, value := range values {
		given := raw(value)
		if document, err := yaml.JSONToYAML(raw(exact(value))); err == nil {
			all = append(all, golden{given, string(document)})
		}
	}
	return all
}

// Numbers as Kubernetes keeps them: integers where they are written as such.
func exact(value interface{}) interface{} {
	switch value := value.(type) {
	case json.Number:
		if int, err := strconv.ParseInt(string(value), 10, 64); err == nil {
			return int
		}
		if int, err := strconv.ParseUint(string(value), 10, 64); err == nil {
			return int
		}
		float, _ := value.Float64()
		return float
	case []interface{}:
		for i := range value {
			value[i] = exact(value[i])
		}
	case map[string]interface{}:
		for key := range value {
			value[key] = exact(value[key])
		}
	}
	return value
}

// Some value, by chance.
func some(random *rand.Rand, depth int) interface{} {
	text := func() string { return texts[random.Intn(len(texts))] }
	switch kind := random.Intn(9); {
	case kind < 2 && depth > 0:
		list := []interface{}{}
		for range random.Intn(4) {
			list = append(list, some(random, depth-1))
		}
		return list
	case kind < 5 && depth > 0:
		fields := map[string]interface{}{}
		for range random.Intn(4) {
			fields[text()] = some(random, depth-1)
		}
		return fields
	case kind == 5:
		return []interface{}{nil, true, false}[random.Intn(3)]
	case kind == 6:
		return json.Number(numbers[random.Intn(len(numbers))])
	default:
		return text()
	}
}

func main() {
	all := []golden{}
	keys := map[string]interface{}{}
	for _, text := range texts {
		keys[text] = nil
		all = append(all, of(map[string]interface{}{"k": text}, map[string]interface{}{text: []interface{}{"x"}})...)
	}
	all = append(all, of(keys)...)
	for _, number := range numbers {
		all = append(all, of([]interface{}{json.Number(number)})...)
	}
	count := 60
	if len(os.Args) > 1 {
		count, _ = strconv.Atoi(os.Args[1])
	}
	random := rand.New(rand.NewSource(1))
	for range count {
		all = append(all, of(some(random, 4))...)
	}
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", " ")
	if err := encoder.Encode(all); err != nil {
		panic(err)
	}
	if err := os.WriteFile("documents.json", out.Bytes(), 0o644); err != nil {
		panic(err)
	}
}
