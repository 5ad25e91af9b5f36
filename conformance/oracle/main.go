// Command oracle computes what the original languages make of a case: Go's text/template with sprig, and expr.
//
// It reads one case a line from standard input, {"id","kind":"template"|"expr","src","env"|"env_ref","nums","helpers"},
// and writes one result a line, {"id","ok","out","out_b64","gotype","str","err","phase"}, in the same order.
// The result's encoding is that of the conformance vectors. With -bench it times instead (see bench.go). With -limit a case
// that takes longer is answered by {"id","gave_up":true}, and the program ends with 3: nothing stops what still runs. The
// rest is then asked of another process.
package main

import (
	"bufio"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

type testCase struct {
	ID      string          `json:"id"`
	Kind    string          `json:"kind"`
	Group   string          `json:"group,omitempty"`
	Src     string          `json:"src"`
	Env     json.RawMessage `json:"env,omitempty"`
	EnvRef  string          `json:"env_ref,omitempty"`
	Nums    string          `json:"nums,omitempty"`
	Helpers string          `json:"helpers,omitempty"`
}

type result struct {
	ID     string          `json:"id"`
	OK     bool            `json:"ok"`
	Out    json.RawMessage `json:"out,omitempty"`
	OutB64 string          `json:"out_b64,omitempty"`
	GoType string          `json:"gotype,omitempty"`
	Str    *string         `json:"str,omitempty"`
	Err    string          `json:"err,omitempty"`
	Phase  string          `json:"phase,omitempty"`
}

type gaveUp struct {
	ID     string `json:"id"`
	GaveUp bool   `json:"gave_up"`
}

func main() {
	envDir := flag.String("env-dir", ".", "folder below which env_ref is resolved")
	bench := flag.Bool("bench", false, "time compiling and running each case instead of printing its result")
	limit := flag.Duration("limit", 0, "how long a case may take; 0 is for ever")
	flag.Parse()

	input := bufio.NewScanner(os.Stdin)
	input.Buffer(make([]byte, 1<<20), 64<<20)
	output := bufio.NewWriter(os.Stdout)
	defer output.Flush()
	encoder := json.NewEncoder(output)
	encoder.SetEscapeHTML(false)

	for input.Scan() {
		var c testCase
		if err := json.Unmarshal(input.Bytes(), &c); err != nil {
			fmt.Fprintln(os.Stderr, "oracle: a line is no case:", err)
			os.Exit(2)
		}
		env, err := environment(c, *envDir)
		if err != nil {
			fmt.Fprintf(os.Stderr, "oracle: case %s: %v\n", c.ID, err)
			os.Exit(2)
		}
		var answer any
		if *bench {
			answer = measure(c, env)
		} else {
			answer = evaluateWithin(*limit, c, env)
		}
		if answer == nil {
			_ = encoder.Encode(gaveUp{ID: c.ID, GaveUp: true})
			output.Flush()
			os.Exit(3)
		}
		if err := encoder.Encode(answer); err != nil {
			fmt.Fprintln(os.Stderr, "oracle:", err)
			os.Exit(2)
		}
	}
	if err := input.Err(); err != nil {
		fmt.Fprintln(os.Stderr, "oracle:", err)
		os.Exit(2)
	}
}

// evaluateWithin gives nothing if the case takes too long.
func evaluateWithin(limit time.Duration, c testCase, env map[string]any) any {
	if limit == 0 {
		return evaluate(c, env)
	}
	done := make(chan result, 1)
	go func() { done <- evaluate(c, env) }()
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case answer := <-done:
		return answer
	case <-timer.C:
		return nil
	}
}

func environment(c testCase, dir string) (map[string]any, error) {
	raw := []byte(c.Env)
	if c.EnvRef != "" {
		var err error
		if raw, err = os.ReadFile(filepath.Join(dir, c.EnvRef)); err != nil {
			return nil, err
		}
	}
	if len(raw) == 0 {
		raw = []byte("{}")
	}
	decoded, err := decodeEnv(raw, c.Nums == "json")
	if err != nil {
		return nil, err
	}
	env, ok := decoded.(map[string]any)
	if !ok {
		return nil, fmt.Errorf("the environment is no map")
	}
	addHelpers(env, c.Helpers)
	return env, nil
}
