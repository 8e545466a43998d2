package host

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"strings"
	"testing"
	"time"
)

// logged returns the records that the text on standard error makes, each as level, message and fields.
func logged(t *testing.T, text string) []map[string]any {
	t.Helper()
	var out bytes.Buffer
	o := newOutputLog(slog.New(slog.NewJSONHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug})), nil)
	o.readAll(strings.NewReader(text))
	var records []map[string]any
	for line := range strings.Lines(out.String()) {
		var record map[string]any
		if err := json.Unmarshal([]byte(line), &record); err != nil {
			t.Fatal(err)
		}
		records = append(records, record)
	}
	return records
}

func TestOutputBecomesRecords(t *testing.T) {
	tests := map[string]struct {
		line           string
		level, message string
		fields         map[string]any
	}{
		"slog":      {`{"time":"2026-01-02T03:04:05Z","level":"WARN","msg":"careful","n":1,"deep":{"a":[1]}}`, "WARN", "careful", map[string]any{"n": "1", "deep": `{"a":[1]}`}},
		"hclog":     {`{"@level":"error","@message":"plugin init error","@timestamp":"2026-01-02T03:04:05.000000Z","error":"x"}`, "ERROR", "plugin init error", map[string]any{"error": "x"}},
		"evil type": {`{"@message":1,"@level":[],"@timestamp":{}}`, "DEBUG", "1", nil},
		"all null":  {`{"msg":null,"level":null}`, "DEBUG", "null", nil},
		"no JSON":   {`{"msg":`, "DEBUG", "the plugin wrote", nil},
		"two":       {`{"msg":"a"} {"msg":"b"}`, "DEBUG", "the plugin wrote", nil},
		"text":      {"listening\x1b[31m on x", "DEBUG", "the plugin wrote", nil},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			records := logged(t, tt.line+"\n")
			if len(records) != 1 {
				t.Fatalf("got %v", records)
			}
			r := records[0]
			if r["level"] != tt.level || r["msg"] != tt.message {
				t.Errorf("got %v", r)
			}
			fields, _ := r["plugin"].(map[string]any)
			for key, want := range tt.fields {
				if fields[key] != want {
					t.Errorf("%s is %v, want %v", key, fields[key], want)
				}
			}
			if strings.Contains(r["msg"].(string), "\x1b") {
				t.Error("a control character came through")
			}
		})
	}
}

func TestLongLineKeepsItsBeginning(t *testing.T) {
	records := logged(t, strings.Repeat("z", 10<<20)+"\nnext\n")
	if len(records) != 2 || len(records[0]["line"].(string)) != maxLine || records[1]["line"] != "next" {
		t.Errorf("got %d records", len(records))
	}
}

func TestFloodOfLinesIsDroppedAndCounted(t *testing.T) {
	tests := map[string]string{
		"short":   "line\n",
		"long":    strings.Repeat("z", maxLine-1) + "\n",
		"records": `{"msg":"` + strings.Repeat("z", 1000) + "\"}\n",
	}
	for name, line := range tests {
		t.Run(name, func(t *testing.T) {
			flood := strings.Repeat(line, bytesAtOnce/2/(lineCost+len(line))) // is not read slowly
			begun := time.Now()
			records := logged(t, flood)
			most := 1 + (loggedAtOnce+int(loggedASecond*time.Since(begun).Seconds()))/(recordCost+len(line)-1) // that are of lines
			dropped, kept := 0, 0
			for _, r := range records {
				if r["msg"] == "the plugin writes too much; lines were dropped" {
					dropped += int(r["lines"].(float64))
				} else {
					kept++
				}
			}
			if kept == 0 || kept > most || kept+dropped != strings.Count(flood, "\n") {
				t.Errorf("%d of %d lines are logged, at most %d may; %d are told to be dropped", kept, strings.Count(flood, "\n"), most, dropped)
			}
		})
	}
}

func TestCrashIsLoggedWithoutItsValue(t *testing.T) {
	crash := `panic: Post "https://vendor/token?code=CANARY
second line CANARY(CANARY)
goroutine 1 [running]:
main.main()
	/src/main.go:12 +0x1d
main.(*T).do(0xc000012345, {0x1234, 0x5?}, ...)
created by main.main in goroutine 1
exit status 2
`
	records := logged(t, crash)
	if len(records) != 7 {
		t.Errorf("got %d records: %v", len(records), records)
	}
	for _, r := range records {
		if r["level"] != "ERROR" || strings.Contains(r["line"].(string), "CANARY") {
			t.Errorf("got %v", r)
		}
	}
	runtimes := logged(t, "panic: runtime error: index out of range [5] with length 3\n")
	if len(runtimes) != 1 || !strings.Contains(runtimes[0]["line"].(string), "index out of range") {
		t.Errorf("the runtime's own error is withheld: %v", runtimes)
	}
}

func FuzzStderr(f *testing.F) {
	f.Add("{\"@message\":1}\n")
	f.Add("panic: x\n\tgoroutine 1 [running]:\n")
	f.Add("{\"level\":\"INFO\",\"msg\":\"a\",\"trace_id\":\"0\",\"span_id\":1}\n")
	f.Fuzz(func(_ *testing.T, text string) {
		o := newOutputLog(slog.New(slog.DiscardHandler), nil)
		o.readAll(strings.NewReader(text))
	})
}
