package main

import (
	"bytes"
	"time"

	"github.com/expr-lang/expr/vm"
)

// timing is what -bench prints for a case: nanoseconds for one compilation and one run, each the best of several
// rounds, since the machines are noisy and only the least disturbed round says something about the code.
type timing struct {
	ID        string  `json:"id"`
	Kind      string  `json:"kind"`
	CompileNS float64 `json:"compile_ns"`
	RunNS     float64 `json:"run_ns"`
	OK        bool    `json:"ok"`
}

const (
	rounds   = 7
	roundFor = 3 * time.Millisecond
)

// best calls f until a round is long enough to be measured, several times, and gives the fastest round's time a call.
func best(f func()) float64 {
	least := 0.0
	for range rounds {
		calls := 0
		start := time.Now()
		for time.Since(start) < roundFor {
			for range 16 {
				f()
			}
			calls += 16
		}
		each := float64(time.Since(start).Nanoseconds()) / float64(calls)
		if least == 0 || each < least {
			least = each
		}
	}
	return least
}

func measure(c testCase, env map[string]any) timing {
	result := timing{ID: c.ID, Kind: c.Kind}
	if !evaluate(c, env).OK {
		return result
	}
	result.OK = true
	if c.Kind == "expr" {
		program, err := compileExpr(c.Src)
		if err != nil {
			return result
		}
		machine := vm.VM{}
		result.CompileNS = best(func() { _, _ = compileExpr(c.Src) })
		result.RunNS = best(func() { _, _ = machine.Run(program, env) })
		return result
	}
	t, err := parseTemplate(c.Src)
	if err != nil {
		return result
	}
	var out bytes.Buffer
	result.CompileNS = best(func() { _, _ = parseTemplate(c.Src) })
	result.RunNS = best(func() {
		out.Reset()
		_ = t.Execute(&out, env)
	})
	return result
}
