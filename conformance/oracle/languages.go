package main

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"text/template"
	"unicode/utf8"

	"github.com/Masterminds/sprig/v3"
	"github.com/expr-lang/expr"
	"github.com/expr-lang/expr/vm"
)

// outputLimit bounds what a case may print, so that a random program can't fill the memory.
const outputLimit = 8 << 20

var errTooLong = errors.New("output limit reached")

type limited struct{ bytes.Buffer }

func (l *limited) Write(p []byte) (int, error) {
	if l.Len()+len(p) > outputLimit {
		return 0, errTooLong
	}
	return l.Buffer.Write(p)
}

func functions() template.FuncMap {
	functions := sprig.TxtFuncMap()
	delete(functions, "env")
	delete(functions, "expandenv")
	return functions
}

var sprigFunctions = functions()

func parseTemplate(src string) (*template.Template, error) {
	return template.New("t").Funcs(sprigFunctions).Parse(src)
}

func compileExpr(src string) (*vm.Program, error) { return expr.Compile(src) }

func evaluate(c testCase, env map[string]any) (r result) {
	r.ID = c.ID
	phase := "parse"
	if c.Kind == "expr" {
		phase = "compile"
	}
	defer func() {
		if p := recover(); p != nil {
			r = result{ID: c.ID, Err: fmt.Sprint("panic: ", p), Phase: phase}
		}
	}()
	fail := func(err error) result { return result{ID: c.ID, Err: err.Error(), Phase: phase} }

	if c.Kind == "expr" {
		program, err := compileExpr(c.Src)
		if err != nil {
			return fail(err)
		}
		phase = "run"
		value, err := vm.Run(program, env)
		if err != nil {
			return fail(err)
		}
		text := fmt.Sprintf("%v", value)
		r.OK, r.Out, r.GoType, r.Str = true, encodeValue(value), fmt.Sprintf("%T", value), &text
		return r
	}

	t, err := parseTemplate(c.Src)
	if err != nil {
		return fail(err)
	}
	phase = "exec"
	var out limited
	if err := t.Execute(&out, env); err != nil {
		return fail(err)
	}
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	_ = encoder.Encode(out.String())
	r.OK, r.Out = true, bytes.TrimRight(text.Bytes(), "\n")
	if !utf8.Valid(out.Bytes()) {
		r.OutB64 = base64.StdEncoding.EncodeToString(out.Bytes())
	}
	return r
}
