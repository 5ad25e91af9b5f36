package main

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math"
	"reflect"
	"sort"
	"strconv"
	"strings"
	"time"
)

// decodeEnv reads an environment the way Kubernetes reads objects (int64 where the text is an integer), or with
// float64 for every number.
func decodeEnv(raw []byte, floats bool) (any, error) {
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.UseNumber()
	var value any
	if err := decoder.Decode(&value); err != nil {
		return nil, err
	}
	return special(value, floats)
}

// special turns the forms that JSON can't write ({"$bytes": …} and its sisters) into Go values.
func special(value any, floats bool) (any, error) {
	switch v := value.(type) {
	case json.Number:
		if !floats {
			if n, err := strconv.ParseInt(v.String(), 10, 64); err == nil {
				return n, nil
			}
		}
		return v.Float64()
	case []any:
		for i := range v {
			item, err := special(v[i], floats)
			if err != nil {
				return nil, err
			}
			v[i] = item
		}
		return v, nil
	case map[string]any:
		if len(v) == 1 {
			for key, inner := range v {
				switch key {
				case "$bytes":
					return base64.StdEncoding.DecodeString(inner.(string))
				case "$strmap":
					out := map[string]string{}
					for k, x := range inner.(map[string]any) {
						out[k] = x.(string)
					}
					return out, nil
				case "$bytesmap":
					out := map[string][]byte{}
					for k, x := range inner.(map[string]any) {
						b, err := base64.StdEncoding.DecodeString(x.(string))
						if err != nil {
							return nil, err
						}
						out[k] = b
					}
					return out, nil
				case "$strlist":
					out := []string{}
					for _, x := range inner.([]any) {
						out = append(out, x.(string))
					}
					return out, nil
				}
			}
		}
		for k := range v {
			item, err := special(v[k], floats)
			if err != nil {
				return nil, err
			}
			v[k] = item
		}
		return v, nil
	}
	return value, nil
}

func addHelpers(env map[string]any, helpers string) {
	if helpers != "rollouts" && helpers != "argocd" {
		return
	}
	env["time"] = map[string]any{
		"Parse": func(text string) time.Time {
			t, err := time.Parse(time.RFC3339, text)
			if err != nil {
				panic(err)
			}
			return t
		},
		"Now": func() time.Time { return time.Now() },
	}
	if helpers == "argocd" {
		constants := env["time"].(map[string]any)
		for name, value := range map[string]any{
			"Nanosecond": time.Nanosecond, "Microsecond": time.Microsecond, "Millisecond": time.Millisecond,
			"Second": time.Second, "Minute": time.Minute, "Hour": time.Hour,
			"ANSIC": time.ANSIC, "UnixDate": time.UnixDate, "RubyDate": time.RubyDate, "RFC822": time.RFC822,
			"RFC822Z": time.RFC822Z, "RFC850": time.RFC850, "RFC1123": time.RFC1123, "RFC1123Z": time.RFC1123Z,
			"RFC3339": time.RFC3339, "RFC3339Nano": time.RFC3339Nano, "Kitchen": time.Kitchen,
			"Stamp": time.Stamp, "StampMilli": time.StampMilli, "StampMicro": time.StampMicro, "StampNano": time.StampNano,
		} {
			constants[name] = value
		}
		env["strings"] = map[string]any{
			"ReplaceAll": strings.ReplaceAll,
			"ToUpper":    strings.ToUpper,
			"ToLower":    strings.ToLower,
		}
	}
}

// encodeValue writes an expression's result as the vectors do.
func encodeValue(value any) json.RawMessage {
	var out bytes.Buffer
	encodeInto(&out, reflect.ValueOf(value))
	return out.Bytes()
}

func encodeInto(out *bytes.Buffer, v reflect.Value) {
	for v.IsValid() && (v.Kind() == reflect.Interface || v.Kind() == reflect.Pointer) {
		if v.IsNil() {
			out.WriteString("null")
			return
		}
		v = v.Elem()
	}
	if !v.IsValid() {
		out.WriteString("null")
		return
	}
	switch x := v.Interface().(type) {
	case time.Location:
		fmt.Fprintf(out, `{"$location": %q}`, x.String())
		return
	case time.Time:
		fmt.Fprintf(out, `{"$time": %q}`, x.Format(time.RFC3339Nano))
		return
	case time.Duration:
		fmt.Fprintf(out, `{"$duration": %d}`, int64(x))
		return
	case []byte:
		fmt.Fprintf(out, `{"$bytes": %q}`, base64.StdEncoding.EncodeToString(x))
		return
	}
	switch v.Kind() {
	case reflect.Bool:
		fmt.Fprint(out, v.Bool())
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		fmt.Fprint(out, v.Int())
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		fmt.Fprint(out, v.Uint())
	case reflect.Float32, reflect.Float64:
		f := v.Float()
		if math.IsInf(f, 0) || math.IsNaN(f) {
			fmt.Fprintf(out, `{"$float": "%v"}`, map[bool]string{true: fmt.Sprintf("%+v", f), false: "NaN"}[math.IsInf(f, 0)])
			return
		}
		text := strconv.FormatFloat(f, 'g', -1, 64)
		if !strings.ContainsAny(text, ".e") {
			text += ".0"
		}
		out.WriteString(text)
	case reflect.String:
		encoder := json.NewEncoder(out)
		encoder.SetEscapeHTML(false)
		_ = encoder.Encode(v.String())
		out.Truncate(out.Len() - 1)
	case reflect.Slice, reflect.Array:
		out.WriteByte('[')
		for i := 0; i < v.Len(); i++ {
			if i > 0 {
				out.WriteString(", ")
			}
			encodeInto(out, v.Index(i))
		}
		out.WriteByte(']')
	case reflect.Map:
		encodeMap(out, v)
	case reflect.Func:
		out.WriteString(`{"$func": true}`)
	default:
		fmt.Fprintf(out, `{"$other": %q}`, v.Type().String())
	}
}

func encodeMap(out *bytes.Buffer, v reflect.Value) {
	keys := v.MapKeys()
	text := func(k reflect.Value) (string, bool) {
		for k.Kind() == reflect.Interface {
			k = k.Elem()
		}
		if k.IsValid() && k.Kind() == reflect.String {
			return k.String(), true
		}
		return fmt.Sprintf("%v", k), false
	}
	allText := true
	for _, k := range keys {
		if _, ok := text(k); !ok {
			allText = false
		}
	}
	sort.Slice(keys, func(i, j int) bool {
		a, _ := text(keys[i])
		b, _ := text(keys[j])
		return a < b
	})
	if allText {
		out.WriteByte('{')
	} else {
		out.WriteString(`{"$map": [`)
	}
	for i, k := range keys {
		if i > 0 {
			out.WriteString(", ")
		}
		if allText {
			name, _ := text(k)
			encodeInto(out, reflect.ValueOf(name))
			out.WriteString(": ")
			encodeInto(out, v.MapIndex(k))
		} else {
			out.WriteByte('[')
			encodeInto(out, k)
			out.WriteString(", ")
			encodeInto(out, v.MapIndex(k))
			out.WriteByte(']')
		}
	}
	if allText {
		out.WriteByte('}')
	} else {
		out.WriteString("]}")
	}
}
